package bench

// Scenario setup: how long a viewer waits for its first picture. In order of execution:
//
//	worlds      service and device in this process, AWS's limits lifted; a second pair keeps to them. The
//	            viewers are here, too
//	warm-up     a crowd, once: the first of a process pays for code that has never run
//	rounds      every case once, one after the other: viewers join, then send their offers at one instant
//	            or one after the other, and leave when all have a picture (setup_run.go)
//	judge       medians of the rounds, rows, goals (setup_rows.go)
//
// A viewer's wait begins when its offer goes into its websocket. The network between viewer and device,
// and between viewer and TURN server, is as long as the case says; the signaling has no length.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/profiles"
	"github.com/heliograph-rtc/heliograph/bench/report"
)

// How the viewers of a case come.
const (
	arriveOne       = "one"
	arriveAtOnce    = "at once"
	arriveStaggered = "staggered"
)

// What the paths are.
const (
	pathDirect = "direct"
	pathRelay  = "relay"
)

// setupCase is a number of viewers on one kind of network.
type setupCase struct {
	path    string
	arrive  string
	viewers int
	stagger time.Duration // between two offers
	rtt     time.Duration
	limits  bool // AWS's: 5 answers and 20 candidates a second on a socket (kvs-protocol.md 3.8)
}

func (c setupCase) String() string {
	text := fmt.Sprintf("%s, RTT %v, ", c.path, c.rtt)
	if c.viewers > 1 {
		text += fmt.Sprintf("%d ", c.viewers)
	}
	text += c.arrive
	if c.limits {
		text += ", AWS's limits"
	}
	return text
}

type setupPlan struct {
	rounds  int
	rtts    []time.Duration
	crowds  []int         // viewers of the cases that have more than one
	stagger time.Duration // the sample's group of pictures is no multiple of it, so that offers come anywhere in one
	limited time.Duration // the round-trip time of the case that keeps to AWS's limits
}

// planSetup: a quick run shows that everything works; it is too short to judge by.
func planSetup(quick bool) setupPlan {
	p := setupPlan{
		rounds: 5, crowds: []int{viewersDefault / 2, viewersDefault}, stagger: 730 * time.Millisecond,
		rtts:    []time.Duration{0, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond},
		limited: 20 * time.Millisecond,
	}
	if quick {
		p.rounds, p.stagger, p.rtts, p.crowds = 1, 130*time.Millisecond, p.rtts[:3], p.crowds[1:]
	}
	return p
}

// only keeps to what the settings ask for.
func (p setupPlan) only(cfg BenchConfig) (setupPlan, error) {
	if len(cfg.RTTs) > 0 {
		p.rtts = nil
	}
	for _, text := range cfg.RTTs {
		rtt, err := time.ParseDuration(strings.TrimSpace(text))
		if err != nil || rtt < 0 {
			return p, fmt.Errorf("--rtts: %q is no time; write 0, 20ms", text)
		}
		p.rtts = append(p.rtts, rtt)
	}
	return p, nil
}

func (p setupPlan) cases() (cases []setupCase) {
	for _, path := range []string{pathDirect, pathRelay} {
		for _, rtt := range p.rtts {
			cases = append(cases, setupCase{path: path, arrive: arriveOne, viewers: 1, rtt: rtt})
			for _, crowd := range p.crowds {
				cases = append(cases,
					setupCase{path: path, arrive: arriveAtOnce, viewers: crowd, rtt: rtt},
					setupCase{path: path, arrive: arriveStaggered, viewers: crowd, stagger: p.stagger, rtt: rtt})
			}
		}
	}
	return append(cases, setupCase{path: pathDirect, arrive: arriveAtOnce, viewers: p.most(), rtt: p.limited, limits: true})
}

// most is how many viewers there are at a time.
func (p setupPlan) most() int { return slices.Max(p.crowds) }

func (p setupPlan) fields(quick bool) report.Row {
	return report.Row{
		{Name: "quick", Value: quick}, {Name: "rounds", Value: p.rounds}, {Name: "crowds", Value: p.crowds},
		{Name: "stagger_s", Value: p.stagger}, {Name: "load_average_before", Value: loadAverage()},
	}
}

func setupScenario(ctx context.Context, cfg BenchConfig, progress io.Writer) (*report.Report, error) {
	plan, err := planSetup(cfg.Quick).only(cfg)
	if err != nil {
		return nil, err
	}
	r := report.New("setup", plan.fields(cfg.Quick))
	record, err := profiles.Start(profiles.Target{Dir: cfg.Profile, Name: "setup"})
	if err != nil {
		return nil, err
	}
	before := readProcessors()
	found, err := plan.run(ctx, progress)
	if err = errors.Join(err, record.Stop()); err != nil {
		return nil, err
	}
	r.Config = append(r.Config, report.Field{Name: "load_average_after", Value: loadAverage()},
		report.Field{Name: "stolen_share", Value: readProcessors().stolenSince(before)})
	judgeSetup(r, found, cfg.Quick)
	return r, nil
}

// run goes through all cases in every round, so that what the machine does besides meets each.
func (p setupPlan) run(ctx context.Context, progress io.Writer) (found []*setupFound, err error) {
	worlds := map[bool]*World{} // by whether they keep to AWS's limits
	for _, limits := range []bool{false, true} {
		w, failed := StartWorld(ctx, WorldConfig{Viewers: p.most(), AWSLimits: limits})
		if failed != nil {
			return nil, failed
		}
		defer func() { err = errors.Join(err, w.Stop()) }()
		worlds[limits] = w
		if _, err := (&setupRun{setupCase: setupCase{path: pathDirect, viewers: p.most()}, world: w, id: "warm-up"}).measure(ctx); err != nil {
			return nil, fmt.Errorf("warm up: %w", err)
		}
	}
	for _, c := range p.cases() {
		found = append(found, &setupFound{setupCase: c})
	}
	for round := range p.rounds {
		for i, f := range found {
			run := setupRun{setupCase: f.setupCase, world: worlds[f.limits], id: fmt.Sprintf("setup-%d-%d", round, i)}
			joins, err := run.measure(ctx)
			if err != nil {
				return nil, fmt.Errorf("%v: %w", f.setupCase, err)
			}
			f.rounds = append(f.rounds, newSetupRound(joins))
			f.joins = append(f.joins, joins...)
			fmt.Fprintf(progress, "round %d, %v: first key frame p50 %v\n", round+1, f.setupCase, f.rounds[round].keys.Quantile(0.5))
		}
	}
	return found, nil
}
