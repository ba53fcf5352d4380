package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/bench/impair"
	"github.com/heliograph-rtc/heliograph/bench/profiles"
	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/subject"
	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	statusAge  = 1200 * time.Millisecond // the device's viewers tell of themselves once a second, while they are sent to
	repairTime = 300 * time.Millisecond  // for what was lost last to come once more
)

// watching is one run, once.
type watching struct {
	latencyPlan
	latencyRun
	service *service.Service
	channel string
	profile profiles.Target

	sender *subject.Subject
	crowd  []*Viewer
}

// watched is what one viewer saw of a run, and what the device did for it in the measured time.
type watched struct {
	part           string
	row            Row
	latency        report.Latency
	keys           report.Latency // of key frames
	missed, filled uint64         // packets, of video
	recovery       time.Duration  // from the end of the outage to a new picture; 0: there was none
	device         messages.ViewerStatus
}

func (w *watching) part(viewer int) string {
	if part, has := w.parts[viewer]; has {
		return part
	}
	return partPlain
}

// measure starts the device, lets the viewers in and watches.
func (w *watching) measure(ctx context.Context) (_ []*watched, err error) {
	s := w.service
	w.sender, err = subject.StartSender(ctx, subject.Device, subject.Order{
		ControlPlane: s.PublicURL, CA: s.CAPEM, Region: s.Region, Credentials: s.Credentials,
		Channel: w.channel, Viewers: w.latencyPlan.viewers, Script: paced(w.latencyPlan.viewers), Sample: w.name == runSample,
	}, w.profile)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.sender.Stop()) }()
	if err := w.makeCrowd(); err != nil {
		return nil, err
	}
	stay, leave := context.WithCancel(ctx)
	defer leave()
	var group actors.Group
	for _, v := range w.crowd {
		group.Go(v.cfg.ClientID, func() error { return v.Run(stay) })
	}
	before, after, err := w.watch(ctx)
	leave()
	if err = errors.Join(err, group.Wait()); err != nil {
		return nil, err
	}
	return w.sum(before, after), nil
}

func (w *watching) makeCrowd() error {
	for i := range w.latencyPlan.viewers {
		cfg := viewerOf(w.service, w.channel, i+1, fmt.Sprintf("viewer-%d", i+1))
		cfg.PlayWithin = w.warm + w.span + 2*statusAge + connectWithin // a limited one may never play
		w.fault(&cfg)
		v, err := NewViewer(cfg)
		if err != nil {
			return err
		}
		w.crowd = append(w.crowd, v)
	}
	return nil
}

// fault gives a viewer the network of its part.
func (w *watching) fault(cfg *ViewerConfig) {
	switch w.part(cfg.Number) {
	case partStopped:
		cfg.RelayOnly = true
		for _, url := range w.service.RelayURLs {
			if strings.HasPrefix(url, "turn:") && strings.HasSuffix(url, "transport=tcp") {
				cfg.RelayURL = url
			}
		}
	case partLimited:
		cfg.Network = impair.Profile{RateBps: limitBps}
	case partLossy:
		cfg.Network = impair.Profile{LossIn: lossShare, Seed: faultSeed}
	}
}

// watch has everything played, and asks for the device's counters before and after what is measured.
func (w *watching) watch(ctx context.Context) (before, after messages.Census, err error) {
	var steps actors.Group
	defer func() { err = errors.Join(err, steps.Wait()) }()
	if err = awaitStreaming(ctx, w.sender, len(w.crowd)); err != nil {
		return before, after, err
	}
	if err = w.play(ctx, w.warm); err != nil {
		return before, after, err
	}
	if before, err = w.sender.Census(); err != nil {
		return before, after, err
	}
	for _, v := range w.crowd {
		v.MeasureFrom(time.Now())
	}
	steps.Go("faults", func() error { return w.disturb(ctx) })
	if err = w.play(ctx, w.span); err == nil {
		err = w.play(ctx, statusAge)
	}
	if err == nil {
		pause(ctx, repairTime)
		after, err = w.sender.Census()
	}
	return before, after, err
}

// play lets the device send for so long.
func (w *watching) play(ctx context.Context, d time.Duration) error {
	if w.name != runSample {
		return w.sender.Play(d)
	}
	if !pause(ctx, d) {
		return ctx.Err()
	}
	return nil
}

// disturb brings the faults that come once.
func (w *watching) disturb(ctx context.Context) error {
	if !pause(ctx, w.calm) {
		return nil
	}
	for _, v := range w.crowd {
		switch w.part(v.cfg.Number) {
		case partStopped:
			v.network.Stall(w.stop)
		case partLossy:
			v.Outage(outage)
		}
	}
	return nil
}

// sum draws up what each viewer saw.
func (w *watching) sum(before, after messages.Census) (all []*watched) {
	for _, v := range w.crowd {
		one := &watched{part: w.part(v.cfg.Number), row: v.Row(), latency: v.video.Latency, keys: v.video.KeyLatency, recovery: time.Duration(v.recovery.Load())}
		one.missed, one.filled = v.video.Gaps()
		one.device = statusOf(after, v.cfg.ClientID)
		was := statusOf(before, v.cfg.ClientID)
		one.device.FramesDropped -= was.FramesDropped
		one.device.FramesShed -= was.FramesShed
		one.device.PacketsResent -= was.PacketsResent
		all = append(all, one)
	}
	return all
}

func statusOf(c messages.Census, clientID string) messages.ViewerStatus {
	for _, v := range c.Viewers {
		if v.ClientID == clientID {
			return v
		}
	}
	return messages.ViewerStatus{}
}
