package device

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
)

// encoder owns the source, which runs in an edge, and passes each access unit to the fan-out. Many
// viewers' wishes for a key frame become one, and what their paths carry becomes one bitrate
// (bitrate.go). A source that ends is started again, with back-off; the viewers stay: to them its
// times go on, and it begins with a key frame.
//
// Where the source runs on demand, it starts with the first viewer and ends some time after the last one
// has left. Never does it start while an earlier run has not ended: a camera has one owner.
type encoder struct {
	*parts
	edges    *actors.Edges
	state    sourceState
	stop     context.CancelFunc // ends the run
	timer    *actors.Timer      // the next start, or the begin of a rest
	viewers  int
	failures int
	began    time.Time     // when the source was started first
	started  time.Time     // when it was started last
	offset   time.Duration // from the first start to that
	latest   time.Duration // the highest time that was passed on
	needKey  bool          // since its present start no key frame has come
	wishedAt time.Time     // when the source was last asked for a key frame
	passed   [2]uint64     // units of each track
	bitrate  *bitrate
	fanout   *actor.PID // asked for once: what each unit goes to
}

// sourceState is how the source is.
type sourceState string

const (
	resting    sourceState = "resting"     // nobody watches
	running    sourceState = "running"     // its edge is open
	stopping   sourceState = "stopping"    // its edge is about to end
	backingOff sourceState = "backing off" // it has ended, and will be started again
)

const (
	// keyFrameWishEvery bounds how often the source is asked: one key frame answers every wish that
	// came while it was on its way.
	keyFrameWishEvery = 300 * time.Millisecond
	// unwatchedMax is how long a source on demand runs for nobody: long enough to reload a page.
	unwatchedMax = 10 * time.Second
	// steadyMin is how long a source runs that is not failing over and over.
	steadyMin = 10 * time.Second
)

func newEncoder(p *parts) *encoder {
	return &encoder{parts: p, bitrate: newBitrate(p.cfg.Bitrate.withDefaults()), state: resting, stop: func() {}, fanout: p.sys.PID(pathFanout)}
}

// Receive implements actor.Actor.
func (n *encoder) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		n.onStarted(ctx)
	case *actor.Stopping:
		n.edges.Close()
	case *messages.AccessUnit:
		n.onUnit(ctx, msg)
	case *messages.KeyFrameWish:
		n.onKeyFrameWish()
	case *messages.ViewerEstimate:
		n.onEstimate(msg)
	case *messages.BitrateCeiling:
		n.onCeiling(msg)
	case *messages.Watched:
		n.onWatched(msg)
	case *messages.Settings:
		n.onSettings(msg)
	case *actors.EdgeEnded:
		n.onSourceEnded(ctx, msg)
	case *refreshDue:
		n.onStartDue(ctx)
	case *unwatched:
		n.onUnwatched()
	}
}

func (n *encoder) onStarted(ctx actor.Context) {
	n.edges = actors.NewEdges(n.sys, ctx)
	if n.cfg.SourceOnDemand {
		ctx.Send(n.sys.PID(pathFanout), &messages.WatchedWanted{})
		return
	}
	n.run()
}

func (n *encoder) run() {
	if n.began.IsZero() {
		n.began = time.Now()
	}
	n.started = time.Now()
	n.offset, n.needKey, n.state = max(n.started.Sub(n.began), n.latest), true, running
	runs, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.edges.Open("source "+n.cfg.Source.Name(), func(e *actors.Edge) error {
		defer stop()
		defer context.AfterFunc(e.Context(), stop)()
		err := n.cfg.Source.Run(runs, func(u *messages.AccessUnit) error { return e.Post(u) })
		if err == nil {
			return errors.New("source ended")
		}
		return err
	})
}

