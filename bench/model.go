package bench

// Scenario model: how many viewers a core serves, predicted from what the path of a frame executes. In order
// of execution:
//
//	count    the sender, in a process of its own, sends pictures and sound to a few viewers, and then to more;
//	         each instruction of its thread is counted (package steps)
//	time     fanout's burst to ten viewers: what an instruction of the path takes, the kernel's work with it
//	check    what the model says of a burst to fifty, from which it was not made, by what that takes
//	measure  a second of the paced stream, to ten and to fifty: what the model leaves out
//	judge    model_rows.go: the model, its error, and its prediction for other processors
//
// The costs are those of one viewer more: what the sender does once for all of them falls out.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/steps"
	"github.com/heliograph-rtc/heliograph/bench/subject"
)

type modelPlan struct {
	few, more int   // viewers that are counted with
	counted   int   // units of a kind
	rounds    int   // of bursts and of the stream
	viewers   []int // who are sent those
	bursts    fanoutMode
	stream    fanoutMode
}

func planModel(quick bool) modelPlan {
	p := modelPlan{few: 1, more: 2, counted: 5, rounds: 5, viewers: []int{10, 50}}
	modes := planFanout(false).modes
	p.bursts, p.stream = modes[0], modes[1]
	if quick {
		p.counted, p.rounds, p.viewers = 1, 1, []int{1, 10}
		p.bursts.warm, p.bursts.span = 300*time.Millisecond, time.Second
		p.stream.warm, p.stream.span = 500*time.Millisecond, 2*time.Second
	}
	return p
}

func modelScenario(ctx context.Context, cfg BenchConfig, progress io.Writer) (_ *report.Report, err error) {
	plan := planModel(cfg.Quick)
	r := report.New("model", report.Row{
		{Name: "quick", Value: cfg.Quick}, {Name: "rounds", Value: plan.rounds}, {Name: "units_counted", Value: plan.counted},
		{Name: "viewers_counted", Value: []int{plan.few, plan.more}}, {Name: "viewers_timed", Value: plan.viewers},
	})
	s, stop, err := lone(ctx, service.Off)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	m := modelRun{plan: plan, progress: progress, service: s}
	found, err := m.measure(ctx)
	switch {
	case errors.Is(err, steps.ErrMissing):
		return nil, fmt.Errorf("%w: %w", errLacks, err)
	case err != nil:
		return nil, err
	}
	found.judge(r, cfg.Quick)
	return r, nil
}

// modelRun measures what the model is made of.
type modelRun struct {
	plan     modelPlan
	progress io.Writer
	service  *service.Service
	senders  int // so far
}

// run is one with a sender of its own.
func (m *modelRun) run(mode fanoutMode, viewers int) fanoutRun {
	m.senders++
	return fanoutRun{mode: mode, viewers: viewers, kind: subject.Device, service: m.service, channel: fmt.Sprintf("model-%d", m.senders)}
}

// modelFound is what was measured.
type modelFound struct {
	plan           modelPlan
	units          map[string]unitCost // by work; of one viewer more
	plain, seal    unitCost
	few, more      []fanoutCost // bursts, by round
	pacedPerViewer []time.Duration
}

// unitCost is what a unit costs: a picture or a packet of sound for one viewer, or a piece of calibration.
type unitCost struct {
	steps.Counts
	packets float64
	cpu     time.Duration // of calibrations
}

var modelWorks = []string{subject.SpanPicture, subject.SpanSound}

// Of the calibration: how often, and what AES-GCM seals, a full packet.
const (
	calibrations = 2000
	sealBytes    = 1150
)

