package charts

import (
	"fmt"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// phase is a phase of a viewer's setup as the waterfall shows it.
type phase struct {
	name, colour string
	after        string // where it begins: after another phase, "connect" for the first, or at the offer
}

// phases are in the order in which they begin. What comes before the offer ends at it.
var (
	phasesBefore = []phase{{"get_credentials", "c5", ""}, {"describe_channel", "c5", ""}, {"get_endpoints", "c5", ""}, {"get_ice_servers", "c5", ""}, {"connect_websocket", "c5", ""}}
	phasesAfter  = []phase{
		{"gather_host", "c4", ""}, {"gather_srflx", "c4", ""}, {"gather_relay", "c4", ""},
		{"answer", "c1", ""}, {"find_pair", "c2", "answer"}, {"dtls_handshake", "c3", "find_pair"}, {"first_frame", "c0", ""},
	}
	phaseLegend = []legend{{"answer", "c1"}, {"find_pair", "c2"}, {"dtls_handshake", "c3"}, {"until the first key frame", "c0"}}
)

const milli = 1e3

// setupFigures shows all cases next to one another, and each one phase by phase.
func setupFigures(r *report.Report) []figure {
	all := bars{title: "milliseconds since the offer, medians"}
	wide := figure{
		Title: "Setup, phase by phase", Wide: true, Legend: phaseLegend,
		Note: "A bar is a viewer's wait from its offer to its first decodable key frame: median of the viewers, then of the rounds. Behind it: the median, and the worst of the rounds' slowest viewers.",
	}
	for _, row := range r.Rows {
		line, ok := setupBar(row)
		if !ok {
			continue
		}
		all.lines = append(all.lines, line)
		wide.Folded = append(wide.Folded, figure{Title: row.Text("case"), SVG: waterfall(row).svg(), Wide: true})
	}
	if all.lines == nil {
		return nil
	}
	wide.SVG = all.svg()
	return []figure{wide}
}

// setupBar is one case in the overview.
func setupBar(row report.Row) (bar, bool) {
	whole, ok := row.Number("first_key_frame_p50_s")
	if !ok {
		return bar{}, false
	}
	line := bar{label: row.Text("case"), value: span(whole)}
	if worst, has := row.Number("first_key_frame_max_max_s"); has {
		line.value += " / " + span(worst)
	}
	at := 0.0
	for _, p := range phasesAfter {
		took, has := row.Number(p.name + "_p50_s")
		if !has || p.name != "answer" && p.after == "" {
			continue
		}
		end := min(at+took, whole) // medians need not add up
		line.parts = append(line.parts, part{at * milli, end * milli, p.colour, fmt.Sprintf("%s: %s", p.name, span(took))})
		at = end
	}
	line.parts = append(line.parts, part{at * milli, whole * milli, "c0", "first key frame: " + span(whole)})
	return line, true
}

// waterfall draws each phase of a case where it begins.
func waterfall(row report.Row) bars {
	c := bars{title: "milliseconds, medians; the offer leaves where the connection stands"}
	at := 0.0
	add := func(p phase, from float64) (end float64) {
		took, has := row.Number(p.name + "_p50_s")
		if !has {
			return from
		}
		value := span(took)
		if p95, has := row.Number(p.name + "_p95_s"); has {
			value += ", p95 " + span(p95)
		}
		c.lines = append(c.lines, bar{p.name, []part{{from * milli, (from + took) * milli, p.colour, p.name + ": " + value}}, span(took)})
		return from + took
	}
	for _, p := range phasesBefore {
		at = add(p, at)
	}
	ends := map[string]float64{"": at}
	for _, p := range phasesAfter {
		ends[p.name] = add(p, ends[p.after])
	}
	return c
}
