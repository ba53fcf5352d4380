package device

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// viewers admits viewers, supervises and counts them, and routes what the session receives to the
// one that it is for. It owns the table of client ids. A new offer of a client id that is already here
// renews the viewer's connection when it is of the same one, and else replaces that viewer: the client
// has started again. Who comes when all slots are taken gets an answer that rejects all media.
type viewers struct {
	*parts
	newest  *parts // with the settings of now, which those who come have
	edges   *actors.Edges
	table   map[string]*entry // by client id
	epoch   uint64            // of the newest viewer, part of its name
	servers []messages.IceServer
	mapped  messages.ReflexiveAddresses
	refused uint64
	turned  map[string]time.Time // away: client id -> until when its candidates are of no use
}

// entry is one viewer as its parent knows it.
type entry struct {
	pid     *actor.PID
	epoch   uint64
	offered bool   // it has had its offer; until then it only holds early candidates
	session string // of that offer, see rtc.SessionOf
	status  messages.ViewerStatus
}

// The lanes of a viewer: control per actors.md; frames for about half a second of video with audio.
const (
	viewerControlLane = 128
	viewerFrameLane   = 48
	// waitingMax bounds the viewers that have sent candidates but no offer yet.
	waitingMax = 16
	// Candidates of a viewer that was turned away are expected for so long, from so many.
	turnedFor = 30 * time.Second
	turnedMax = 64
)

func newViewers(p *parts) *viewers {
	return &viewers{parts: p, newest: p, table: map[string]*entry{}, turned: map[string]time.Time{}}
}

// Receive implements actor.Actor.
func (v *viewers) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		v.onStarted(ctx)
	case *askDue:
		v.onAskDue(ctx)
	case *messages.Offer:
		v.onOffer(ctx, msg)
	case *messages.RemoteCandidate:
		v.onRemoteCandidate(ctx, msg)
	case *messages.IceServers:
		v.servers = msg.Servers
	case *messages.ReflexiveAddresses:
		v.mapped = *msg
	case *messages.RollCall:
		v.onRollCall(ctx, msg)
	case *messages.ViewerStatus:
		v.onStatus(msg)
	case *messages.Settings:
		v.onSettings(ctx, msg)
	case *messages.CensusWanted:
		v.onCensusWanted(ctx)
	case *actor.Terminated:
		v.onTerminated(msg)
	}
}

func (v *viewers) onStarted(ctx actor.Context) {
	v.edges = actors.NewEdges(v.sys, ctx)
	v.edges.After(askAfter, &askDue{})
}

// onAskDue: who comes back after a fault has missed what the gatherer published.
func (v *viewers) onAskDue(ctx actor.Context) {
	if v.servers == nil {
		ctx.Request(v.sys.PID(pathGatherer), &messages.IceServersWanted{})
	}
}

func (v *viewers) onOffer(ctx actor.Context, msg *messages.Offer) {
	known, session := v.table[msg.ClientID], rtc.SessionOf(msg.SDP)
	if known != nil && known.offered {
		if session != "" && session == known.session {
			ctx.Send(known.pid, &renewal{offer: msg, config: v.peer()})
			return
		}
		ctx.Stop(known.pid)
		delete(v.table, msg.ClientID)
		known = nil
	}
	if v.count(true) >= v.newest.cfg.ViewersMax {
		v.turnAway(ctx, msg)
		return
	}
	delete(v.turned, msg.ClientID)
	if known == nil {
		known = v.spawn(ctx, msg.ClientID)
	}
	if known != nil {
		known.offered, known.session = true, session
		ctx.Send(known.pid, msg)
		v.metrics.viewers.Set(float64(v.count(true)))
	}
}

