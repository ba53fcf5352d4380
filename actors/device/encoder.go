package device

import (
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
type encoder struct {
	*parts
	edges    *actors.Edges
	failures int
	began    time.Time     // when the source was started first
	offset   time.Duration // from there to its present start
	needKey  bool          // since its present start no key frame has come
	wishedAt time.Time     // when the source was last asked for a key frame
	passed   [2]uint64     // units of each track
	bitrate  *bitrate
}

// keyFrameWishEvery bounds how often the source is asked: one key frame answers every wish that
// came while it was on its way.
const keyFrameWishEvery = 300 * time.Millisecond

func newEncoder(p *parts) *encoder { return &encoder{parts: p, bitrate: newBitrate()} }

// Receive implements actor.Actor.
func (n *encoder) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		n.edges = actors.NewEdges(n.sys, ctx)
		n.run()
	case *actor.Stopping:
		n.edges.Close()
	case *messages.AccessUnit:
		n.onUnit(ctx, msg)
	case *messages.KeyFrameWish:
		n.onKeyFrameWish()
	case *messages.ViewerEstimate:
		n.onEstimate(msg)
	case *actors.EdgeEnded:
		n.onSourceEnded(msg)
	case *refreshDue:
		n.run()
	}
}

func (n *encoder) run() {
	if n.began.IsZero() {
		n.began = time.Now()
	}
	n.offset, n.needKey = time.Since(n.began), true
	n.edges.Open("source "+n.cfg.Source.Name(), func(e *actors.Edge) error {
		err := n.cfg.Source.Run(e.Context(), func(u *messages.AccessUnit) error { return e.Post(u) })
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
	n.failures = 0
	shifted := *unit
	shifted.PTS += n.offset
	shifted.Seq = n.passed[unit.Track]
	n.passed[unit.Track]++
	ctx.Send(n.sys.PID(pathFanout), &shifted)
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
	bps, ask := n.bitrate.heard(msg, time.Now())
	if !ask || !n.cfg.Source.RequestBitrate(bps) {
		return
	}
	n.metrics.bitrateAsked.Set(float64(bps))
	n.sys.Log().Debug("asked the source for a bitrate", zap.Int("bps", bps))
}

func (n *encoder) onSourceEnded(msg *actors.EdgeEnded) {
	n.failures++
	n.sys.Log().Warn("source ended, will start it again", zap.String("source", n.cfg.Source.Name()), zap.Error(msg.Err), zap.Int("failures", n.failures))
	n.edges.After(n.backOff(n.failures), &refreshDue{})
}
