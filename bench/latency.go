package bench

// Scenario latency: how old a picture is when a viewer has all of it. In order of execution:
//
//	service     in this process, its limits lifted; also all viewers are here
//	rounds      four runs, one after the other, each with a device in a process of its own (package
//	            subject) and on a channel of its own: viewers join, the device plays, first to warm up and
//	            then to be measured (latency_run.go)
//	judge       medians, rows, goals (latency_rows.go)
//
// Device and viewers read the same clock: abs-capture-time tells when a picture was captured. What the
// viewers' own scheduling adds is in the figures, and what a virtual machine's host takes (stolen.go). In two of the runs some viewers have a fault; the
// others are compared with those of the same numbers in the run without.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/profiles"
	"github.com/heliograph-rtc/heliograph/bench/report"
)

// The runs.
const (
	runSample = "sample" // the built-in sample
	runPlain  = "1080p"  // 30 pictures a second, 4 Mbit/s; the runs with faults send it, too
	runSlow   = "slow"   // two viewers do not take what they are sent
	runLoss   = "loss"   // one loses packets
)

// The viewers' parts in a run.
const (
	partPlain   = "plain"
	partStopped = "stopped" // on TURN over TCP; its reader stops for a while
	partLimited = "limited" // behind a thin line
	partLossy   = "lossy"   // loses packets all the time, and for a while everything
)

// The faults.
const (
	limitBps  = 300_000
	lossShare = 0.02
	outage    = 300 * time.Millisecond
	faultSeed = 1
)

// latencyRun is what one kind of run does.
type latencyRun struct {
	name  string
	parts map[int]string // by viewer's number, of those with a fault
	span  time.Duration
}

type latencyPlan struct {
	rounds  int
	viewers int
	warm    time.Duration
	calm    time.Duration // from the beginning of a measurement to a fault
	stop    time.Duration // how long a reader stops
	runs    []latencyRun
}

// planLatency: a quick run shows that everything works; it is too short to judge by.
func planLatency(quick bool) latencyPlan {
	p := latencyPlan{rounds: 3, viewers: viewersDefault, warm: 1500 * time.Millisecond, calm: 2 * time.Second, stop: 5 * time.Second}
	span := 8 * time.Second
	if quick {
		p.rounds, p.calm, p.stop, span = 1, 500*time.Millisecond, 1500*time.Millisecond, 3*time.Second
	}
	p.runs = []latencyRun{
		{runSample, nil, span},
		{runPlain, nil, span},
		{runSlow, map[int]string{p.viewers - 1: partStopped, p.viewers: partLimited}, span},
		{runLoss, map[int]string{p.viewers: partLossy}, span},
	}
	return p
}

func (p latencyPlan) fields(quick bool) report.Row {
	row := report.Row{
		{Name: "quick", Value: quick}, {Name: "rounds", Value: p.rounds}, {Name: "viewers", Value: p.viewers},
		{Name: "warm_up_s", Value: p.warm}, {Name: "stop_s", Value: p.stop}, {Name: "limit_bps", Value: limitBps},
		{Name: "loss", Value: lossShare}, {Name: "outage_s", Value: outage}, {Name: "load_average_before", Value: loadAverage()},
	}
	for _, run := range p.runs {
		row = append(row, report.Field{Name: run.name + "_span_s", Value: run.span})
	}
	return row
}

func latencyScenario(ctx context.Context, cfg BenchConfig, progress io.Writer) (*report.Report, error) {
	plan := planLatency(cfg.Quick)
	r := report.New("latency", plan.fields(cfg.Quick))
	found, err := plan.run(ctx, cfg, progress)
	if err != nil {
		return nil, err
	}
	r.Config = append(r.Config, report.Field{Name: "load_average_after", Value: loadAverage()})
	judgeLatency(r, found, cfg.Quick)
	return r, nil
}

// run goes through all runs in every round, so that what the machine does besides meets each.
func (p latencyPlan) run(ctx context.Context, cfg BenchConfig, progress io.Writer) (found []*latencyFound, err error) {
	s, stop, err := lone(ctx, freeLoopback)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for _, run := range p.runs {
		found = append(found, &latencyFound{latencyRun: run, viewers: p.viewers})
	}
	for round := range p.rounds {
		for _, f := range found {
			w := watching{
				latencyPlan: p, latencyRun: f.latencyRun, service: s, channel: fmt.Sprintf("latency-%s-%d", f.name, round),
				profile: profiles.Target{Dir: cfg.Profile, Name: fmt.Sprintf("%s-%d", f.name, round)},
			}
			before := readProcessors()
			watched, err := w.measure(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
			f.rounds = append(f.rounds, watched)
			f.stolen = append(f.stolen, readProcessors().stolenSince(before))
			all := f.latency(round, partPlain)
			fmt.Fprintf(progress, "round %d, %s: latency p50 %v, p99 %v, max %v, %.0f %% of the processors' time taken by others\n",
				round+1, f.name, all.Quantile(0.5), all.Quantile(0.99), all.Quantile(1), 100*f.stolen[round])
		}
	}
	return found, nil
}
