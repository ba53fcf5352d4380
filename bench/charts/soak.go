package charts

import (
	"fmt"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// soakFigures show what must not grow against the time.
func soakFigures(r *report.Report) (figures []figure) {
	for _, one := range []struct {
		title, unit string
		factor      float64
		fields      []string
	}{
		{"Goroutines", "goroutines", 1, []string{"goroutines"}},
		{"Memory", "MB", 1e-6, []string{"heap_bytes", "private_rss_bytes"}},
		{"Files, peer connections, actors", "number", 1, []string{"open_files", "peer_connections", "mailboxes", "mailbox_depth"}},
		{"Lost on the way to those that stay", "sum so far", 1, []string{"packets_lost", "frames_dropped"}},
	} {
		f := figure{Title: one.title, Note: "Each sample was taken when all those had left that come and go."}
		p := plot{xTitle: "seconds", yTitle: one.unit}
		for i, field := range one.fields {
			s := series{name: words(field), colour: colours[i]}
			for _, row := range r.Rows {
				at, has := row.Number("at_s")
				v, also := row.Number(field)
				if has && also {
					s.points = append(s.points, point{x: at, y: v * one.factor, tip: fmt.Sprintf("%s after %s: %s %s", s.name, span(at), number(v*one.factor), one.unit)})
				}
			}
			p.series = append(p.series, s)
			f.Legend = append(f.Legend, legend{s.name, s.colour})
		}
		if f.SVG = p.svg(); f.SVG != "" {
			figures = append(figures, f)
		}
	}
	return figures
}
