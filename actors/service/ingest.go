package service

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// ingestEvery is how often a storage session counts, looks at its limits and tells of itself.
const ingestEvery = time.Second

// keyFrameEvery bounds how often the master is asked for a key frame.
const keyFrameEvery = 500 * time.Millisecond

// ingest is the actor "ingest-<channel id>": the storage session of one channel (kvs-protocol.md 4). It
// owns the peers of its participants, each in an edge of its own, and a seat of its own on the
// channel, where the participants' messages come. The service lodges it with the first join and ends
// it when it is empty. What the master sends is counted, and passed on to the viewers in transport/rtc;
// no packet comes by here. States: opening -> serving.
type ingest struct {
	*world
	channel messages.ChannelInfo
	stream  string // ARN
	keeps   int    // hours
	joins   uint64 // received from the service
	empty   bool   // and the service knows: it may end this actor at any moment

	state  func(actor.Context)
	edges  *actors.Edges
	place  *place
	seat   *actors.Edge
	ready  bool // serving
	feed   *rtc.Feed
	parts  map[string]*participant // by client id; "": the master
	heir   *participant            // the master's next peer: it takes over when it delivers; nil: none
	former *participant            // the master's peer before, which ends soon; nil: none
	wished time.Time               // when the master was last asked for a key frame
	fed    [2]rtc.TrackCount       // as counted last
	said   rtc.VoiceCount          // likewise

	recording *recording   // nil: nothing is kept
	recorder  *actors.Edge // the recording's
}

// Messages of its edges and timers.
type (
	// offered: the peer is made; its offer can be sent.
	offered struct {
		who  *participant
		peer *rtc.Participant
		sdp  string
	}
	// heard is an event of a participant's peer.
	heard struct {
		who   *participant
		event any
	}
	ingestTick struct{}
	formerDue  struct{ who *participant }
	recordDue  struct{}
)

func ingestName(id string) string { return "ingest-" + id }

func ingestSpec(w *world, msg *messages.StorageJoin) actors.Spec {
	return actors.Spec{Name: ingestName(msg.Channel.ID), Kind: "ingest", Lanes: actors.Lanes{Control: 256}, New: func() actor.Actor {
		return newIngest(w, msg)
	}}
}

func newIngest(w *world, msg *messages.StorageJoin) *ingest {
	i := &ingest{world: w, channel: msg.Channel, stream: msg.StreamARN, keeps: msg.RetentionHours, parts: map[string]*participant{}}
	i.state = i.opening
	return i
}

func (i *ingest) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		i.onStarted(ctx)
	case *actor.Stopping:
		i.onStopping()
	case *messages.StorageJoin:
		i.onStorageJoin(ctx, msg)
	default:
		i.state(ctx)
	}
}

func (i *ingest) onStarted(ctx actor.Context) {
	self := ctx.Self().Id
	i.edges = actors.NewEdges(i.sys, ctx)
	seat := backplane.Seat{Role: backplane.RoleStorage, ClientID: storageClient, Connection: newToken()}
	i.place = newPlaceAs(i.world, i.channel, seat, func(_ context.Context, e backplane.Envelope) error {
		i.sys.Tell(self, &messages.Delivered{From: e.From, Kind: e.Kind, Text: e.Data, Reply: e.Reply})
		return nil
	})
	i.place.announces = true
	i.seat = i.place.sit(i.edges)
	i.edges.After(ingestEvery, &ingestTick{})
}

func (i *ingest) onStopping() { i.leaveAll("stopped") }

// onStorageJoin takes a participant in and answers. Its offer comes over its websocket.
func (i *ingest) onStorageJoin(ctx actor.Context, msg *messages.StorageJoin) {
	i.joins++
	i.empty = false
	if refused := i.join(ctx, msg.ClientID); refused != nil {
		ctx.Respond(refused)
		return
	}
	ctx.Respond(&messages.StorageJoined{})
}

