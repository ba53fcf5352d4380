package bench

import (
	"io"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// soakFigures are what must not grow, and how much growth over the run is none. Free memory comes back
// to the system late, and the first minutes of a process find their level, hence its margin.
var soakFigures = []struct {
	name   string
	of     func(soakSample) float64
	margin float64
}{
	{"goroutines", func(s soakSample) float64 { return float64(s.goroutines) }, 2},
	{"open_files", func(s soakSample) float64 { return float64(s.files) }, 1},
	{"peer_connections", func(s soakSample) float64 { return float64(s.peers) }, 0.5},
	{"mailboxes", func(s soakSample) float64 { return float64(s.actors) }, 0.5},
	{"mailbox_depth", func(s soakSample) float64 { return float64(s.depth) }, 2},
	{"heap_bytes", func(s soakSample) float64 { return float64(s.heap) }, 1e6},
	{"private_rss_bytes", func(s soakSample) float64 { return float64(s.memory) }, 16e6},
}

func (s soakSample) fields() report.Row {
	return report.Row{
		{Name: "at_s", Value: s.at}, {Name: "joins", Value: s.joins}, {Name: "goroutines", Value: s.goroutines}, {Name: "open_files", Value: s.files},
		{Name: "peer_connections", Value: s.peers}, {Name: "mailboxes", Value: s.actors}, {Name: "mailbox_depth", Value: s.depth},
		{Name: "heap_bytes", Value: s.heap}, {Name: "private_rss_bytes", Value: s.memory},
		{Name: "packets_sent", Value: s.sent}, {Name: "frames_dropped", Value: s.dropped}, {Name: "packets_lost", Value: s.lost},
	}
}

// judgeSoak draws up the rows and fails for whatever grew.
func judgeSoak(r *report.Report, samples []soakSample) {
	for _, s := range samples {
		r.Rows = append(r.Rows, s.fields())
	}
	last := samples[len(samples)-1]
	r.Summary = report.Row{{Name: "samples", Value: len(samples)}, {Name: "joins", Value: last.joins}}
	for _, figure := range soakFigures {
		var values []float64
		for _, s := range samples {
			values = append(values, figure.of(s))
		}
		t := trendOf(values)
		r.Summary = append(r.Summary, report.Field{Name: figure.name, Value: report.Row{
			{Name: "growth", Value: t.growth}, {Name: "growth_per_join", Value: t.growth / float64(max(last.joins-samples[0].joins, 1))},
			{Name: "chance", Value: t.chance}, {Name: "margin", Value: figure.margin},
		}})
		if t.growth > figure.margin && t.chance < soakChance {
			r.Fail("%s grew by %.1f from %.1f over the run, the goal is %g at most", figure.name, t.growth, values[0], figure.margin)
		}
	}
	r.Summary = append(r.Summary, report.Field{Name: "frames_dropped", Value: last.dropped}, report.Field{Name: "packets_lost", Value: last.lost})
	if float64(last.lost) > soakLostMax*float64(last.sent) {
		r.Fail("%d of %d packets to those that stay were lost", last.lost, last.sent)
	}
	if last.dropped > 0 {
		r.Fail("%d frames to those that stay were dropped", last.dropped)
	}
}

// showSoak shows ten of the samples and all trends.
func showSoak(w io.Writer, r *report.Report) error {
	var rows []report.Row
	for i, step := 0, max(len(r.Rows)/10, 1); i < len(r.Rows); i += step {
		rows = append(rows, r.Rows[i])
	}
	err := report.Table(w, rows, "at_s", "joins", "goroutines", "open_files", "peer_connections", "mailboxes", "mailbox_depth", "heap_bytes",
		"private_rss_bytes", "frames_dropped", "packets_lost")
	if err != nil {
		return err
	}
	var trends []report.Row
	for _, figure := range soakFigures {
		found, _ := r.Summary.Get(figure.name).(report.Row)
		trends = append(trends, append(report.Row{{Name: "figure", Value: figure.name}}, found...))
	}
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return report.Table(w, trends, "figure", "growth", "growth_per_join", "chance", "margin")
}