func (m *modelRun) measure(ctx context.Context) (*modelFound, error) {
	found := &modelFound{plan: m.plan, units: map[string]unitCost{}}
	few, err := m.count(ctx, m.plan.few, found)
	if err != nil {
		return nil, err
	}
	more, err := m.count(ctx, m.plan.more, found)
	if err != nil {
		return nil, err
	}
	for work, cost := range more {
		found.units[work] = cost.less(few[work], float64(m.plan.more-m.plan.few))
	}
	for round := range m.plan.rounds {
		if err := m.compare(ctx, round, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// less is what each of so many viewers more costs.
func (c unitCost) less(few unitCost, viewers float64) unitCost {
	return unitCost{
		Counts:  steps.Counts{}.Plus(c.Counts, 1/viewers).Plus(few.Counts, -1/viewers),
		packets: (c.packets - few.packets) / viewers,
	}
}

// count has a sender of its own count each kind of work. Its viewers give no transport-wide feedback:
// counted, the sender stands still for seconds, and would hold their paths for full.
func (m *modelRun) count(ctx context.Context, viewers int, found *modelFound) (costs map[string]unitCost, err error) {
	mode := m.plan.stream
	mode.feedback = false
	run := m.run(mode, viewers)
	costs = map[string]unitCost{}
	err = run.with(ctx, func(sender *subject.Subject, c crowd) error {
		if _, err := run.playOnce(ctx, sender, c, run.mode.warm); err != nil { // from a key frame on
			return err
		}
		thread, err := sender.Hold()
		if err != nil {
			return err
		}
		for _, work := range modelWorks {
			var cost unitCost
			if cost.packets, err = unitPackets(ctx, run, sender, c, work); err == nil {
				cost.Counts, err = m.counted(ctx, sender, thread, subject.Span{Work: work})
			}
			if err != nil {
				return err
			}
			costs[work] = cost
			fmt.Fprintf(m.progress, "model: %s to %d viewers: %.0f instructions, %.1f system calls, %.1f packets\n",
				work, viewers, cost.Instructions, cost.Calls, cost.packets)
		}
		return m.calibrate(ctx, sender, thread, found)
	})
	return costs, err
}

// counted counts one kind of work a few times. The least is what it takes: now and then memory has to be found
// or put in order besides.
func (m *modelRun) counted(ctx context.Context, sender *subject.Subject, thread steps.Thread, work subject.Span) (least steps.Counts, err error) {
	for i := range m.plan.counted {
		c, err := countOnce(ctx, sender, thread, work)
		if err != nil {
			return c, fmt.Errorf("count %s: %w", work.Work, err)
		}
		if i == 0 || c.Instructions < least.Instructions {
			least = c
		}
	}
	return least, nil
}

// unitPackets is how many packets a unit makes, for all viewers.
func unitPackets(ctx context.Context, run fanoutRun, sender *subject.Subject, crowd crowd, work string) (float64, error) {
	before, err := run.playOnce(ctx, sender, crowd, 0) // waits until all has come
	if err == nil {
		_, err = sender.Emit(subject.Span{Work: work, Times: 1})
	}
	if err != nil {
		return 0, err
	}
	after, err := run.playOnce(ctx, sender, crowd, 0)
	packets := float64(after.sent - before.sent)
	if err == nil && packets < float64(run.viewers) {
		err = fmt.Errorf("%.0f packets of a %s reached %d viewers: something held them back", packets, work, run.viewers)
	}
	return packets, err
}

// calibrate counts and times ordinary code, and AES-GCM.
func (m *modelRun) calibrate(ctx context.Context, sender *subject.Subject, thread steps.Thread, found *modelFound) error {
	for _, c := range []struct {
		cost *unitCost
		span subject.Span
	}{{&found.plain, subject.Span{Work: subject.SpanPlain}}, {&found.seal, subject.Span{Work: subject.SpanSeal, Bytes: sealBytes}}} {
		counts, err := m.counted(ctx, sender, thread, c.span)
		if err != nil {
			return err
		}
		c.span.Times = calibrations
		spent, err := sender.Emit(c.span)
		if err != nil {
			return err
		}
		c.cost.Counts, c.cost.cpu = counts, spent.CPU/calibrations
	}
	return nil
}

// stuckTries: the counted thread may wait for one that stands still, when an actor on its way is busy there.
const stuckTries = 8

// countOnce counts a single unit: between two of them the sender's other threads do what has come up.
func countOnce(ctx context.Context, sender *subject.Subject, thread steps.Thread, work subject.Span) (c steps.Counts, err error) {
	work.Times, work.Counted = 1, true
	for range stuckTries {
		spans, err := steps.Follow(ctx, thread, work.Marks()-1, func() error { return sender.Begin(work) })
		if err != nil && !steps.Stuck(err) {
			return c, err
		}
		if _, ended := sender.Ended(); ended != nil {
			return c, ended
		}
		if err == nil {
			return steps.Mean(spans), nil
		}
	}
	return c, errors.New("the counted thread waited for others again and again")
}

// compare measures bursts and the paced stream, to few and to many viewers.
func (m *modelRun) compare(ctx context.Context, round int, found *modelFound) error {
	var costs []fanoutCost
	for _, mode := range []fanoutMode{m.plan.bursts, m.plan.stream} {
		for _, viewers := range m.plan.viewers {
			cost, err := m.run(mode, viewers).measure(ctx)
			if err != nil {
				return err
			}
			fmt.Fprintf(m.progress, "model, round %d, %s to %d viewers: %v\n", round+1, mode.name, viewers, cost)
			costs = append(costs, cost)
		}
	}
	found.few, found.more = append(found.few, costs[0]), append(found.more, costs[1])
	found.pacedPerViewer = append(found.pacedPerViewer, (costs[3].perSecond()-costs[2].perSecond())/time.Duration(m.plan.viewers[1]-m.plan.viewers[0]))
	return nil
}