// join makes a new participant: each call triggers one new offer (kvs-protocol.md 4.2). It replaces the
// one of the same id, but a master that is connected feeds the session until its next peer delivers.
func (i *ingest) join(ctx actor.Context, clientID string) *messages.Refused {
	if clientID != "" && i.viewersBesides(clientID) >= i.limits.IngestViewersMax {
		i.tellEmpty(ctx)
		return refuse("ClientLimitExceededException", "The storage session has as many viewers as it may have")
	}
	p := newParticipant(clientID)
	switch old := i.parts[clientID]; {
	case old != nil && clientID == "" && old.state == partConnected:
		if i.heir != nil {
			i.leave(i.heir, "replaced")
		}
		i.heir = p
	case old != nil:
		i.leave(old, "replaced")
		fallthrough
	default:
		i.parts[clientID] = p
	}
	i.metrics.ingest.participants.WithLabelValues(p.role()).Inc()
	i.askServers(ctx)
	i.report(ctx)
	return nil
}

func (i *ingest) viewersBesides(clientID string) (n int) {
	for id := range i.parts {
		if id != "" && id != clientID {
			n++
		}
	}
	return n
}

// opening waits for the seat, and for what was left on it by participants of an earlier session:
// nothing of that is an answer to an offer of this one. Next: serving.
func (i *ingest) opening(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *seated:
		i.place.open()
	case *attached:
		i.ready, i.state = true, i.serving
		i.askServers(ctx)
	case *messages.Delivered:
		i.onDeliveredEarly(ctx, msg)
	case *ingestTick:
		i.onTick(ctx)
	case *actors.EdgeEnded:
		i.onEdgeEnded(ctx, msg)
	}
}

// serving lasts as long as anybody takes part.
func (i *ingest) serving(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *messages.TurnServers:
		i.onTurnServers(msg)
	case *messages.Refused:
		i.sys.Log().Warn("storage session has no relay; asking again", zap.Error(msg))
	case *messages.Delivered:
		i.onDelivered(ctx, msg)
	case *offered:
		i.onOffered(msg)
	case *heard:
		i.hear(ctx, msg.who, msg.event)
	case *ingestTick:
		i.onTick(ctx)
	case *formerDue:
		i.onFormerDue(ctx, msg)
	case *recordDue:
		i.record()
	case *actors.EdgeEnded:
		i.onEdgeEnded(ctx, msg)
	}
}

// askServers asks the relay for those who join. Until it answers they wait; each tick asks again.
func (i *ingest) askServers(ctx actor.Context) {
	for _, p := range i.all() {
		if i.ready && p.state == partJoining && p.edge == nil {
			ctx.Request(i.sys.PID(relayPath), &messages.TurnWanted{ChannelARN: i.channel.ARN, ClientID: "storage"})
			return
		}
	}
}

// onTurnServers opens a peer for each who joins: with relay candidates only, as AWS does
// (kvs-protocol.md 4.3), or with host candidates where there is no relay.
func (i *ingest) onTurnServers(msg *messages.TurnServers) {
	cfg := rtc.PeerConfig{}
	if url := plainURL(msg.Direct.URLs); url != "" {
		cfg.IceServers = []messages.IceServer{{URLs: []string{url}, Username: msg.Direct.Username, Password: msg.Direct.Password}}
		cfg.RelayOnly = true
	}
	for _, p := range i.all() {
		if p.state == partJoining && p.edge == nil {
			if err := i.open(p, cfg); err != nil {
				i.sys.Log().Warn("storage session has no media", zap.Error(err))
				return
			}
		}
	}
}

func (i *ingest) open(p *participant, cfg rtc.PeerConfig) (err error) {
	if i.feed == nil {
		if i.feed, err = rtc.NewFeed(i.tap()); err != nil {
			return err
		}
	}
	engine, feed := i.ingestEngine(), i.feed
	p.edge = i.edges.Open("participant", func(e *actors.Edge) error { return p.converse(e, engine, cfg, feed) })
	return nil
}

