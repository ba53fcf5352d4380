package charts

import (
	"fmt"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// mailboxFigures show what of the crowd's messages arrived.
func mailboxFigures(r *report.Report) []figure {
	c := bars{title: "per cent of the messages"}
	for _, row := range r.Rows {
		sent, _ := row.Number("sent")
		delivered, _ := row.Number("delivered")
		if row.Text("load") != "crowd" || sent == 0 {
			continue
		}
		label := row.Text("kind")
		switch depth, bounded := row.Number("depth"); {
		case !bounded:
			label += ", no bound"
		case row.Text("policy") == "wait":
			label += fmt.Sprintf(" of %g, sender waits", depth)
		default:
			label += fmt.Sprintf(" of %g, full refuses", depth)
		}
		share := delivered / sent * 100
		c.lines = append(c.lines, bar{label, []part{
			{0, share, "c1", fmt.Sprintf("delivered: %g of %g", delivered, sent)},
			{share, 100, "lost", fmt.Sprintf("dropped: %g of %g", sent-delivered, sent)},
		}, fmt.Sprintf("%g lost", sent-delivered)})
	}
	if c.lines == nil {
		return nil
	}
	return []figure{{
		Title: "Candidates delivered", Wide: true, SVG: c.svg(), Legend: []legend{{"delivered", "c1"}, {"dropped", "lost"}},
		Note: "Every viewer's candidates in one burst without a pause, to a receiver that is busy for the same stated time with each. Sums of all rounds.",
	}}
}

// signalingFigures compare what a message, a connect and an idle socket cost.
func signalingFigures(r *report.Report) (figures []figure) {
	for _, one := range []struct{ phase, field, title, unit string }{
		{"deliver", "cpu_us_per_message", "CPU per message", "µs"},
		{"connect", "cpu_us_per_connect", "CPU per connect", "µs"},
		{"idle", "bytes_per_connection", "Memory per idle connection", "bytes"},
	} {
		c := bars{title: one.unit}
		var seen []string
		for _, row := range r.Rows {
			v, has := row.Number(one.field)
			if row.Text("phase") != one.phase || !has {
				continue
			}
			name := row.Text("variant")
			c.lines = append(c.lines, bar{name, []part{{0, v, colourOf(&seen, name), fmt.Sprintf("%s: %s %s", name, number(v), one.unit)}}, number(round(v, 3))})
		}
		if svg := c.svg(); svg != "" {
			figures = append(figures, figure{Title: one.title, SVG: svg, Wide: true})
		}
	}
	return figures
}
