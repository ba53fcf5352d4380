package bench

// Scenario fanout: what it costs to send one stream to many viewers. In order of execution:
//
//	service     in this process, its limits lifted; also all viewers are here
//	rounds      one variant after the other, each in a process of its own and on a channel of its own
//	            (package subject): viewers join, the sender plays its script, first to warm up and then
//	            to be measured (fanout_run.go)
//	judge       medians, rows, goals (fanout_rows.go)
//
// CPU time and memory are the sender's alone. Variants are compared within a round.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/bench/profiles"
	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/subject"
)

// The modes.
const (
	modeBurst     = "burst"
	modePaced     = "paced-1080p"
	modeReference = "paced-reference"
)

// fanoutMode is what is sent, to how many, by whom.
type fanoutMode struct {
	name     string
	viewers  []int
	variants []string // the first is ours
	script   func(viewers int) subject.Script
	warm     time.Duration
	span     time.Duration // of one measurement
	feedback bool          // viewers send NACKs and transport-wide feedback, not reports alone
}

type fanoutPlan struct {
	rounds int
	modes  []fanoutMode
}

// In bursts the viewers of this process must keep up, and what they cost is as much as what is
// measured: so many packets a second leave them time, in rests that are the same for each variant.
const burstPacketsPerS = 25_000

// Both packetisers make 20 packets of so large a picture: ours of 1150 bytes at most, pion's of 1188.
const (
	burstBytes    = 22_900
	burstPackets  = 20
	burstPictures = 4 // at once: about as much as a socket's default receive buffer takes
)

// burst has no NACK: a viewer that is overrun would ask for everything again.
func burst(viewers int) subject.Script {
	return subject.Script{
		Every:    time.Duration(max(viewers, 1)) * burstPictures * burstPackets * time.Second / burstPacketsPerS,
		Pictures: burstPictures, Slices: 1, Bytes: burstBytes, KeyEvery: 100, KeyBytes: burstBytes,
	}
}

// paced is 4 Mbit/s at 30 pictures a second, a key frame every two seconds, 8 times as large.
func paced(int) subject.Script {
	const bytes = 4_000_000 / 8 * 2 / (59 + 8)
	return subject.Script{
		Every: time.Second / 30, Pictures: 1, Slices: 1, Bytes: bytes, KeyEvery: 60, KeyBytes: 8 * bytes, Opus: 160,
	}
}

// reference is the stream of the C reference's sample: 325 kbit/s at 25 pictures a second of about
// six packets, because of their slices; a key frame every second; Opus at 64 kbit/s.
func reference(int) subject.Script {
	const key = 6600
	return subject.Script{
		Every: time.Second / 25, Pictures: 1, Slices: 6, Bytes: (325_000/8 - key) / 24, KeyEvery: 25, KeyBytes: key, Opus: 160,
	}
}

// planFanout: a quick run shows that everything works; too short to judge by, it meets every goal.
func planFanout(quick bool) fanoutPlan {
	all, two := []string{subject.Device, subject.Pion, subject.PionSHA1}, []string{subject.Device, subject.Pion}
	floored := two // on so light a stream waking up and sending are half of the cost or more
	if runtime.GOOS == "linux" {
		floored = append(slices.Clip(two), subject.Bare)
	}
	p := fanoutPlan{rounds: 5, modes: []fanoutMode{
		{modeBurst, []int{1, 10, 50, 100}, all, burst, time.Second, 4 * time.Second, false},
		{modePaced, []int{1, 10, 50, 100}, two, paced, 2 * time.Second, 4 * time.Second, true},
		{modeReference, []int{0, 1, 5, 10}, floored, reference, time.Second, 5 * time.Second, true},
	}}
	if quick {
		p.rounds = 2
		p.modes = []fanoutMode{
			{modeBurst, []int{10}, all, burst, 300 * time.Millisecond, time.Second, false},
			{modeReference, []int{10}, floored, reference, 500 * time.Millisecond, 2 * time.Second, true},
		}
	}
	return p
}

