package device

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// viewer is one peer connection. It answers the offer, trickles candidates both ways, and from the
// moment DTLS is done sends every frame the fan-out gives it. It owns the peer and talks to session
// (answer, candidates), fanout (subscription), encoder (key-frame wishes), sink (what the viewer says)
// and its parent; what its data channels bring is in data.go.
//
// States: waiting (holds candidates that came before the offer) -> negotiating (the answer is being
// made) -> connecting (ICE and DTLS) -> streaming. Whatever ends it stops the actor; Stopping closes
// the peer, which is the state draining.
type viewer struct {
	*parts

	// What each frame needs stands together: ten viewers' states are cold when a frame comes.
	state     string
	stores    bool // the peer of a storage session (viewer_storage.go)
	streams   bool // its first frame has gone out
	stream    *stream
	peer      *rtc.Peer // nil until the answer is made
	told      time.Time // last report to the parent: frames are the clock, a timer would wake up for nothing
	estimated time.Time // last look at what the path carries
	advised   time.Time // last estimate to the encoder

	clientID  string
	epoch     uint64
	config    rtc.PeerConfig
	grants    Grants
	parent    string // path of who supervises it
	signaling string // path of the session that its answer and candidates go to
	sounds    bool   // of one that stores: it was given sound
	log       *zap.Logger

	edges    *actors.Edges
	offer    *messages.Offer
	early    []messages.Candidate // came before the peer could take them
	names    int                  // candidates whose names are being resolved
	renewing bool                 // a further offer is being answered
	renewal  *renewal             // the newest that waits for that
	deadline *actors.Timer        // of waiting, negotiating and connecting
	data     *data
	writes   chan part // to the edge that writes when a write can block; nil before the first
	status   messages.ViewerStatus
	phases   messages.Phases
	reported sample // for the bitrate in the status
}

// The states of a viewer, as /sessions names them.
const (
	viewerWaiting     = "waiting"
	viewerNegotiating = "negotiating"
	viewerConnecting  = "connecting"
	viewerStreaming   = "streaming"
)

// Bounds of a viewer's life before it streams.
const (
	earlyCandidatesMax = 64
	namesMax           = 16               // a browser has one for each of its addresses
	offerWithin        = 30 * time.Second // after the first early candidate
	connectWithin      = 30 * time.Second // after the offer
	statusEvery        = time.Second
	estimateEvery      = 50 * time.Millisecond
	limitTellEvery     = 200 * time.Millisecond // to the encoder
	estimateTellEvery  = time.Second            // while the path shows no limit
)

func newViewer(p *parts, clientID string, epoch uint64, config rtc.PeerConfig) *viewer {
	return &viewer{parts: p, clientID: clientID, epoch: epoch, config: config, grants: p.cfg.Grants, parent: pathViewers, signaling: pathSession, state: viewerWaiting, phases: messages.Phases{}, data: newData(),
		log: p.sys.Log().With(zap.String("viewer", clientID), zap.Uint64("epoch", epoch))}
}

// Receive implements actor.Actor.
func (v *viewer) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *messages.Frame:
		v.onFrame(ctx, msg)
	case *messages.CatchUp:
		v.onCatchUp(ctx, msg)
	case *actor.Started:
		v.onStarted(ctx)
	case *actor.Stopping:
		v.onStopping(ctx)
	case *messages.Offer:
		v.onOffer(ctx, msg)
	case *messages.RemoteCandidate:
		v.onRemoteCandidate(msg)
	case *resolved:
		v.onResolved(msg)
	case *messages.RollCall:
		v.onRollCall(ctx)
	case *answered:
		v.onAnswered(ctx, msg)
	case *renewal:
		v.onRenewal(ctx, msg)
	case *renewed:
		v.onRenewed(ctx, msg)
	case *messages.PeerResumed:
		v.onPeerResumed(ctx, msg)
	case *messages.PeerCandidate:
		v.onPeerCandidate(ctx, msg)
	case *messages.PeerPhase:
		v.onPeerPhase(msg)
	case *messages.PeerConnected:
		v.onPeerConnected(ctx, msg)
	case *messages.PeerData:
		v.onPeerData(ctx, msg)
	case *messages.PeerSound:
		v.onPeerSound(ctx, msg)
	case *messages.Snapshot:
		v.onSnapshot(msg)
	case *messages.HookDone:
		v.onHookDone(msg)
	case *dataLate:
		v.onDataLate(msg)
	case *messages.PeerKeyFrameWish:
		v.onPeerKeyFrameWish(ctx)
	case *messages.Settings:
		v.grants = msg.Grants
	case *messages.PeerGone:
		v.onPeerGone(ctx, msg)
	case *written:
		v.onWritten(ctx, msg)
	case *paceDue:
		v.onPaceDue(ctx)
	case *tooLate:
		v.end(ctx, errors.New("not streaming in time"))
	case *actors.EdgeEnded:
		v.onEdgeEnded(ctx, msg)
	}
}

