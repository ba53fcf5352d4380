package device

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// storage keeps the camera in its channel's storage session (kvs-protocol.md 4). The session of that
// channel tells it when it can join, and brings the service's offer; a peer, which is a viewer that keeps
// to the times of capture, answers and sends. It joins anew ahead of the service's hour and when the
// session has another socket: the peer before goes on until the new one delivers.
//
// States: waiting (for a socket) -> joining (the call, then the offer) -> connecting -> storing; backing
// off; given up, after too many failures, for a while.
type storage struct {
	*parts
	edges *actors.Edges
	creds *messages.Credentials

	relayOnly bool
	newPeer   func(p *parts, epoch uint64, config rtc.PeerConfig) actor.Actor

	socket *messages.StorageSocket // newest; nil: none yet
	wanted bool                    // to join as soon as there is one
	join   *join                   // under way; nil: none
	tries  int                     // joins in a row that brought no offer
	timer  *actors.Timer           // of the state
	epoch  uint64

	current, next, former *storagePeer
	life                  *actors.Timer // until current is to be replaced

	failed []time.Time // newest last
	status messages.StorageStatus
}

// join is one call and what it has brought so far.
type join struct {
	edge    *actors.Edge
	servers []messages.IceServer
	took    time.Duration // 0: the call has not returned
	offer   *messages.Offer
	early   []messages.Candidate
}

// storagePeer is a peer as its parent knows it.
type storagePeer struct {
	pid    *actor.PID
	epoch  uint64
	status messages.ViewerStatus
}

const (
	storageWaiting    = "waiting"
	storageJoining    = "joining"
	storageConnecting = "connecting"
	storageStoring    = "storing"
	storageBackingOff = "backing off"
	storageGivenUp    = "given up"
)

const (
	// The JavaScript sample's (kvs-protocol.md 4.6).
	storageOfferWithin = 6 * time.Second
	storageTriesMax    = 5
	storageFailuresMax = 5
	storageFailuresFor = 10 * time.Minute

	storageLifeDefault = 55 * time.Minute // the service ends a peer after an hour (kvs-protocol.md 4.5)
	storageFormerFor   = 10 * time.Second // that the service has to take over
)

func newStorage(p *parts) *storage {
	s := &storage{parts: p, relayOnly: p.cfg.RelayOnly, newPeer: newStorageViewer}
	s.status = messages.StorageStatus{State: storageWaiting, Since: time.Now(), Channel: p.cfg.StorageChannel}
	return s
}

// Receive implements actor.Actor.
func (s *storage) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		s.onStarted(ctx)
	case *actor.Stopping:
		s.onStopping()
	case *askDue:
		s.onAskDue(ctx)
	case *messages.Credentials:
		s.onCredentials(msg)
	case *messages.StorageSocket:
		s.onStorageSocket(msg)
	case *messages.Settings:
		s.relayOnly = msg.RelayOnly
	case *joinServers:
		s.onJoinServers(ctx, msg)
	case *joined:
		s.onJoined(ctx, msg)
	case *messages.Offer:
		s.onOffer(ctx, msg)
	case *messages.RemoteCandidate:
		s.onRemoteCandidate(ctx, msg)
	case *offerLate:
		s.onOfferLate()
	case *joinDue:
		s.begin()
	case *messages.StorageRefused:
		s.onStorageRefused(ctx, msg)
	case *unfit:
		s.onUnfit(ctx, msg)
	case *messages.ViewerStatus:
		s.onViewerStatus(ctx, msg)
	case *formerLate:
		s.onFormerLate(ctx, msg)
	case *messages.RollCall:
		s.onRollCall(ctx, msg)
	case *messages.StorageStatusWanted:
		s.onStorageStatusWanted(ctx)
	case *actor.Terminated:
		s.onTerminated(msg)
	case *actors.EdgeEnded:
		s.onEdgeEnded(ctx, msg)
	}
}