// turnAway answers an offer for which there is no slot.
func (v *viewers) turnAway(ctx actor.Context, msg *messages.Offer) {
	v.refused++
	v.metrics.viewersRefused.Inc()
	v.sys.Log().Warn("viewer refused, all slots are taken", zap.String("viewer", msg.ClientID), zap.Int("viewers_max", v.newest.cfg.ViewersMax))
	if waiting := v.table[msg.ClientID]; waiting != nil { // for this offer, with candidates
		ctx.Stop(waiting.pid)
		delete(v.table, msg.ClientID)
	}
	now := time.Now()
	maps.DeleteFunc(v.turned, func(_ string, until time.Time) bool { return now.After(until) })
	if len(v.turned) < turnedMax {
		v.turned[msg.ClientID] = now.Add(turnedFor)
	}
	rejection, err := v.engine.Reject(msg.SDP, "all slots are taken")
	if err != nil {
		v.metrics.offersBad.Inc()
		v.sys.Log().Debug("offer cannot even be rejected", zap.String("viewer", msg.ClientID), zap.Error(err))
		return
	}
	ctx.Send(v.sys.PID(pathSession), &messages.Answer{ClientID: msg.ClientID, SDP: rejection})
}

// onRemoteCandidate: a candidate may come before its offer (kvs-protocol.md 7.4, 15); the viewer is
// spawned then and holds it.
func (v *viewers) onRemoteCandidate(ctx actor.Context, msg *messages.RemoteCandidate) {
	known := v.table[msg.ClientID]
	if known == nil {
		if v.count(false) >= waitingMax || time.Now().Before(v.turned[msg.ClientID]) {
			v.metrics.candidatesEarly.Inc()
			return
		}
		known = v.spawn(ctx, msg.ClientID)
	}
	if known != nil {
		ctx.Send(known.pid, msg)
	}
}

func (v *viewers) spawn(ctx actor.Context, clientID string) *entry {
	v.epoch++
	epoch, peer, newest := v.epoch, v.peer(), v.newest
	pid, err := v.sys.Spawn(ctx, actors.Spec{
		Name: fmt.Sprintf("viewer-%s-%d", clientID, epoch), Kind: "viewer",
		Lanes: actors.Lanes{Control: viewerControlLane, Frames: viewerFrameLane, Inline: true},
		New:   func() actor.Actor { return newViewer(newest, clientID, epoch, peer) },
	})
	if err != nil {
		v.sys.Log().Error("spawn viewer failed", zap.String("viewer", clientID), zap.Error(err))
		return nil
	}
	v.table[clientID] = &entry{pid: pid, epoch: epoch, status: messages.ViewerStatus{ClientID: clientID, Epoch: epoch, State: viewerWaiting, Since: time.Now()}}
	return v.table[clientID]
}

// peer is what a viewer's connection is made with now.
func (v *viewers) peer() rtc.PeerConfig {
	return rtc.PeerConfig{
		IceServers: v.servers, RelayOnly: v.newest.cfg.RelayOnly, Reflexive: v.mapped,
		Video: v.cfg.Source.VideoCodec(), Audio: v.cfg.Source.AudioCodec(), Sound: v.cfg.Sink != nil,
	}
}

// count is the number of viewers that have, or have not yet, sent their offer.
func (v *viewers) count(offered bool) int {
	n := 0
	for _, e := range v.table {
		if e.offered == offered {
			n++
		}
	}
	return n
}

func (v *viewers) onRollCall(ctx actor.Context, msg *messages.RollCall) {
	for _, e := range v.table {
		ctx.Send(e.pid, msg)
	}
}

func (v *viewers) onStatus(msg *messages.ViewerStatus) {
	if e := v.table[msg.ClientID]; e != nil && e.epoch == msg.Epoch {
		e.status = *msg
	}
}

func (v *viewers) onCensusWanted(ctx actor.Context) {
	census := &messages.Census{Limit: v.newest.cfg.ViewersMax, Refused: v.refused, Viewers: []messages.ViewerStatus{}}
	for _, e := range v.table {
		census.Viewers = append(census.Viewers, e.status)
	}
	slices.SortFunc(census.Viewers, func(a, b messages.ViewerStatus) int { return cmp.Compare(a.Epoch, b.Epoch) })
	ctx.Respond(census)
}

func (v *viewers) onTerminated(msg *actor.Terminated) {
	for id, e := range v.table {
		if e.pid.Id == msg.Who.Id {
			delete(v.table, id)
		}
	}
	v.metrics.viewers.Set(float64(v.count(true)))
}