func (v *viewer) onStarted(ctx actor.Context) {
	v.edges = actors.NewEdges(v.sys, ctx)
	v.deadline = v.edges.After(offerWithin, &tooLate{})
	v.status = messages.ViewerStatus{ClientID: v.clientID, Epoch: v.epoch}
	v.enter(ctx, viewerWaiting)
}

// onStopping closes the peer. It may take some milliseconds, which nobody waits for any more.
func (v *viewer) onStopping(ctx actor.Context) {
	v.liftCeiling(ctx)
	v.edges.Close()
	if v.peer == nil {
		return
	}
	if err := v.peer.Close(); err != nil {
		v.log.Debug("close peer failed", zap.Error(err))
	}
}

func (v *viewer) enter(ctx actor.Context, state string) {
	v.state = state
	v.status.State, v.status.Since = state, time.Now()
	v.report(ctx)
}

func (v *viewer) end(ctx actor.Context, reason error) {
	v.log.Info("viewer ends", zap.String("state", v.state), zap.Error(reason))
	ctx.Stop(ctx.Self())
}

func (v *viewer) onOffer(ctx actor.Context, msg *messages.Offer) {
	if v.state != viewerWaiting {
		return // viewers sends one offer to each viewer
	}
	v.offer = msg
	for name, took := range msg.Setup {
		v.phases[name] = took
	}
	v.deadline.Stop()
	v.deadline = v.edges.After(connectWithin, &tooLate{})
	v.enter(ctx, viewerNegotiating)
	config := v.config
	v.edges.Open("answer offer", func(e *actors.Edge) error {
		peer, answer, err := v.engine.Answer(e.Context(), config, msg.SDP)
		if err != nil {
			return err
		}
		if err := e.Post(&answered{peer, answer}); err != nil {
			return errors.Join(err, peer.Close())
		}
		return nil
	})
}

func (v *viewer) onAnswered(ctx actor.Context, msg *answered) {
	v.peer, v.stream = msg.peer, newStream()
	v.enter(ctx, viewerConnecting)
	v.answer(ctx, msg.answer)
	peer := v.peer
	v.edges.Open("read peer", func(e *actors.Edge) error { return readPeer(e, peer) })
	v.edges.Open("read reports", func(e *actors.Edge) error { return peer.ReadReports(e.Context()) })
	v.renew(ctx)
}

// answer sends an answer and lets in the candidates that had to wait for it.
func (v *viewer) answer(ctx actor.Context, sdp string) {
	ctx.Send(v.sys.PID(v.signaling), &messages.Answer{ClientID: v.clientID, SDP: sdp})
	for _, candidate := range slices.Concat(v.early, v.peer.Named()) {
		v.addCandidate(candidate)
	}
	v.early = nil
}

// readPeer posts the peer's events one at a time until the peer is gone.
func readPeer(e *actors.Edge, peer *rtc.Peer) error {
	for {
		event, err := peer.Read(e.Context())
		if err != nil {
			return err
		}
		if err := e.Post(event); err != nil {
			return err
		}
	}
}

func (v *viewer) onPeerPhase(msg *messages.PeerPhase) {
	v.phases[msg.Name] = msg.Took
	v.metrics.phase(msg.Name, msg.Took)
}

func (v *viewer) onPeerConnected(ctx actor.Context, msg *messages.PeerConnected) {
	v.deadline.Stop()
	v.status.Pair = msg.Pair
	v.enter(ctx, viewerStreaming)
	ctx.Request(v.sys.PID(pathFanout), &messages.Subscribe{})
}

// onRollCall: a fan-out that has just started does not know its viewers.
func (v *viewer) onRollCall(ctx actor.Context) {
	if v.state == viewerStreaming {
		ctx.Request(v.sys.PID(pathFanout), &messages.Subscribe{})
	}
}

func (v *viewer) onCatchUp(ctx actor.Context, msg *messages.CatchUp) {
	if v.state != viewerStreaming {
		return
	}
	if v.stores {
		v.beginStored(ctx)
		return
	}
	v.stream.begin(msg.Frames, time.Now())
	v.onPaceDue(ctx)
}

func (v *viewer) onFrame(ctx actor.Context, msg *messages.Frame) {
	if v.state != viewerStreaming || v.stores && !v.fits(ctx, msg) {
		return
	}
	now := time.Now()
	if now.Sub(v.estimated) >= estimateEvery {
		v.estimate(ctx, now)
	}
	v.stream.take(msg, now)
	v.sendDue(ctx, now)
	if now.Sub(v.told) >= statusEvery {
		v.report(ctx)
	}
}

// estimate looks at what the path carries: the stream keeps to it, and the encoder hears of it.
func (v *viewer) estimate(ctx actor.Context, now time.Time) {
	v.estimated = now
	e := v.peer.Estimate()
	if e.Bps == 0 {
		return
	}
	limit := 0
	if e.Limited {
		limit = e.Bps
	}
	collapsed := v.stream.limit(limit, e.Loss, now)
	if since := now.Sub(v.advised); since >= estimateTellEvery || since >= limitTellEvery && e.Limited || collapsed {
		v.advised = now
		ctx.Send(v.sys.PID(pathEncoder), &messages.ViewerEstimate{ClientID: v.clientID, Epoch: v.epoch, Bps: e.Bps, Limited: e.Limited})
	}
	if collapsed { // a key frame at the bitrate that was just told
		v.metrics.pathsCollapsed.Inc()
		v.peer.Forget()
		ctx.Send(v.sys.PID(pathEncoder), &messages.KeyFrameWish{})
	}
}

