package bench

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/subject"
)

// The goals of the device.
const (
	allocsPerPacketMax     = 0.3 // from ten viewers to
	allocsViewersJudged    = 50
	referenceCPUOneMax     = 10 * time.Millisecond // in a second, at one viewer
	referenceCPUTenMax     = 18 * time.Millisecond
	referenceMemoryTenMax  = 26_000_000
	lostShareMax           = 0.01 // more, and what was measured is not what was meant
	referenceViewersJudged = 10
)

// ratioGoals are how much dearer a baseline must be than the device.
var ratioGoals = []struct {
	mode    string
	viewers int
	variant string
	least   float64
}{
	{modeBurst, 10, subject.Pion, 3.0}, {modeBurst, 50, subject.Pion, 3.6},
	{modeBurst, 10, subject.PionSHA1, 4.5}, {modeBurst, 50, subject.PionSHA1, 4.5},
	{modePaced, 10, subject.Pion, 1 / 0.6}, {modePaced, 50, subject.Pion, 1 / 0.45},
}

// fanoutFound is what was measured in one mode with one number of viewers.
type fanoutFound struct {
	mode     string
	viewers  int
	variants []string
	rounds   [][]fanoutCost // by round and variant
}

// spread is the median of rounds, how far they lay apart, and what each of them was.
type spread[T cmp.Ordered] struct {
	median, least, most T
	rounds              []T // the least first
}

// over takes a figure from each round.
func over[T cmp.Ordered](f *fanoutFound, figure func(round []fanoutCost) T) spread[T] {
	values := make([]T, len(f.rounds))
	for i, round := range f.rounds {
		values[i] = figure(round)
	}
	slices.Sort(values)
	return spread[T]{values[(len(values)-1)/2], values[0], values[len(values)-1], values}
}

func (s spread[T]) fields(name, unit string) report.Row {
	return report.Row{
		{Name: name + unit, Value: known(s.median)},
		{Name: name + "_min" + unit, Value: known(s.least)}, {Name: name + "_max" + unit, Value: known(s.most)},
		{Name: name + "_rounds" + unit, Value: s.rounds},
	}
}

// known is nil for a figure that is not a number, as figures per packet are where there is no packet.
func known(figure any) any {
	if f, is := figure.(float64); is && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil
	}
	return figure
}

func (f *fanoutFound) cpuPerPacket(v int) spread[float64] {
	return over(f, func(round []fanoutCost) float64 {
		return round[v].perPacket(float64(round[v].cpu) / float64(time.Microsecond))
	})
}

func (f *fanoutFound) cpuPerSecond(v int) spread[time.Duration] {
	return over(f, func(round []fanoutCost) time.Duration { return round[v].perSecond() })
}

func (f *fanoutFound) allocsPerPacket(v int) spread[float64] {
	return over(f, func(round []fanoutCost) float64 { return round[v].perPacket(float64(round[v].mallocs)) })
}

// sendsPerPacket counts the calls that send, which are the most by far; pion's baseline polls as often.
func (f *fanoutFound) sendsPerPacket(v int) spread[float64] {
	return over(f, func(round []fanoutCost) float64 {
		if round[v].sends < 0 {
			return math.NaN()
		}
		return round[v].perPacket(float64(round[v].sends))
	})
}

func (f *fanoutFound) peak(v int) spread[uint64] {
	return over(f, func(round []fanoutCost) uint64 { return round[v].peak })
}

func (f *fanoutFound) private(v int) spread[uint64] {
	return over(f, func(round []fanoutCost) uint64 { return round[v].private })
}

// ratio is what a baseline costs, divided by what the device does in the same round. It is taken per
// packet where there are any, because a pace may leave one of them a few more.
func (f *fanoutFound) ratio(v int) spread[float64] {
	return over(f, func(round []fanoutCost) float64 {
		if f.viewers == 0 {
			return float64(round[v].cpu) / float64(round[0].cpu)
		}
		return round[v].perPacket(float64(round[v].cpu)) / round[0].perPacket(float64(round[0].cpu))
	})
}

func (f *fanoutFound) packets(v int) (sent, lost uint64) {
	for _, round := range f.rounds {
		sent, lost = sent+round[v].packets, lost+round[v].lost
	}
	return sent, lost
}

func (f *fanoutFound) row(v int) report.Row {
	sent, lost := f.packets(v)
	row := report.Row{
		{Name: "variant", Value: variantName(f.variants[v])}, {Name: "mode", Value: f.mode}, {Name: "viewers", Value: f.viewers},
		{Name: "rounds", Value: len(f.rounds)}, {Name: "packets", Value: sent}, {Name: "packets_lost", Value: lost},
	}
	row = append(row, f.cpuPerPacket(v).fields("cpu", "_us_per_packet")...)
	row = append(row, f.cpuPerSecond(v).fields("cpu", "_s_per_s")...)
	row = append(row,
		report.Field{Name: "allocs_per_packet", Value: known(f.allocsPerPacket(v).median)},
		report.Field{Name: "syscalls_per_packet", Value: known(f.sendsPerPacket(v).median)})
	row = append(row, f.peak(v).fields("rss", "_bytes")...)
	row = append(row, report.Field{Name: "private_rss_bytes", Value: f.private(v).median})
	if v > 0 {
		row = append(row, f.ratio(v).fields("ratio", "")...)
	}
	return row
}

