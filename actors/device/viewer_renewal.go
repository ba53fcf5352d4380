package device

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// A viewer whose network has changed sends a further offer of its connection (an ICE restart). DTLS and
// the stream go on: frames wait until there is a path again, and none is lost when that takes less than
// the backlog holds.

// renewal is a further offer of the same connection. viewers sends it.
type renewal struct {
	offer  *messages.Offer
	config rtc.PeerConfig // with the ICE servers of now
}

type renewed struct {
	answer    string
	restarted bool
}

// onRenewal: of several that wait the last one counts; the viewer has given up the others.
func (v *viewer) onRenewal(ctx actor.Context, msg *renewal) {
	v.renewal = msg
	v.renew(ctx)
}

// renew answers what waits, one offer at a time.
func (v *viewer) renew(ctx actor.Context) {
	if v.peer == nil || v.renewing || v.renewal == nil {
		return
	}
	msg, peer := v.renewal, v.peer
	v.renewal, v.renewing = nil, true
	v.stream.held = true
	v.edges.Open("answer renewed offer", func(e *actors.Edge) error {
		answer, restarted, err := v.engine.Renew(e.Context(), peer, msg.config, msg.offer.SDP)
		if err != nil {
			return err
		}
		return e.Post(&renewed{answer, restarted})
	})
}

func (v *viewer) onRenewed(ctx actor.Context, msg *renewed) {
	v.renewing = false
	v.answer(ctx, msg.answer)
	if msg.restarted {
		v.status.IceRestarts++
		v.metrics.iceRestarts.Inc()
	}
	if !msg.restarted || v.state != viewerStreaming { // nothing is interrupted
		v.resume(ctx)
	}
	v.renew(ctx)
}

func (v *viewer) onPeerResumed(ctx actor.Context, msg *messages.PeerResumed) {
	if v.renewing { // once more already
		return
	}
	v.status.Pair = msg.Pair
	v.log.Info("viewer has a new path", zap.String("pair", msg.Pair))
	v.resume(ctx)
	v.report(ctx)
}

// resume lets the frames out that have waited. When they have waited too long for the backlog, there is
// a gap that takes a key frame.
func (v *viewer) resume(ctx actor.Context) {
	v.stream.held = false
	if v.state != viewerStreaming {
		return
	}
	if v.stream.needKey {
		ctx.Send(v.sys.PID(pathEncoder), &messages.KeyFrameWish{})
	}
	v.sendDue(ctx, time.Now())
}
