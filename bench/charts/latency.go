package charts

import (
	"fmt"
	"math"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// latencyFigures show the distributions: the share of pictures by a logarithmic scale of those that are
// left, so that the tail, which a viewer notices, has most of the room.
func latencyFigures(r *report.Report) []figure {
	f := figure{
		Title: "Latency distribution, milliseconds", Wide: true,
		Note: "The age of a picture when a viewer has all of it, against the share of pictures that were as young: all rounds, the viewers of one part together.",
	}
	p := plot{xTitle: "share of pictures", yTitle: "ms", xLog: true, yLog: true, wide: true}
	for _, share := range []tick{{0, "0 %"}, {0.5, "50 %"}, {0.9, "90 %"}, {0.99, "99 %"}, {0.999, "99.9 %"}, {0.9999, "99.99 %"}} {
		p.xTicks = append(p.xTicks, tick{1 / (1 - share.at), share.text})
	}
	for _, row := range r.Rows {
		points := distribution(row)
		if len(points) < 2 {
			continue
		}
		s := series{name: row.Text("run") + ", " + row.Text("part"), colour: fmt.Sprintf("d%d", len(p.series)%8), points: points}
		p.series = append(p.series, s)
		f.Legend = append(f.Legend, legend{s.name, s.colour})
	}
	if f.SVG = p.svg(); f.SVG == "" {
		return nil
	}
	return []figure{f}
}

// distribution reads pairs of share and seconds; a report of before had quantiles alone.
func distribution(row report.Row) (points []point) {
	add := func(share, seconds float64) {
		if share < 1 && seconds > 0 {
			points = append(points, point{x: 1 / (1 - share), y: seconds * milli,
				tip: fmt.Sprintf("%s, %s: %s of pictures within %s", row.Text("run"), row.Text("part"), percent(share), span(seconds))})
		}
	}
	list, _ := row.Get("latency_distribution").([]any)
	for _, one := range list {
		if pair, is := one.([]any); is && len(pair) == 2 {
			share, _ := pair[0].(float64)
			seconds, _ := pair[1].(float64)
			add(share, seconds)
		}
	}
	if list == nil && row.Get("viewers") != nil {
		for _, q := range []struct {
			name  string
			share float64
		}{{"latency_p50_s", 0.5}, {"latency_p99_s", 0.99}} {
			seconds, _ := row.Number(q.name)
			add(q.share, seconds)
		}
	}
	return points
}

func percent(share float64) string { return number(math.Round(share*1e6)/1e4) + " %" }