func (n *encoder) onUnit(ctx actor.Context, unit *messages.AccessUnit) {
	if unit.Track == messages.Video {
		n.needKey = n.needKey && !unit.KeyFrame
		if n.needKey {
			n.metrics.unitsEarly.Inc()
			return
		}
	}
	shifted := *unit
	shifted.PTS += n.offset
	shifted.Seq = n.passed[unit.Track]
	n.passed[unit.Track]++
	n.latest = max(n.latest, shifted.PTS)
	ctx.Send(n.fanout, &shifted)
}

func (n *encoder) onKeyFrameWish() {
	now := time.Now()
	if now.Sub(n.wishedAt) < keyFrameWishEvery {
		n.metrics.wishesMerged.Inc()
		return
	}
	n.wishedAt = now
	if n.cfg.Source.RequestKeyFrame() {
		n.metrics.keyFramesAsked.Inc()
	}
}

func (n *encoder) onEstimate(msg *messages.ViewerEstimate) {
	before := n.bitrate.steps.step
	bps, ask := n.bitrate.heard(msg, time.Now())
	if step := n.bitrate.steps.step; step != before {
		n.askPicture(step)
	}
	n.askBitrate(bps, ask)
}

func (n *encoder) onCeiling(msg *messages.BitrateCeiling) {
	n.askBitrate(n.bitrate.capped(msg, time.Now()))
}

func (n *encoder) askBitrate(bps int, ask bool) {
	if !ask || !n.cfg.Source.RequestBitrate(bps) {
		return
	}
	n.metrics.bitrateAsked.Set(float64(bps))
	n.sys.Log().Debug("asked the source for a bitrate", zap.Int("bps", bps))
}

func (n *encoder) askPicture(step int) {
	p := pictureSteps[step]
	if !n.cfg.Source.RequestPicture(p.size, p.rate) {
		return
	}
	n.metrics.pictureStep.Set(float64(step))
	n.sys.Log().Info("asked the source for another picture", zap.Int("size_divided_by", p.size), zap.Int("rate_divided_by", p.rate))
}

func (n *encoder) onWatched(msg *messages.Watched) {
	n.viewers = msg.Viewers
	switch {
	case n.state == backingOff || n.state == stopping: // the end of that looks at the viewers again
		return
	case n.viewers == 0:
		n.restSoon()
	case n.state == resting:
		n.run()
	default:
		n.timer.Stop()
	}
}

func (n *encoder) onStartDue(ctx actor.Context) {
	if !n.wanted() {
		n.rest(ctx)
		return
	}
	n.run()
}

func (n *encoder) wanted() bool { return !n.cfg.SourceOnDemand || n.viewers > 0 }

func (n *encoder) rest(ctx actor.Context) {
	n.state = resting
	n.sys.Log().Info("source rests until somebody watches", zap.String("source", n.cfg.Source.Name()))
	ctx.Send(n.sys.PID(pathFanout), &messages.SourceRests{})
}

// restSoon gives those who reload their page the time to come back.
func (n *encoder) restSoon() {
	if n.state == running {
		n.timer.Stop()
		n.timer = n.edges.After(unwatchedMax, &unwatched{})
	}
}

// unwatched: nobody has watched for a while.
type unwatched struct{}

func (n *encoder) onUnwatched() {
	if n.state == running && n.viewers == 0 {
		n.state = stopping
		n.stop()
	}
}

func (n *encoder) onSourceEnded(ctx actor.Context, msg *actors.EdgeEnded) {
	n.timer.Stop()
	if time.Since(n.started) >= steadyMin {
		n.failures = 0
	}
	switch {
	case !n.wanted():
		n.rest(ctx)
	case n.state == stopping: // somebody has come meanwhile
		n.run()
	default:
		n.failures++
		n.state = backingOff
		n.sys.Log().Warn("source ended, will start it again", zap.String("source", n.cfg.Source.Name()), zap.Error(msg.Err), zap.Int("failures", n.failures))
		n.timer = n.edges.After(n.backOff(n.failures), &refreshDue{})
	}
}
