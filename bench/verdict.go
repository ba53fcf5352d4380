package bench

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/messages"
)

// From what the viewers saw to a verdict, the report, and the tables for people.

const fpsTolerance = 0.03 // of the source's rate

// judge draws up the report and says whether the run passed.
func (c LoadConfig) judge(rows []Row, dropped uint64) *report.Report {
	r := report.New("load", c.fields())
	var keys report.Latency
	ok := 0
	for _, row := range rows {
		r.Rows = append(r.Rows, row.fields())
		if took, seen := row.FirstKeyFrame.(time.Duration); seen {
			keys.Record(took)
		}
		if row.OK() {
			ok++
		}
		c.judgeViewer(r, row)
	}
	p50, p95 := keys.Quantile(0.5), keys.Quantile(0.95)
	r.Summary = report.Row{
		{Name: "viewers", Value: len(rows)}, {Name: "ok", Value: ok},
		{Name: "first_key_frame_p50_s", Value: p50}, {Name: "first_key_frame_p95_s", Value: p95},
		{Name: "candidates_dropped", Value: dropped},
	}
	if dropped > 0 {
		r.Fail("%d ICE candidates were dropped", dropped)
	}
	bound := func(name string, value any, limit time.Duration) {
		if took, seen := value.(time.Duration); limit > 0 && seen && took > limit {
			r.Fail("first key frame %s is %v, above %v", name, took, limit)
		}
	}
	bound("p50", p50, c.MaxKeyP50)
	bound("p95", p95, c.MaxKeyP95)
	return r
}

func (c LoadConfig) judgeViewer(r *report.Report, row Row) {
	switch {
	case row.Error != "":
		r.Fail("viewer %d: %s", row.Viewer, row.Error)
		return
	case !row.OK():
		r.Fail("viewer %d: no decodable key frame", row.Viewer)
		return
	case row.SourceFPS == 0:
		r.Fail("viewer %d: too few frames to tell the rate", row.Viewer)
	case math.Abs(row.FPS-row.SourceFPS) > fpsTolerance*row.SourceFPS:
		r.Fail("viewer %d: %.1f frames per second, the source makes %.1f", row.Viewer, row.FPS, row.SourceFPS)
	}
	if row.Freezes > 0 {
		r.Fail("viewer %d: the picture froze %d times, %v in all", row.Viewer, row.Freezes, row.Frozen.Round(time.Millisecond))
	}
}

// fields is the configuration as the report tells it.
func (c LoadConfig) fields() report.Row {
	return report.Row{
		{Name: "viewers", Value: c.Viewers}, {Name: "duration_s", Value: c.Duration}, {Name: "stagger_s", Value: c.Stagger},
		{Name: "embedded", Value: c.Embedded}, {Name: "aws_limits", Value: c.AWSLimits}, {Name: "source", Value: c.Source},
		{Name: "channel", Value: c.Channel}, {Name: "endpoint", Value: c.Endpoint}, {Name: "region", Value: c.Region},
		{Name: "relay_only", Value: c.RelayOnly}, {Name: "send_audio", Value: c.SendAudio},
		{Name: "rtt_s", Value: c.RTT}, {Name: "loss", Value: c.Loss}, {Name: "rate_bps", Value: c.Rate}, {Name: "seed", Value: c.Seed},
	}
}

// Print writes the tables of a load report and its verdict.
func Print(w io.Writer, r *report.Report, phases bool) error {
	if phases {
		names := []string{"viewer"}
		for _, name := range messages.PhaseNames {
			for _, row := range r.Rows {
				if row.Get(name+"_s") != nil {
					names = append(names, name+"_s")
					break
				}
			}
		}
		if err := report.Table(w, r.Rows, names...); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if err := report.Table(w, r.Rows, "viewer", "ok", "first_rtp_s", "first_key_frame_s", "frames", "catch_up_frames", "fps",
		"bitrate_bps", "packets_lost", "freezes", "latency_p50_s", "latency_p99_s", "pair"); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := report.Table(w, []report.Row{r.Summary}, "viewers", "ok", "first_key_frame_p50_s", "first_key_frame_p95_s", "candidates_dropped"); err != nil {
		return err
	}
	return verdict(w, r)
}