// only keeps what the settings ask for.
func (p fanoutPlan) only(cfg BenchConfig) (fanoutPlan, error) {
	var viewers []int
	for _, text := range cfg.Viewers {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 0 {
			return p, fmt.Errorf("--viewers: %q is no number of viewers", text)
		}
		viewers = append(viewers, n)
	}
	if len(cfg.Modes) > 0 {
		p.modes = slices.DeleteFunc(p.modes, func(m fanoutMode) bool { return !slices.Contains(cfg.Modes, m.name) })
	}
	if len(p.modes) < max(len(cfg.Modes), 1) {
		return p, fmt.Errorf("--modes: not all of %q are in this plan", cfg.Modes)
	}
	for i := range p.modes {
		if viewers != nil {
			p.modes[i].viewers = viewers
		}
		if cfg.Against != "" {
			p.modes[i].variants = []string{subject.Device, variantAgainst}
		}
	}
	return p, nil
}

func (p fanoutPlan) fields(quick bool) report.Row {
	row := report.Row{{Name: "quick", Value: quick}, {Name: "rounds", Value: p.rounds}, {Name: "load_average_before", Value: loadAverage()}}
	for _, m := range p.modes {
		row = append(row, report.Field{Name: m.name, Value: report.Row{
			{Name: "viewers", Value: m.viewers}, {Name: "warm_up_s", Value: m.warm}, {Name: "span_s", Value: m.span},
		}})
	}
	return row
}

func fanoutScenario(ctx context.Context, cfg BenchConfig, progress io.Writer) (_ *report.Report, err error) {
	plan, err := planFanout(cfg.Quick).only(cfg)
	if err != nil {
		return nil, err
	}
	r := report.New("fanout", plan.fields(cfg.Quick))
	least, err := measureFloor()
	if err != nil {
		return nil, err
	}
	before := readProcessors()
	found, err := plan.run(ctx, cfg, progress)
	if err != nil {
		return nil, err
	}
	r.Config = append(r.Config, report.Field{Name: "load_average_after", Value: loadAverage()},
		report.Field{Name: "stolen_share", Value: readProcessors().stolenSince(before)})
	judgeFanout(r, found, cfg.Quick)
	r.Summary = append(r.Summary, least.fields()...)
	return r, nil
}

// run measures every mode with every number of viewers.
func (p fanoutPlan) run(ctx context.Context, cfg BenchConfig, progress io.Writer) (found []*fanoutFound, err error) {
	s, stop, err := lone(ctx, service.Off)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for _, m := range p.modes {
		for _, viewers := range m.viewers {
			f := &fanoutFound{mode: m.name, viewers: viewers, variants: m.variants, rounds: make([][]fanoutCost, p.rounds)}
			found = append(found, f)
			for round := range f.rounds {
				if f.rounds[round], err = m.round(ctx, s, cfg, viewers, round, progress); err != nil {
					return nil, err
				}
			}
		}
	}
	return found, nil
}

// round measures each variant once. Every second round goes the other way round, so that nobody
// always comes first.
func (m fanoutMode) round(ctx context.Context, s *service.Service, cfg BenchConfig, viewers, round int, progress io.Writer) ([]fanoutCost, error) {
	costs := make([]fanoutCost, len(m.variants))
	for i := range m.variants {
		if round%2 == 1 {
			i = len(m.variants) - 1 - i
		}
		kind := m.variants[i]
		run := fanoutRun{
			mode: m, viewers: viewers, kind: kind, service: s,
			channel: fmt.Sprintf("fanout-%s-%d-%d-%s", m.name, viewers, round, kind),
		}
		switch kind {
		case subject.Device:
			run.profile = profiles.Target{Dir: cfg.Profile, Name: run.channel}
		case variantAgainst:
			run.kind, run.program = subject.Device, cfg.Against
		}
		var err error
		if costs[i], err = run.measure(ctx); err != nil {
			return nil, fmt.Errorf("%s, %d viewers, %s: %w", m.name, viewers, kind, err)
		}
		fmt.Fprintf(progress, "%s, %d viewers, round %d, %s: %s\n", m.name, viewers, round+1, variantName(kind), costs[i])
	}
	return costs, nil
}

// variantAgainst is the device of another build of the benchmark, such as the one before a change.
const variantAgainst = "against"

// variantName is what the rows call a sender.
func variantName(kind string) string {
	if kind == subject.Device {
		return "heliograph"
	}
	return kind
}
