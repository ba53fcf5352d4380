package device

import (
	"errors"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

func (v *viewer) onRemoteCandidate(msg *messages.RemoteCandidate) {
	switch {
	case v.peer != nil && !v.renewing:
		v.addCandidate(msg.Candidate)
	case len(v.early) < earlyCandidatesMax:
		v.early = append(v.early, msg.Candidate)
	default:
		v.metrics.candidatesEarly.Inc()
	}
}

// addCandidate gives a candidate to the peer, once it has an address.
func (v *viewer) addCandidate(candidate messages.Candidate) {
	if rtc.Named(candidate) {
		v.resolve(candidate)
		return
	}
	if err := v.peer.AddRemoteCandidate(candidate); err != nil {
		v.ignoreCandidate(err)
	}
}

// resolve looks for the address of a candidate that has a name.
func (v *viewer) resolve(candidate messages.Candidate) {
	if v.names == namesMax {
		v.ignoreCandidate(errors.New("the viewer sent too many names"))
		return
	}
	v.names++
	v.edges.Open("resolve candidate", func(e *actors.Edge) error {
		found, err := v.engine.Resolve(e.Context(), candidate)
		return e.Post(&resolved{found, err})
	})
}

type resolved struct {
	candidate messages.Candidate
	err       error
}

func (v *viewer) onResolved(msg *resolved) {
	v.names--
	if msg.err != nil {
		v.ignoreCandidate(msg.err)
		return
	}
	v.onRemoteCandidate(&messages.RemoteCandidate{ClientID: v.clientID, Candidate: msg.candidate})
}

func (v *viewer) ignoreCandidate(reason error) {
	v.metrics.candidatesBad.Inc()
	v.log.Debug("candidate ignored", zap.Error(reason))
}

func (v *viewer) onPeerCandidate(ctx actor.Context, msg *messages.PeerCandidate) {
	ctx.Send(v.sys.PID(v.signaling), &messages.LocalCandidate{ClientID: v.clientID, Candidate: msg.Candidate})
}