func (s *storage) onStarted(ctx actor.Context) {
	s.edges = actors.NewEdges(s.sys, ctx)
	s.edges.After(askAfter, &askDue{})
}

func (s *storage) onStopping() {
	s.current, s.next, s.former = nil, nil, nil // their ends are no failures
	s.edges.Close()
}

// onAskDue: who comes back after a fault has missed what was published.
func (s *storage) onAskDue(ctx actor.Context) {
	if s.creds == nil {
		ctx.Request(s.sys.PID(pathCredentials), &messages.CredentialsWanted{})
	}
	if s.socket == nil {
		ctx.Request(s.sys.PID(s.cfg.storagePath()), &messages.StorageSocketWanted{})
	}
}

func (s *storage) enter(state string) {
	if s.status.State != state {
		s.status.State, s.status.Since = state, time.Now()
	}
}

func (s *storage) onCredentials(msg *messages.Credentials) {
	s.creds = msg
	if s.wanted {
		s.begin()
	}
}

func (s *storage) onStorageSocket(msg *messages.StorageSocket) {
	s.socket, s.status.StreamARN = msg, msg.StreamARN
	if msg.Fresh || s.wanted || s.current == nil && s.next == nil {
		s.begin()
	}
}

// begin joins, unless a join is under way already.
func (s *storage) begin() {
	s.wanted = s.socket == nil || s.creds == nil
	if s.wanted || s.join != nil || s.next != nil {
		return
	}
	s.timer.Stop()
	s.tries++
	s.status.Joins++
	s.settle(storageJoining)
	call, creds, about := &join{}, *s.creds, *s.socket
	s.join = call
	call.edge = s.edges.Open("join storage session", func(e *actors.Edge) error {
		servers, _, err := s.aws.IceServers(e.Context(), creds, about.HTTPSEndpoint, about.ChannelARN, s.cfg.ClientID)
		if err != nil {
			return err
		}
		if err := e.Post(&joinServers{servers}); err != nil {
			return err
		}
		began := time.Now()
		if err := s.aws.JoinStorageSession(e.Context(), creds, about.JoinEndpoint, about.ChannelARN); err != nil {
			return fmt.Errorf("%w (needs kinesisvideo:JoinStorageSession)", err)
		}
		return e.Post(&joined{time.Since(began)})
	})
}

// settle enters a state, unless a peer stores: it does, whatever happens besides.
func (s *storage) settle(state string) {
	if s.current != nil {
		state = storageStoring
	}
	s.enter(state)
}

func (s *storage) onJoinServers(ctx actor.Context, msg *joinServers) {
	s.join.servers = append(s.stun(msg.servers), msg.servers...)
	s.connect(ctx)
}

func (s *storage) onJoined(ctx actor.Context, msg *joined) {
	s.join.took = max(msg.took, 1)
	s.metrics.phase(messages.PhaseJoinStorageSession, msg.took)
	s.timer.Stop()
	s.timer = s.edges.After(storageOfferWithin+s.jitter(time.Second), &offerLate{})
	s.connect(ctx)
}

// onOffer: one that was not asked for is none of the present join.
func (s *storage) onOffer(ctx actor.Context, msg *messages.Offer) {
	if s.join == nil {
		s.metrics.storageJoins.WithLabelValues("stray_offer").Inc()
		return
	}
	s.join.offer = msg
	s.connect(ctx)
}

// connect answers the offer once the call has returned. Candidates may have come before it.
func (s *storage) connect(ctx actor.Context) {
	j := s.join
	if j.offer == nil || j.took == 0 {
		return
	}
	s.timer.Stop()
	s.join, s.tries = nil, 0
	s.metrics.storageJoins.WithLabelValues("offer").Inc()
	if s.next = s.spawn(ctx, rtc.PeerConfig{IceServers: j.servers, RelayOnly: s.relayOnly, Sound: s.cfg.Sink != nil}); s.next == nil {
		s.fail(errors.New("no peer could be made"))
		return
	}
	s.settle(storageConnecting)
	offer := *j.offer
	offer.Setup = s.socket.Setup.With(messages.PhaseJoinStorageSession, j.took)
	ctx.Send(s.next.pid, &offer)
	for _, candidate := range j.early {
		ctx.Send(s.next.pid, &messages.RemoteCandidate{Candidate: candidate})
	}
}

