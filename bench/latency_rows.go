package bench

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// The goals of the device.
const (
	latencyP99Max  = 5 * time.Millisecond
	laterMax       = 33 * time.Millisecond // a picture of those without a fault, than without the others' faults
	filledShareMin = 0.995
	recoveryMax    = 500 * time.Millisecond
)

// latencyFound is what was measured of one run.
type latencyFound struct {
	latencyRun
	viewers int
	rounds  [][]*watched // by round and viewer
	stolen  []float64    // by round: the share of the processors' time that others took
}

// latency is that of a round's viewers with a part.
func (f *latencyFound) latency(round int, part string) (all report.Latency) {
	for _, w := range f.rounds[round] {
		if w.part == part {
			all.Add(&w.latency)
		}
	}
	return all
}

// all is the latency of a part's viewers in all rounds.
func (f *latencyFound) all(part string) *report.Latency {
	var all report.Latency
	for round := range f.rounds {
		one := f.latency(round, part)
		all.Add(&one)
	}
	return &all
}

// quantile takes one of each round; nil where nobody saw a picture.
func (f *latencyFound) quantile(part string, q float64) any {
	var values []time.Duration
	for round := range f.rounds {
		all := f.latency(round, part)
		if took, seen := all.Quantile(q).(time.Duration); seen {
			values = append(values, took)
		}
	}
	if len(values) == 0 {
		return nil
	}
	return spreadOf(values)
}

func (f *latencyFound) stolenShare() float64 { return spreadOf(slices.Clone(f.stolen)).median }

// of are the viewers with one part, of all rounds.
func (f *latencyFound) of(part string) (some []*watched) {
	for _, round := range f.rounds {
		for _, w := range round {
			if w.part == part {
				some = append(some, w)
			}
		}
	}
	return some
}

// worst is the greatest latency that a viewer of these numbers had in a round.
func (f *latencyFound) worst(round int, numbers []int) (worst time.Duration) {
	for _, w := range f.rounds[round] {
		if took, seen := w.latency.Quantile(1).(time.Duration); seen && slices.Contains(numbers, w.row.Viewer) {
			worst = max(worst, took)
		}
	}
	return worst
}

// later tells, round by round, how much later than in the run without faults those that have none got
// the picture that took longest.
func (f *latencyFound) later(base *latencyFound) spread[time.Duration] {
	var values []time.Duration
	for round := range f.rounds {
		values = append(values, f.worst(round, f.plain())-base.worst(round, f.plain()))
	}
	return spreadOf(values)
}

// plain are the numbers of the viewers without a fault.
func (f *latencyFound) plain() (numbers []int) {
	for n := range f.viewers {
		if _, has := f.parts[n+1]; !has {
			numbers = append(numbers, n+1)
		}
	}
	return numbers
}

// toll is what a group of viewers did not get as it was sent, over all rounds.
type toll struct {
	frames, dropped, shed, lost, missed, filled, resent, freezes uint64
	recovery                                                     time.Duration // the longest
	recovered                                                    int           // viewers that did
}

func tollOf(some []*watched) (t toll) {
	for _, w := range some {
		t.frames += w.row.Frames
		t.dropped += w.device.FramesDropped
		t.shed += w.device.FramesShed
		t.lost += w.row.PacketsLost
		t.missed += w.missed
		t.filled += w.filled
		t.resent += w.device.PacketsResent
		t.freezes += w.row.Freezes
		t.recovery = max(t.recovery, w.recovery)
		if w.recovery > 0 {
			t.recovered++
		}
	}
	return t
}

// filledShare is the share of the missed packets that came once more; 1 when none was missed.
func (t toll) filledShare() float64 {
	if t.missed == 0 {
		return 1
	}
	return float64(t.filled) / float64(t.missed)
}

func (t toll) fields() report.Row {
	return report.Row{
		{Name: "frames", Value: t.frames}, {Name: "frames_dropped", Value: t.dropped}, {Name: "frames_shed", Value: t.shed},
		{Name: "freezes", Value: t.freezes}, {Name: "packets_lost", Value: t.lost}, {Name: "packets_missed", Value: t.missed},
		{Name: "packets_recovered", Value: t.filled}, {Name: "packets_resent", Value: t.resent},
	}
}

// rows are one for each part that viewers have in the run, and one for each viewer.
func (f *latencyFound) rows(base *latencyFound) (rows []report.Row) {
	for _, part := range []string{partPlain, partStopped, partLimited, partLossy} {
		if some := f.of(part); len(some) > 0 {
			rows = append(rows, f.groupRow(part, some, base))
		}
	}
	for n := range f.viewers {
		rows = append(rows, f.viewerRow(n+1))
	}
	return rows
}

