package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// The goals.
const (
	passedCostMax = 1.10            // what a viewer of a network camera may cost the device, next to one of the sample
	crashMax      = 2 * time.Second // without a picture
)

// cameraFound is what was measured in one mode.
type cameraFound struct {
	mode     string
	viewers  int
	variants []string
	rounds   [][]cameraCost // by round and variant
}

func (f *cameraFound) perSecond(v int, used func(cameraCost) time.Duration) spread[time.Duration] {
	var values []time.Duration
	for _, round := range f.rounds {
		values = append(values, time.Duration(float64(used(round[v]))/round[v].span.Seconds()))
	}
	return spreadOf(values)
}

// wakeups are how often a thread of the device waited and went on, in a second.
func (f *cameraFound) wakeups(v int) spread[float64] {
	var values []float64
	for _, round := range f.rounds {
		values = append(values, math.Round(float64(round[v].wakeups)/round[v].span.Seconds()))
	}
	return spreadOf(values)
}

// judged is what the variants of a mode are compared by: all that encodes and sends, or the device alone.
func (f *cameraFound) judged(c cameraCost) time.Duration {
	if f.mode == cameraRTSP {
		return c.device
	}
	return c.device + c.source
}

// ratio is what the baseline costs, divided by what ours does in the same round; where both send, by packet.
func (f *cameraFound) ratio() spread[float64] {
	var values []float64
	for _, round := range f.rounds {
		cost := func(c cameraCost) float64 {
			if f.mode == cameraRTSP {
				return float64(f.judged(c)) / float64(c.packets)
			}
			return float64(f.judged(c)) / c.span.Seconds()
		}
		values = append(values, cost(round[1])/cost(round[0]))
	}
	return spreadOf(values)
}

func (f *cameraFound) row(v int) report.Row {
	var packets, lost uint64
	for _, round := range f.rounds {
		packets, lost = packets+round[v].packets, lost+round[v].lost
	}
	viewers := f.viewers
	if f.variants[v] == variantPlain {
		viewers = 0
	}
	row := report.Row{
		{Name: "variant", Value: variantName(f.variants[v])}, {Name: "mode", Value: f.mode}, {Name: "viewers", Value: viewers},
		{Name: "rounds", Value: len(f.rounds)}, {Name: "packets", Value: packets}, {Name: "packets_lost", Value: lost},
	}
	row = append(row, f.perSecond(v, f.judged).fields("cpu", "_s_per_s")...)
	device, source := f.perSecond(v, func(c cameraCost) time.Duration { return c.device }), f.perSecond(v, func(c cameraCost) time.Duration { return c.source })
	row = append(row, report.Field{Name: "device_cpu_s_per_s", Value: device.median}, report.Field{Name: "source_cpu_s_per_s", Value: source.median})
	if viewers > 0 {
		row = append(row, report.Field{Name: "device_wakeups_per_s", Value: f.wakeups(v).median})
		row = append(row, report.Field{Name: "device_cpu_us_per_viewer_s", Value: float64(device.median) / float64(viewers) / float64(time.Microsecond)})
	}
	if v > 0 {
		row = append(row, f.ratio().fields("ratio", "")...)
	}
	return row
}

// judgeCamera draws up the rows. A quick run fails only when it did not run as meant.
func judgeCamera(r *report.Report, found []*cameraFound, crashed [][]time.Duration, quick bool) {
	m := missed{}
	for _, f := range found {
		for v, variant := range f.variants {
			row := f.row(v)
			r.Rows = append(r.Rows, row)
			if packets, _ := row.Get("packets").(uint64); packets == 0 && variant != variantPlain {
				r.Fail("%s, %s: no packet came", f.mode, variantName(variant))
			}
		}
		if ratio := f.ratio().median; f.mode == cameraRTSP && !(ratio >= 1/passedCostMax) {
			m.note("%s: a packet costs the device %.2f times as much as one of the sample, the goal is %.2f at most", f.mode, 1/ratio, passedCostMax)
		}
	}
	for i, signal := range crashes {
		var took []time.Duration
		for _, round := range crashed {
			took = append(took, round[i])
		}
		all := spreadOf(took)
		r.Rows = append(r.Rows, append(report.Row{
			{Name: "variant", Value: signal.String()}, {Name: "mode", Value: "crash"}, {Name: "viewers", Value: viewersDefault}, {Name: "rounds", Value: len(took)},
		}, all.fields("without_picture", "_s")...))
		if all.most > crashMax {
			m.note("crash: %v left a viewer without a picture for %v, the goal is %v at most", signal, all.most, crashMax)
		}
	}
	m.judge(r, quick)
}

func showCamera(w io.Writer, r *report.Report) error {
	err := report.Table(w, r.Rows, "mode", "variant", "viewers", "packets", "packets_lost", "cpu_s_per_s", "cpu_min_s_per_s", "cpu_max_s_per_s",
		"device_cpu_s_per_s", "source_cpu_s_per_s", "device_wakeups_per_s", "device_cpu_us_per_viewer_s", "ratio", "ratio_min", "ratio_max", "without_picture_s", "without_picture_max_s")
	if err != nil {
		return err
	}
	if skipped, _ := r.Summary.Get("skipped").([]string); len(skipped) > 0 {
		fmt.Fprintf(w, "\nskipped:\n  %s\n", strings.Join(skipped, "\n  "))
	}
	return showMissed(w, r)
}
