package charts

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// colours are by variant; ours comes first wherever it is.
var colours = []string{"c1", "c2", "c3", "c4", "c5"}

// colourOf is a variant's among those that were seen, in their order.
func colourOf(seen *[]string, name string) string {
	at := slices.Index(*seen, name)
	if at < 0 {
		at = len(*seen)
		*seen = append(*seen, name)
	}
	return colours[at%len(colours)]
}

// fanoutFigures are one for each mode: bursts by packet, paced streams by viewer.
func fanoutFigures(r *report.Report) (figures []figure) {
	var modes []string
	for _, row := range r.Rows {
		if mode := row.Text("mode"); !slices.Contains(modes, mode) {
			modes = append(modes, mode)
		}
	}
	floor, hasFloor := r.Summary.Number("floor_us_per_packet")
	for _, mode := range modes {
		f := figure{
			Title: mode + ": CPU per viewer", Note: "Milliseconds of the sender's CPU in a second, divided by its viewers: median of the rounds, and the bar from least to most.",
		}
		p := plot{xTitle: "viewers", yTitle: "ms of CPU per second and viewer", xLog: true}
		if mode == "burst" {
			f.Title, f.Note = "burst: CPU per packet", "Pictures in bursts: microseconds of the sender's CPU per packet, median of the rounds, and the bar from least to most."
			p.yTitle = "us of CPU per packet"
		}
		p.series, p.xTicks = fanoutSeries(r, mode)
		if s, ok := floorSeries(r, mode, floor); hasFloor && ok {
			p.series = append(p.series, s)
			f.Note += fmt.Sprintf(" The floor is what sealing and a segmented send cost on this machine: %s µs per packet.", number(floor))
		}
		for _, s := range p.series {
			f.Legend = append(f.Legend, legend{s.name, s.colour})
		}
		if f.SVG = p.svg(); f.SVG != "" {
			figures = append(figures, f)
		}
	}
	return figures
}

// fanoutSeries are the variants of a mode.
func fanoutSeries(r *report.Report, mode string) (all []series, ticks []tick) {
	var seen []string
	for _, row := range r.Rows {
		viewers, has := row.Number("viewers")
		if row.Text("mode") != mode || !has || viewers == 0 {
			continue
		}
		name := row.Text("variant")
		colour := colourOf(&seen, name)
		if len(seen) > len(all) {
			all = append(all, series{name: name, colour: colour})
		}
		field, unit, factor := "cpu%s_s_per_s", "ms per second and viewer", milli/viewers
		if mode == "burst" {
			field, unit, factor = "cpu%s_us_per_packet", "µs per packet", 1
		}
		get := func(which string) float64 {
			v, _ := row.Number(fmt.Sprintf(field, which))
			return v * factor
		}
		q := point{x: viewers, y: get(""), low: get("_min"), high: get("_max")}
		q.tip = fmt.Sprintf("%s, %g viewers: %s %s (%s to %s)", name, viewers, number(round(q.y, 3)), unit, number(round(q.low, 3)), number(round(q.high, 3)))
		s := &all[slices.Index(seen, name)]
		s.points = append(s.points, q)
		if !slices.ContainsFunc(ticks, func(t tick) bool { return t.at == viewers }) {
			ticks = append(ticks, tick{viewers, strconv.Itoa(int(viewers))})
		}
	}
	return all, ticks
}

// floorSeries is the floor per packet, times the packets that a viewer gets in a second.
func floorSeries(r *report.Report, mode string, floor float64) (series, bool) {
	s := series{name: "floor", colour: "floor", dashed: true}
	for _, row := range r.Rows {
		viewers, _ := row.Number("viewers")
		packet, ok := row.Number("cpu_us_per_packet")
		second, also := row.Number("cpu_s_per_s")
		if row.Text("mode") != mode || viewers == 0 || !ok || !also || packet == 0 || row.Text("variant") != "heliograph" {
			continue
		}
		y := floor
		if mode != "burst" {
			y = second / packet / viewers * floor * milli
		}
		s.points = append(s.points, point{x: viewers, y: y})
	}
	return s, len(s.points) > 0
}