func (f *latencyFound) groupRow(part string, some []*watched, base *latencyFound) report.Row {
	row := report.Row{
		{Name: "run", Value: f.name}, {Name: "part", Value: part}, {Name: "viewers", Value: len(some) / len(f.rounds)},
		{Name: "rounds", Value: len(f.rounds)},
	}
	for _, q := range []struct {
		name string
		q    float64
	}{{"latency_p50", 0.5}, {"latency_p99", 0.99}, {"latency_max", 1}} {
		if s, seen := f.quantile(part, q.q).(spread[time.Duration]); seen {
			row = append(row, s.fields(q.name, "_s")...)
		}
	}
	keys, t := keyLatency(some), tollOf(some)
	row = append(row, report.Row{
		{Name: "latency_key_frames_p50_s", Value: keys.Quantile(0.5)}, {Name: "latency_key_frames_max_s", Value: keys.Quantile(1)},
	}...)
	row = append(row, t.fields()...)
	row = append(row, report.Field{Name: "latency_distribution", Value: f.all(part).Distribution()})
	switch {
	case part == partLossy:
		row = append(row, report.Row{{Name: "recovered_share", Value: t.filledShare()}, {Name: "recovery_max_s", Value: recoveryOf(t, len(some))}}...)
	case part == partLimited || part == partStopped:
		last := some[len(some)-1]
		row = append(row, report.Row{
			{Name: "fps", Value: last.row.FPS}, {Name: "estimate_bps", Value: last.device.EstimateBps},
			{Name: "pair", Value: last.row.Pair}, {Name: "state", Value: last.device.State},
		}...)
	case len(f.parts) > 0:
		row = append(row, f.later(base).fields("later", "_s")...)
	}
	return row
}

// recoveryOf is nil unless every viewer had a picture again.
func recoveryOf(t toll, viewers int) any {
	if t.recovered < viewers {
		return nil
	}
	return t.recovery
}

func (f *latencyFound) viewerRow(number int) report.Row {
	var all report.Latency
	var some []*watched
	for _, round := range f.rounds {
		some = append(some, round[number-1])
		all.Add(&round[number-1].latency)
	}
	row := report.Row{
		{Name: "run", Value: f.name}, {Name: "part", Value: some[0].part}, {Name: "viewer", Value: number}, {Name: "rounds", Value: len(f.rounds)},
		{Name: "latency_p50_s", Value: all.Quantile(0.5)}, {Name: "latency_p99_s", Value: all.Quantile(0.99)}, {Name: "latency_max_s", Value: all.Quantile(1)},
	}
	return append(row, tollOf(some).fields()...)
}

// keyLatency is that of all rounds' key frames, which are the large ones.
func keyLatency(some []*watched) (all report.Latency) {
	for _, w := range some {
		all.Add(&w.keys)
	}
	return all
}

// judgeLatency draws up the rows. A quick run tells the goals that it missed, but does not fail for them.
func judgeLatency(r *report.Report, found []*latencyFound, quick bool) {
	m := missed{}
	var base *latencyFound
	for _, f := range found {
		if f.name == runPlain {
			base = f
		}
	}
	for _, f := range found {
		r.Rows = append(r.Rows, f.rows(base)...)
		r.Summary = append(r.Summary, report.Field{Name: f.name + "_stolen_share", Value: f.stolenShare()})
		for _, w := range f.of(partPlain) {
			if !w.row.OK() || w.latency.Count() == 0 {
				r.Fail("%s: viewer %d saw no picture", f.name, w.row.Viewer)
			}
		}
		f.judge(base, m.note)
	}
	m.judge(r, quick)
}

// judge tells which goals were missed.
func (f *latencyFound) judge(base *latencyFound, miss func(format string, args ...any)) {
	if p99, seen := f.quantile(partPlain, 0.99).(spread[time.Duration]); seen && len(f.parts) == 0 && p99.median > latencyP99Max {
		miss("%s: latency p99 %v, the goal is %v at most; others took %.0f %% of the processors' time meanwhile",
			f.name, p99.median.Round(100*time.Microsecond), latencyP99Max, 100*f.stolenShare())
	}
	if len(f.parts) == 0 {
		return
	}
	if t := tollOf(f.of(partPlain)); t.dropped+t.lost > 0 {
		miss("%s: those without a fault lost %d packets, and the device dropped %d of their frames; the goal is none", f.name, t.lost, t.dropped)
	}
	if later := f.later(base).median; later > laterMax {
		miss("%s: those without a fault got the latest picture %v later than without the others, the goal is %v at most", f.name, later.Round(time.Millisecond), laterMax)
	}
	lossy := f.of(partLossy)
	if t := tollOf(lossy); len(lossy) > 0 {
		if share := t.filledShare(); share < filledShareMin {
			miss("%s: %.2f %% of the missed packets came once more, the goal is %.1f %% at least", f.name, share*100, filledShareMin*100)
		}
		if t.recovered < len(lossy) || t.recovery > recoveryMax {
			miss("%s: a new picture came %v after the outage, %d of %d times; the goal is %v at most", f.name, t.recovery.Round(time.Millisecond), t.recovered, len(lossy), recoveryMax)
		}
	}
}

func showLatency(w io.Writer, r *report.Report) error {
	var groups, faults []report.Row
	for _, row := range r.Rows {
		if row.Get("viewers") == nil {
			continue
		}
		groups = append(groups, row)
		if row.Get("part") != partPlain {
			faults = append(faults, row)
		}
	}
	err := report.Table(w, groups, "run", "part", "viewers", "latency_p50_s", "latency_p99_s", "latency_p99_min_s", "latency_p99_max_s",
		"latency_max_s", "latency_max_max_s", "latency_key_frames_p50_s", "later_s", "frames", "frames_dropped", "packets_lost", "freezes")
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	err = report.Table(w, faults, "run", "part", "pair", "state", "fps", "frames_shed", "estimate_bps", "packets_missed", "packets_recovered",
		"packets_resent", "recovered_share", "recovery_max_s")
	if err != nil {
		return err
	}
	return showMissed(w, r)
}