func (i *ingest) onOffered(msg *offered) {
	p := msg.who
	p.peer, p.state = msg.peer, partOffered
	switch {
	case p == i.heir:
		i.feed.Succeed(p.peer)
	case p.clientID == "":
		i.feed.From(p.peer)
	}
	i.edges.Open("reports", func(e *actors.Edge) error { return msg.peer.ReadReports(e.Context()) })
	if p.clientID == "" {
		i.edges.Open("reports", func(*actors.Edge) error { return msg.peer.ReadVoiceReports() })
	}
	payload, err := signaling.EncodeDescription("offer", msg.sdp)
	if err != nil {
		i.sys.Log().Warn("storage offer not sent", zap.Error(err))
		i.leave(p, "failed")
		return
	}
	i.send(p, signaling.Inbound{MessageType: signaling.SDPOffer, Payload: payload})
}

// send puts a message to a participant, without senderClientId (kvs-protocol.md 4.3).
func (i *ingest) send(p *participant, m signaling.Inbound) {
	frame, err := signaling.EncodeInbound(m)
	if err == nil {
		err = i.back.Send(backplane.Envelope{
			Channel: i.channel.ID, To: p.clientID, From: storageClient, Kind: m.MessageType, TTL: i.channel.MessageTTL, Data: frame,
		})
	}
	if err != nil {
		i.metrics.ingest.dropped.Inc()
		i.sys.Log().Warn("storage message not sent", zap.String("kind", m.MessageType), zap.Error(err))
	}
}

// hear takes what a peer reports.
func (i *ingest) hear(ctx actor.Context, p *participant, event any) {
	switch msg := event.(type) {
	case *messages.PeerCandidate:
		i.onPeerCandidate(p, msg)
	case *messages.PeerConnected:
		i.onPeerConnected(ctx, p, msg)
	case *messages.PeerKeyFrameWish:
		i.wishKeyFrame()
	case *messages.PeerTookOver:
		i.onPeerTookOver(ctx, p)
	case *messages.PeerGone:
		i.onPeerGone(ctx, p, msg)
	}
}

func (i *ingest) onPeerCandidate(p *participant, msg *messages.PeerCandidate) {
	payload, err := signaling.EncodeCandidate(msg.Candidate)
	if err == nil {
		i.send(p, signaling.Inbound{MessageType: signaling.ICECandidate, Payload: payload})
	}
}

// onPeerConnected: a viewer cannot begin without a key frame. The master's peer asks for its first one
// itself, when its video begins.
func (i *ingest) onPeerConnected(ctx actor.Context, p *participant, msg *messages.PeerConnected) {
	p.state, p.pair = partConnected, msg.Pair
	if p.clientID != "" {
		i.wishKeyFrame()
	}
	i.report(ctx)
}

func (i *ingest) wishKeyFrame() {
	master := i.parts[""]
	if master == nil || master.peer == nil || time.Since(i.wished) < keyFrameEvery {
		return
	}
	i.wished = time.Now()
	if err := master.peer.RequestKeyFrame(); err != nil {
		i.sys.Log().Debug("key frame not requested", zap.Error(err))
	}
}

func (i *ingest) onPeerGone(ctx actor.Context, p *participant, msg *messages.PeerGone) {
	i.sys.Log().Info("storage participant left", zap.String("role", p.role()), zap.String("reason", msg.Reason))
	i.leave(p, "left")
	i.report(ctx)
	i.tellEmpty(ctx)
}

// onDelivered takes what comes to the session's seat.
func (i *ingest) onDelivered(ctx actor.Context, msg *messages.Delivered) {
	switch msg.Kind {
	case kindJoin:
		i.onJoinElsewhere(ctx, msg)
	case kindStorageOff:
		i.endAll(ctx, "disabled")
	case signaling.SDPAnswer, signaling.ICECandidate:
		m, err := signaling.DecodeOutbound(msg.Text)
		if p := i.newest(msg.From); err == nil && p != nil {
			i.onMessage(p, m)
			return
		}
		i.metrics.ingest.dropped.Inc()
	}
}

// onMessage takes an answer or a candidate. A bad answer is reported to those who can be told which
// (kvs-protocol.md 4.3); the participant may join again.
func (i *ingest) onMessage(p *participant, m signaling.Outbound) {
	err := p.take(m)
	if err == nil {
		return
	}
	i.metrics.malformed.Inc()
	i.sys.Log().Debug("storage participant's message refused", zap.String("role", p.role()), zap.String("kind", m.Action), zap.Error(err))
	if m.CorrelationID != "" && m.Action == signaling.SDPAnswer {
		i.send(p, signaling.Inbound{MessageType: signaling.StatusResponse, Status: &signaling.Status{
			CorrelationID: m.CorrelationID, ErrorType: "InvalidArgumentException", StatusCode: "400", Description: err.Error(), Failed: true,
		}})
	}
}