// judgeFanout draws up the rows. A quick run fails only when it did not run as meant.
func judgeFanout(r *report.Report, found []*fanoutFound, quick bool) {
	m := missed{}
	for _, f := range found {
		for v, kind := range f.variants {
			r.Rows = append(r.Rows, f.row(v))
			sent, lost := f.packets(v)
			if sent == 0 && f.viewers > 0 {
				r.Fail("%s, %d viewers, %s: no packet came", f.mode, f.viewers, variantName(kind))
			} else if float64(lost) > lostShareMax*float64(sent) {
				m.note("%s, %d viewers, %s: %d of %d packets were lost, so that the figures are of no use",
					f.mode, f.viewers, variantName(kind), lost, sent)
			}
		}
		f.judge(m.note)
	}
	r.Summary = append(r.Summary, perCore(found)...)
	m.judge(r, quick)
}

// perCore is how many viewers of 1080p30 one core serves, by each variant: its CPU per second grows in a
// line with them, of which each round has one.
func perCore(found []*fanoutFound) (fields report.Row) {
	var paced []*fanoutFound
	for _, f := range found {
		if f.mode == modePaced && f.viewers > 0 {
			paced = append(paced, f)
		}
	}
	if len(paced) < 2 {
		return nil
	}
	for v, kind := range paced[0].variants {
		var cores []float64
		var fixed, slopes []time.Duration
		for round := range paced[0].rounds {
			var at, cpu []float64
			for _, f := range paced {
				at, cpu = append(at, float64(f.viewers)), append(cpu, f.rounds[round][v].perSecond().Seconds())
			}
			from, slope := line(at, cpu)
			cores = append(cores, math.Round((1-from)/slope))
			fixed, slopes = append(fixed, time.Duration(from*float64(time.Second))), append(slopes, time.Duration(slope*float64(time.Second)))
		}
		name := variantName(kind)
		fields = append(fields, spreadOf(cores).fields(name+"_viewers_per_core", "")...)
		fields = append(fields,
			report.Field{Name: name + "_fixed_s_per_s", Value: spreadOf(fixed).median},
			report.Field{Name: name + "_viewer_s_per_s", Value: spreadOf(slopes).median})
	}
	return fields
}

// judge tells which goals were missed.
func (f *fanoutFound) judge(miss func(format string, args ...any)) {
	for _, g := range ratioGoals {
		v := slices.Index(f.variants, g.variant)
		if g.mode != f.mode || g.viewers != f.viewers || v < 0 {
			continue
		}
		if ratio := f.ratio(v).median; !(ratio >= g.least) {
			miss("%s, %d viewers: %s costs %.2f times as much, the goal is %.2f at least", f.mode, f.viewers, g.variant, ratio, g.least)
		}
	}
	switch {
	case f.mode == modeBurst && f.viewers >= 10 && f.viewers <= allocsViewersJudged:
		if allocs := f.allocsPerPacket(0).median; !(allocs <= allocsPerPacketMax) {
			miss("%s, %d viewers: %.2f allocations per packet, the goal is %.1f at most", f.mode, f.viewers, allocs, allocsPerPacketMax)
		}
	case f.mode == modeReference && f.viewers == 1:
		f.judgeCPU(referenceCPUOneMax, miss)
	case f.mode == modeReference && f.viewers == referenceViewersJudged:
		f.judgeCPU(referenceCPUTenMax, miss)
		if peak := f.peak(0).median; peak > referenceMemoryTenMax {
			miss("%s, %d viewers: %.1f MB of memory, the goal is %.0f at most", f.mode, f.viewers, float64(peak)/1e6, referenceMemoryTenMax/1e6)
		}
	}
}

func (f *fanoutFound) judgeCPU(most time.Duration, miss func(format string, args ...any)) {
	cpu, floor := f.cpuPerSecond(0).median, ""
	if v := slices.Index(f.variants, subject.Bare); v > 0 {
		floor = fmt.Sprintf("; waking up and sending alone take %v here", f.cpuPerSecond(v).median.Round(100*time.Microsecond))
	}
	if cpu > most {
		miss("%s, %d viewers: %v of CPU in a second, the goal is %v at most%s", f.mode, f.viewers, cpu.Round(100*time.Microsecond), most, floor)
	}
}

func showFanout(w io.Writer, r *report.Report) error {
	err := report.Table(w, r.Rows, "mode", "viewers", "variant", "packets", "packets_lost", "cpu_us_per_packet", "cpu_min_us_per_packet",
		"cpu_max_us_per_packet", "cpu_s_per_s", "allocs_per_packet", "syscalls_per_packet", "rss_bytes", "private_rss_bytes", "ratio", "ratio_min", "ratio_max")
	if err != nil {
		return err
	}
	for _, variant := range []string{"heliograph", subject.Pion} {
		if n, ok := r.Summary.Get(variant + "_viewers_per_core").(float64); ok {
			fmt.Fprintf(w, "\n%s: %.0f viewers of 1080p30 per core (%v to %v)", variant, n,
				r.Summary.Get(variant+"_viewers_per_core_min"), r.Summary.Get(variant+"_viewers_per_core_max"))
		}
	}
	fmt.Fprintln(w)
	return showMissed(w, r)
}
