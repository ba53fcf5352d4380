package bench

// Scenario soak: some viewers stay, others come, watch and leave, half of these without a word, for as
// long as one likes; nothing may grow. In order of execution:
//
//	world    service, device and viewers are this one process, so that nothing can hide in another
//	warm-up  some come and go: pools, caches and connections that are kept
//	cycles   comers join at once, watch and leave; when the device has only those left that stay, a
//	         sample is taken: all samples show the same situation
//	judge    each figure's trend over the samples (trend.go)

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/bench/profiles"
	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/subject"
	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	soakSamplesMax = 120  // a longer run keeps every second one, then every fourth, ...
	soakSamplesMin = 5    // fewer show no trend
	soakChance     = 0.02 // growth that chance explains with a greater probability is none
	soakLostMax    = 1e-3 // share of the packets
)

type soakPlan struct {
	duration    time.Duration
	stay, comer int           // viewers
	watch       time.Duration // of a comer
	warm        int           // joins
}

func planSoak(quick bool, duration time.Duration) soakPlan {
	p := soakPlan{duration: 5 * time.Minute, stay: 6, comer: 4, watch: time.Second, warm: 200}
	if quick {
		p.duration, p.watch, p.warm = 10*time.Second, 200*time.Millisecond, 60
	}
	if duration > 0 {
		p.duration = duration
	}
	return p
}

// soakSample is how everything stands between two cycles.
type soakSample struct {
	standing
	at            time.Duration
	joins         int
	memory        uint64 // bytes of RSS that are not pages of the program's file
	depth         int    // messages that wait in the device's mailboxes
	sent          uint64 // packets, to those that stay
	dropped, lost uint64 // frames that the device did not send to them, packets that did not come
}

func soakScenario(ctx context.Context, cfg BenchConfig, progress io.Writer) (*report.Report, error) {
	plan := planSoak(cfg.Quick, cfg.Duration)
	r := report.New("soak", report.Row{
		{Name: "quick", Value: cfg.Quick}, {Name: "duration_s", Value: plan.duration}, {Name: "viewers_that_stay", Value: plan.stay},
		{Name: "viewers_that_come_and_go", Value: plan.comer}, {Name: "watch_s", Value: plan.watch}, {Name: "consent_timeout_s", Value: churnConsent},
	})
	record, err := profiles.Start(profiles.Target{Dir: cfg.Profile, Name: "soak"})
	if err != nil {
		return nil, err
	}
	samples, err := plan.run(ctx, progress)
	if err = errors.Join(err, record.Stop()); err != nil {
		return nil, err
	}
	judgeSoak(r, samples)
	return r, nil
}

func (p soakPlan) run(ctx context.Context, progress io.Writer) (samples []soakSample, err error) {
	w, err := StartWorld(ctx, consenting())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Stop()) }()
	if err := w.churn(ctx, 0, p.warm, p.comer); err != nil {
		return nil, err
	}
	// Half of them left without a word, and keep their slots until their consent expires.
	if _, err := w.awaitCensus(ctx, func(c messages.Census) bool { return len(c.Viewers) == 0 }); err != nil {
		return nil, err
	}
	watching, leave := context.WithCancel(ctx)
	stayers, gone, err := w.settle(watching, p.stay)
	defer func() {
		leave()
		err = errors.Join(err, gone.Wait())
	}()
	if err != nil {
		return nil, err
	}
	return p.cycles(ctx, w, stayers, progress)
}

// settle lets in those that stay.
func (w *World) settle(ctx context.Context, n int) (stayers []*Viewer, gone *actors.Group, err error) {
	gone = &actors.Group{}
	for i := range n {
		cfg := w.Viewer(i+1, fmt.Sprint("stay-", i+1))
		cfg.Data, cfg.NoServers = true, true
		v, err := NewViewer(cfg)
		if err != nil {
			return nil, gone, err
		}
		gone.Go(cfg.ClientID, func() error { return v.Run(ctx) })
		select {
		case <-v.Playing():
		case <-v.life.Done():
			return nil, gone, errors.New("a viewer could not join") // its own error says why
		}
		stayers = append(stayers, v)
	}
	return stayers, gone, nil
}

// cycles lets the comers come and go until the time is up.
func (p soakPlan) cycles(ctx context.Context, w *World, stayers []*Viewer, progress io.Writer) (samples []soakSample, err error) {
	began, every, joins := time.Now(), 1, 0
	told := began
	for cycle := 0; time.Since(began) < p.duration || len(samples) < soakSamplesMin; cycle++ {
		s, err := w.cycle(ctx, p, cycle, stayers)
		if err != nil {
			return nil, err
		}
		joins += p.comer
		if s.at, s.joins = time.Since(began), joins; cycle%every != 0 {
			continue
		}
		if samples = append(samples, s); len(samples) == soakSamplesMax {
			samples, every = everySecond(samples), every*2
		}
		if time.Since(told) >= time.Second {
			told = time.Now()
			fmt.Fprintf(progress, "soak: %v of %v, %d joins, %d goroutines, heap %.1f MB\n", s.at.Round(time.Second), p.duration, joins, s.goroutines, float64(s.heap)/1e6)
		}
	}
	return samples, nil
}

func everySecond(samples []soakSample) []soakSample {
	var kept []soakSample
	for i := 0; i < len(samples); i += 2 {
		kept = append(kept, samples[i])
	}
	return kept
}

// cycle lets comers join, watch and leave, and takes a sample when they are gone.
func (w *World) cycle(ctx context.Context, p soakPlan, number int, stayers []*Viewer) (s soakSample, err error) {
	var group actors.Group
	for i := range p.comer {
		group.Go("come and go", func() error { return w.joinAndLeave(ctx, p.warm+number*p.comer+i+1, p.watch) })
	}
	if err := group.Wait(); err != nil {
		return s, err
	}
	census, err := w.awaitCensus(ctx, func(c messages.Census) bool { return len(c.Viewers) <= len(stayers) })
	if err != nil {
		return s, err
	}
	if len(census.Viewers) < len(stayers) {
		return s, fmt.Errorf("%d of %d viewers are left", len(census.Viewers), len(stayers))
	}
	for _, v := range census.Viewers {
		s.sent, s.dropped = s.sent+v.PacketsSent, s.dropped+v.FramesDropped
	}
	for _, v := range stayers {
		s.lost += v.Progress().Lost
	}
	if err := w.awaitCalm(ctx, len(stayers)+1); err != nil {
		return s, err
	}
	s.standing = w.stand()
	for _, box := range w.Device.Mailboxes() {
		s.depth += box.Depth
	}
	memory, err := subject.MemoryOf("self")
	s.memory = memory.Private
	return s, err
}

// awaitCalm asks until what the comers had is closed and the next peer is ready: peers are left then.
// For a leak it waits no longer than a calm world takes.
func (w *World) awaitCalm(ctx context.Context, peers int) error {
	deadline := time.Now().Add(churnSettleFor)
	for last := -1; ; {
		running := runtime.NumGoroutine()
		if w.Device.Peers() == peers && running == last || time.Now().After(deadline) {
			return nil
		}
		last = running
		if !pause(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}