// onTick counts, and ends who has had its time.
func (i *ingest) onTick(ctx actor.Context) {
	now := time.Now()
	i.count(now)
	for _, p := range i.all() {
		if reason := p.over(now, i.limits); reason != "" {
			i.leave(p, reason)
		} else if p == i.heir && p.state != partConnected && now.Sub(p.joined) > heirWithin {
			i.leave(p, "failed")
		}
	}
	i.askServers(ctx)
	i.report(ctx)
	i.tellEmpty(ctx)
	i.edges.After(ingestEvery, &ingestTick{})
}

// count takes over what the master has sent since the last time, and what the viewers have said.
func (i *ingest) count(now time.Time) {
	if i.feed == nil {
		return
	}
	for _, p := range i.all() {
		if p.clientID == "" && p.peer != nil {
			p.received = p.peer.Received()
		}
	}
	said := i.feed.Voices()
	i.metrics.ingest.addVoices(i.said, said)
	i.said = said
	fed := i.feed.Counts()
	if i.metrics.ingest.add(i.fed, fed) {
		for _, p := range i.all() {
			p.fed = now // as long as the master sends, the viewers have something to see
		}
	}
	i.fed = fed
}

// leave ends a participant's peer. The slot of a viewer that was connected waits for its return; a
// master's next peer takes its place at once.
func (i *ingest) leave(p *participant, reason string) {
	if p.clientID == "" {
		i.count(time.Now())
	}
	if p.state != partAway {
		i.metrics.ingest.participants.WithLabelValues(p.role()).Dec()
		i.metrics.ingest.ended.WithLabelValues(reason).Inc()
	}
	if p.edge != nil {
		p.edge.Cancel() // it closes the peer
	}
	switch {
	case p == i.former:
		i.former = nil
	case p == i.heir:
		i.heir = nil
		if p.peer != nil {
			i.feed.Forget(p.peer)
		}
	case p.clientID != "" && p.state == partConnected && reason == "left":
		p.state, p.peer, p.away = partAway, nil, time.Now()
	default:
		delete(i.parts, p.clientID)
		if p.clientID == "" && i.heir != nil {
			i.inherit()
		}
	}
}

func (i *ingest) endAll(ctx actor.Context, reason string) {
	i.leaveAll(reason)
	i.report(ctx)
	i.tellEmpty(ctx)
}

// onEdgeEnded is the end of a participant's peer, or of the seat: the channel is gone, or another node
// has opened its storage session at the same time.
func (i *ingest) onEdgeEnded(ctx actor.Context, msg *actors.EdgeEnded) {
	if msg.Edge == i.seat {
		reason := "seat lost"
		if errors.Is(msg.Err, errEvicted) {
			reason = "replaced"
		}
		i.endAll(ctx, reason)
		ctx.Stop(ctx.Self())
		return
	}
	if msg.Edge == i.recorder {
		i.onRecorderEnded(msg.Err)
		return
	}
	for _, p := range i.all() {
		if p.edge == msg.Edge {
			i.sys.Log().Warn("storage participant failed", zap.String("role", p.role()), zap.Error(msg.Err))
			i.leave(p, "failed")
			i.tellEmpty(ctx)
		}
	}
}

func (i *ingest) tellEmpty(ctx actor.Context) {
	if len(i.parts) == 0 {
		i.empty = true
		ctx.Send(ctx.Parent(), &messages.IngestEmpty{ID: i.channel.ID, Joins: i.joins})
	}
}

func (i *ingest) report(ctx actor.Context) {
	status := &messages.IngestStatus{ID: i.channel.ID, Channel: i.channel.Name, Stream: i.stream, Participants: []messages.IngestParticipant{}}
	now := time.Now()
	for _, p := range i.all() {
		status.Participants = append(status.Participants, p.status(now))
	}
	ctx.Send(ctx.Parent(), status)
}