func (s *storage) spawn(ctx actor.Context, config rtc.PeerConfig) *storagePeer {
	s.epoch++
	epoch := s.epoch
	pid, err := s.sys.Spawn(ctx, actors.Spec{
		Name: fmt.Sprintf("storage-peer-%d", epoch), Kind: "viewer",
		Lanes: actors.Lanes{Control: viewerControlLane, Frames: viewerFrameLane, Inline: true},
		New:   func() actor.Actor { return s.newPeer(s.parts, epoch, config) },
	})
	if err != nil {
		s.sys.Log().Error("spawn storage peer failed", zap.Error(err))
		return nil
	}
	return &storagePeer{pid: pid, epoch: epoch}
}

// onRemoteCandidate: candidates have no sender, so they are of the newest offer.
func (s *storage) onRemoteCandidate(ctx actor.Context, msg *messages.RemoteCandidate) {
	switch {
	case s.join != nil && len(s.join.early) < earlyCandidatesMax:
		s.join.early = append(s.join.early, msg.Candidate)
	case s.join == nil && s.next != nil:
		ctx.Send(s.next.pid, msg)
	case s.join == nil && s.current != nil:
		ctx.Send(s.current.pid, msg)
	default:
		s.metrics.candidatesEarly.Inc()
	}
}

func (s *storage) onOfferLate() {
	if s.join == nil {
		return
	}
	s.status.NoOffers++
	s.metrics.storageJoins.WithLabelValues("no_offer").Inc()
	s.again(errors.New("the service made no offer in time"))
}

// again joins once more after a join that brought nothing.
func (s *storage) again(reason error) {
	s.join.edge.Cancel()
	s.join = nil
	if s.tries >= storageTriesMax {
		s.fail(reason)
		return
	}
	s.note(reason)
	s.settle(storageBackingOff)
	s.timer.Stop()
	s.timer = s.edges.After(s.backOff(s.tries), &joinDue{})
}

func (s *storage) note(reason error) {
	s.status.LastError = reason.Error()
	s.sys.Log().Warn("storage session not joined", zap.String("channel", s.cfg.StorageChannel), zap.Error(reason))
}

// fail counts a failure. After too many the storage session rests until the first of them is long ago,
// or the signaling session has another socket.
func (s *storage) fail(reason error) {
	now := time.Now()
	s.failed = append(slices.DeleteFunc(s.failed, func(at time.Time) bool { return now.Sub(at) >= storageFailuresFor }), now)
	s.tries = 0
	s.metrics.storageFailures.Inc()
	s.note(reason)
	s.timer.Stop()
	if n := len(s.failed); n < storageFailuresMax {
		s.settle(storageBackingOff)
		s.timer = s.edges.After(s.backOff(n), &joinDue{})
		return
	}
	rest := storageFailuresFor - now.Sub(s.failed[len(s.failed)-storageFailuresMax])
	s.settle(storageGivenUp)
	s.sys.Log().Error("storage session given up for a while", zap.Duration("for", rest), zap.Error(reason))
	s.timer = s.edges.After(rest, &joinDue{})
}

// onStorageRefused: the service cannot use our answer.
func (s *storage) onStorageRefused(ctx actor.Context, msg *messages.StorageRefused) {
	if s.next != nil {
		ctx.Stop(s.next.pid)
		s.next = nil
		s.fail(fmt.Errorf("the service refused the answer: %s", msg.Reason))
	}
}