// onPaceDue sends the next share of a backlog and comes back for the rest.
func (v *viewer) onPaceDue(ctx actor.Context) {
	v.stream.waiting = false
	v.sendDue(ctx, time.Now())
}

// sendDue writes what is due, and comes back after a rest for what the pace holds back.
func (v *viewer) sendDue(ctx actor.Context, now time.Time) {
	for !v.stream.waiting {
		part, rest, ok := v.stream.next(now)
		switch {
		case !ok && rest == 0:
			return
		case !ok:
			v.stream.waiting = true
			v.edges.After(rest, &paceDue{})
		case v.peer.CanBlock():
			v.handOver(part)
			return
		default:
			packets, bytes, err := v.peer.WriteFrame(part.frame, part.from, part.n, part.pts, part.live, now)
			if err != nil {
				v.end(ctx, err)
				return
			}
			v.wrote(ctx, packets, bytes, now)
		}
	}
}

// handOver lets an edge write: a stream to a TURN server may wait for its reader, and frames are
// handled on the thread of the source. There is one part under way at a time, so it never waits here.
func (v *viewer) handOver(p part) {
	if v.writes == nil {
		v.writes = make(chan part, 1)
		peer, parts := v.peer, v.writes
		v.edges.Open("write frames", func(e *actors.Edge) error { return writeFrames(e, peer, parts) })
	}
	v.writes <- p
}

func writeFrames(e *actors.Edge, peer *rtc.Peer, parts <-chan part) error {
	stop := context.AfterFunc(e.Context(), peer.Cut)
	defer stop()
	for {
		select {
		case p := <-parts:
			packets, bytes, err := peer.WriteFrame(p.frame, p.from, p.n, p.pts, p.live, time.Now())
			if err == nil {
				err = e.Post(&written{packets, bytes})
			}
			if err != nil {
				return err
			}
		case <-e.Context().Done():
			return e.Context().Err()
		}
	}
}

func (v *viewer) onWritten(ctx actor.Context, msg *written) {
	now := time.Now()
	v.wrote(ctx, msg.packets, msg.bytes, now)
	v.sendDue(ctx, now)
}

func (v *viewer) wrote(ctx actor.Context, packets, bytes int, now time.Time) {
	v.stream.wrote(packets, bytes, now)
	if packets > 0 && !v.streams {
		v.onFirstFrame(ctx)
	}
}

func (v *viewer) onFirstFrame(ctx actor.Context) {
	v.streams = true
	took := time.Since(v.offer.Received)
	v.phases[messages.PhaseFirstFrame] = took
	v.metrics.phase(messages.PhaseFirstFrame, took)
	v.log.Info("viewer streams", zap.String("pair", v.status.Pair), zap.Duration("first_frame", took))
	if v.cfg.PrintMetrics != nil {
		printPhases(v.cfg.PrintMetrics, v.clientID, v.phases)
	}
	v.report(ctx)
}

func (v *viewer) onPeerKeyFrameWish(ctx actor.Context) {
	v.status.KeyFrameWishes++
	ctx.Send(v.sys.PID(pathEncoder), &messages.KeyFrameWish{})
}

func (v *viewer) onPeerGone(ctx actor.Context, msg *messages.PeerGone) {
	v.end(ctx, errors.New(msg.Reason))
}

// onEdgeEnded: an answer that could not be made, or a peer that can no longer be read, is the end.
func (v *viewer) onEdgeEnded(ctx actor.Context, msg *actors.EdgeEnded) {
	if msg.Err == nil {
		return
	}
	var bad *rtc.OfferError
	var deaf *rtc.CodecError
	switch {
	case errors.As(msg.Err, &bad):
		v.metrics.offersBad.Inc()
	case errors.As(msg.Err, &deaf):
		v.metrics.codecsRefused.WithLabelValues(string(deaf.Codec)).Inc()
		v.reject(ctx, deaf)
	}
	v.end(ctx, msg.Err)
}

// reject tells the viewer at once, and why; it would wait for an answer otherwise.
func (v *viewer) reject(ctx actor.Context, reason error) {
	rejection, err := v.engine.Reject(v.offer.SDP, reason.Error())
	if err != nil {
		v.log.Debug("offer cannot even be rejected", zap.Error(err))
		return
	}
	ctx.Send(v.sys.PID(pathSession), &messages.Answer{ClientID: v.clientID, SDP: rejection})
}

type answered struct {
	peer   *rtc.Peer
	answer string
}

type paceDue struct{}

type written struct{ packets, bytes int }

type tooLate struct{}
