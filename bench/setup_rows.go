package bench

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/messages"
)

// setupFound is what was measured of one case.
type setupFound struct {
	setupCase
	rounds []setupRound
	joins  []join // of all rounds
}

// setupRound holds the waits of one round's viewers.
type setupRound struct{ rtp, keys report.Latency }

func newSetupRound(joins []join) (r setupRound) {
	for _, j := range joins {
		if took, came := j.FirstRTP.(time.Duration); came {
			r.rtp.Record(took)
		}
		if took, came := j.FirstKeyFrame.(time.Duration); came {
			r.keys.Record(took)
		}
	}
	return r
}

// spreadOf is the median of values, and how far they lie apart.
func spreadOf[T cmp.Ordered](values []T) spread[T] {
	slices.Sort(values)
	return spread[T]{values[len(values)/2], values[0], values[len(values)-1], values}
}

// quantile takes a quantile of each round.
func (f *setupFound) quantile(q float64, of func(*setupRound) *report.Latency) spread[time.Duration] {
	var values []time.Duration
	for i := range f.rounds {
		took, _ := of(&f.rounds[i]).Quantile(q).(time.Duration) // 0 only where every viewer failed, which ends the run
		values = append(values, took)
	}
	return spreadOf(values)
}

func rtpOf(r *setupRound) *report.Latency  { return &r.rtp }
func keysOf(r *setupRound) *report.Latency { return &r.keys }

// quantiles are what the rows tell.
var quantiles = []struct {
	name string
	q    float64
}{{"p50", 0.5}, {"p95", 0.95}, {"max", 1}}

func (f *setupFound) row() report.Row {
	row := report.Row{
		{Name: "case", Value: f.String()}, {Name: "path", Value: f.path}, {Name: "arrive", Value: f.arrive},
		{Name: "viewers", Value: f.viewers}, {Name: "rtt_s", Value: f.rtt}, {Name: "limits", Value: f.kept()}, {Name: "rounds", Value: len(f.rounds)},
	}
	for _, q := range quantiles {
		row = append(row, f.quantile(q.q, rtpOf).fields("first_rtp_"+q.name, "_s")...)
	}
	for _, q := range quantiles {
		row = append(row, f.quantile(q.q, keysOf).fields("first_key_frame_"+q.name, "_s")...)
	}
	var answers report.Latency
	for _, j := range f.joins {
		if took, came := j.Answer.(time.Duration); came {
			answers.Record(took)
		}
	}
	row = append(row, phaseFields("answer", &answers)...)
	for _, name := range messages.PhaseNames {
		var viewers, device report.Latency
		for _, j := range f.joins {
			if took, passed := j.Phases[name]; passed {
				viewers.Record(took)
			}
			if took, passed := j.device[name]; passed {
				device.Record(time.Duration(took * float64(time.Second)))
			}
		}
		row = append(row, phaseFields(name, &viewers)...)
		row = append(row, phaseFields("device_"+name, &device)...)
	}
	return row
}

// kept says whose limits the service keeps to.
func (f *setupFound) kept() string {
	if f.limits {
		return "AWS"
	}
	return "lifted"
}

// phaseFields is empty for a phase that nobody passed.
func phaseFields(name string, took *report.Latency) report.Row {
	if took.Count() == 0 {
		return nil
	}
	return report.Row{{Name: name + "_p50_s", Value: took.Quantile(0.5)}, {Name: name + "_p95_s", Value: took.Quantile(0.95)}}
}

// The goals of the device: what the median of the rounds may be at most.
var setupGoals = []struct {
	path   string
	arrive []string
	rtt    time.Duration
	figure string // of quantiles
	most   time.Duration
}{
	{pathDirect, []string{arriveOne}, 0, "p50", 25 * time.Millisecond},
	{pathDirect, []string{arriveAtOnce}, 0, "p95", 80 * time.Millisecond},
	{pathDirect, []string{arriveAtOnce, arriveStaggered}, 20 * time.Millisecond, "p50", 110 * time.Millisecond},
	{pathDirect, []string{arriveAtOnce, arriveStaggered}, 20 * time.Millisecond, "max", 200 * time.Millisecond},
	{pathDirect, []string{arriveOne, arriveAtOnce, arriveStaggered}, 50 * time.Millisecond, "p50", 225 * time.Millisecond}, // 4.5 RTT
	{pathRelay, []string{arriveOne, arriveAtOnce, arriveStaggered}, 0, "p95", 350 * time.Millisecond},
}

// judge tells which goals were missed.
func (f *setupFound) judge(miss func(format string, args ...any)) {
	for _, g := range setupGoals {
		if g.path != f.path || g.rtt != f.rtt || f.limits || !slices.Contains(g.arrive, f.arrive) {
			continue
		}
		for _, q := range quantiles {
			if took := f.quantile(q.q, keysOf).median; q.name == g.figure && took > g.most {
				miss("%v: first key frame %s %v, the goal is %v at most", f.setupCase, q.name, took.Round(100*time.Microsecond), g.most)
			}
		}
	}
}

// judgeSetup draws up the rows. A quick run tells the goals that it missed, but does not fail for them.
func judgeSetup(r *report.Report, found []*setupFound, quick bool) {
	m := missed{}
	for _, f := range found {
		r.Rows = append(r.Rows, f.row())
		f.judge(m.note)
		for _, j := range f.joins {
			if !j.OK() {
				r.Fail("%v: viewer %d saw no picture", f.setupCase, j.Viewer)
			}
		}
	}
	m.judge(r, quick)
}

func showSetup(w io.Writer, r *report.Report) error {
	err := report.Table(w, r.Rows, "case", "first_rtp_p50_s", "first_key_frame_p50_s", "first_key_frame_p50_min_s", "first_key_frame_p50_max_s",
		"first_key_frame_p95_s", "first_key_frame_max_s", "first_key_frame_max_max_s")
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	err = report.Table(w, r.Rows, "case", "answer_p50_s", "answer_p95_s", "gather_relay_p50_s", "find_pair_p50_s", "find_pair_p95_s", "dtls_handshake_p50_s", "dtls_handshake_p95_s",
		"device_find_pair_p50_s", "device_dtls_handshake_p50_s", "device_first_frame_p50_s", "device_first_frame_p95_s")
	if err != nil {
		return err
	}
	return showMissed(w, r)
}