// onUnfit: nothing but another source helps, so it counts as all the failures there may be. A peer says so
// of each frame until it has stopped.
func (s *storage) onUnfit(ctx actor.Context, msg *unfit) {
	is := func(p *storagePeer) bool { return p != nil && p.epoch == msg.epoch }
	if !is(s.next) && !is(s.current) {
		return
	}
	for _, p := range []*storagePeer{s.next, s.current} {
		if p != nil {
			ctx.Stop(p.pid)
		}
	}
	s.next, s.current = nil, nil
	if s.join != nil {
		s.join.edge.Cancel()
		s.join = nil
	}
	s.life.Stop()
	for range storageFailuresMax - 1 {
		s.failed = append(s.failed, time.Now())
	}
	s.fail(errors.New(msg.reason))
}

// onViewerStatus: a peer that has sent a picture takes the place of the one before.
func (s *storage) onViewerStatus(ctx actor.Context, msg *messages.ViewerStatus) {
	for _, p := range []*storagePeer{s.current, s.next, s.former} {
		if p != nil && p.epoch == msg.Epoch {
			p.status = *msg
		}
	}
	if s.next == nil || s.next.status.VideoFrames == 0 {
		return
	}
	if s.former != nil {
		ctx.Stop(s.former.pid)
	}
	s.former, s.current, s.next = s.current, s.next, nil
	s.enter(storageStoring)
	s.status.LastError = ""
	s.sys.Log().Info("storage session joined", zap.String("channel", s.cfg.StorageChannel), zap.String("pair", msg.Pair))
	if s.former != nil {
		s.status.Rejoins++
		s.metrics.storageRejoins.Inc()
		s.edges.After(storageFormerFor, &formerLate{s.former})
	}
	s.life.Stop()
	s.life = s.edges.After(s.cfg.StorageLife-s.jitter(s.cfg.StorageLife/60), &joinDue{})
}

// onFormerLate: the service ends a peer that it has taken over from by itself, as a rule.
func (s *storage) onFormerLate(ctx actor.Context, msg *formerLate) {
	if msg.peer == s.former {
		ctx.Stop(msg.peer.pid)
	}
}

func (s *storage) onRollCall(ctx actor.Context, msg *messages.RollCall) {
	for _, p := range []*storagePeer{s.current, s.next, s.former} {
		if p != nil {
			ctx.Send(p.pid, msg)
		}
	}
}

func (s *storage) onStorageStatusWanted(ctx actor.Context) {
	status := s.status
	status.Failures, status.Peers = len(s.failed), []messages.ViewerStatus{}
	for _, p := range []*storagePeer{s.current, s.next, s.former} {
		if p != nil {
			status.Peers = append(status.Peers, p.status)
		}
	}
	ctx.Respond(&status)
}

func (s *storage) onTerminated(msg *actor.Terminated) {
	switch gone := func(p *storagePeer) bool { return p != nil && p.pid.Id == msg.Who.Id }; {
	case gone(s.former):
		s.former = nil
	case gone(s.next):
		s.next = nil
		s.fail(errors.New("the peer ended before it delivered"))
	case gone(s.current):
		s.current = nil
		s.life.Stop()
		switch {
		case s.next != nil:
			s.settle(storageConnecting)
		case s.join != nil:
			s.settle(storageJoining)
		default:
			s.fail(errors.New("the peer ended"))
		}
	}
}

// onEdgeEnded: a join that ends without an error has posted its result.
func (s *storage) onEdgeEnded(ctx actor.Context, msg *actors.EdgeEnded) {
	if msg.Err == nil || s.join == nil || msg.Edge != s.join.edge {
		return
	}
	if classify(msg.Err) == failedCredentials {
		ctx.Request(s.sys.PID(pathCredentials), &messages.CredentialsWanted{Rejected: s.creds.AccessKeyID})
	}
	s.metrics.storageJoins.WithLabelValues("refused").Inc()
	s.again(msg.Err)
}

type (
	joinServers struct{ servers []messages.IceServer }
	joined      struct{ took time.Duration }
	offerLate   struct{}
	joinDue     struct{}
	formerLate  struct{ peer *storagePeer }

	// unfit says that what the source gives cannot be stored.
	unfit struct {
		epoch  uint64
		reason string
	}
)
