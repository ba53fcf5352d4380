package service

import (
	"context"
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// socketWait is from the admission to the accepted socket.
const socketWait = 10 * time.Second

// Close codes (RFC 6455 7.4.1). AWS's are not published; clients treat every close as "reconnect".
const (
	closeGoingAway = 1001
	closePolicy    = 1008
)

// connection is the actor "connection-<id>" of one websocket: it owns the socket, its seat and its
// limits. The channel spawns it, the door hands it the socket, its edges read, write and hold the
// seat. States: admitting -> expecting -> connected -> leaving -> closing; each method below lists
// what the state accepts and where it goes.
type connection struct {
	*world
	admit *messages.Admit
	asker *actor.PID // at the door, until it is answered
	role  string

	state  func(actor.Context)
	edges  *actors.Edges
	place  *place
	seat   *actors.Edge
	unseen *actors.Timer // no socket has come yet
	socket messages.Socket
	outbox outbox
	opened time.Time // when the socket was
	stores bool      // the channel's media is stored: the storage session is the other end
	active time.Time // last message or ping of the client
	warned bool      // GO_AWAY was sent
	code   int       // to close with
	reason string
	late   []held // by a fault
	struck string // by a fault of this kind before the socket came, which its client may have already; empty: not

	offers, answers, candidates *rate.Limiter // from the first such message on
}

// Timer messages to itself.
type (
	socketLate  struct{}
	idleCheck   struct{}
	goAwayDue   struct{}
	lifetimeEnd struct{}
)

func newConnection(w *world, admit *messages.Admit, asker *actor.PID) *connection {
	c := &connection{world: w, admit: admit, asker: asker, role: "viewer", outbox: newOutbox()}
	if admit.ClientID == "" {
		c.role = "master"
	}
	c.state = c.admitting
	return c
}

func (c *connection) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *actor.Started:
		c.onStarted(ctx)
	case *actor.Stopping:
		c.onStopping(ctx)
	default:
		c.state(ctx)
	}
}

func (c *connection) onStarted(ctx actor.Context) {
	self := ctx.Self().Id
	c.edges = actors.NewEdges(c.sys, ctx)
	c.place = newPlace(c.world, c.admit, func(ctx context.Context, e backplane.Envelope) error {
		if e.Kind == kindStorageOn || e.Kind == kindStorageOff {
			c.sys.Tell(self, &storageSwitched{e.Kind == kindStorageOn})
			return nil
		}
		if err := c.outbox.reserve(ctx); err != nil {
			return err
		}
		c.sys.Tell(self, &outgoing{e.Data})
		return nil
	})
	c.seat = c.place.sit(c.edges)
}

// onStopping says goodbye when the service, or the channel, stops. The edges, the seat among them,
// are closed by the kernel.
func (c *connection) onStopping(ctx actor.Context) {
	c.answer(ctx, refuse("ServiceUnavailableException", "The service stops"))
	if c.socket != nil {
		c.socket.Close(closeGoingAway, "service stops")
		c.metrics.connections.WithLabelValues(c.role).Dec()
		c.socket = nil
	}
}

// admitting waits for the seat. Next: expecting, or the end.
func (c *connection) admitting(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *seated:
		c.onSeated(ctx, msg)
	case *actors.EdgeEnded:
		c.onRefused(ctx, msg)
	}
}

func (c *connection) onSeated(ctx actor.Context, msg *seated) {
	c.stores = msg.stores
	c.answer(ctx, &messages.Admitted{Path: ctx.Self().Id})
	c.unseen = c.edges.After(socketWait, &socketLate{})
	c.state = c.expecting
}

func (c *connection) onRefused(ctx actor.Context, msg *actors.EdgeEnded) {
	refused := refusal(msg.Err)
	if refused.Type == "ServiceUnavailableException" {
		c.sys.Log().Warn("connection not seated", zap.Error(msg.Err))
	}
	c.answer(ctx, refused)
	ctx.Stop(ctx.Self())
}

// answer replies to the door, once.
func (c *connection) answer(ctx actor.Context, reply any) {
	if c.asker != nil {
		ctx.Send(c.asker, reply)
		c.asker = nil
	}
}

// expecting waits for the accepted socket. Next: connected, or leaving.
func (c *connection) expecting(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *messages.SocketOpened:
		c.onSocketOpened(ctx, msg)
	case *messages.SocketAbandoned, *socketLate:
		c.end(0, "abandoned")
	case *messages.Disturb:
		if msg.Strikes(c.admit.Channel.Name, c.admit.ClientID) {
			c.struck = msg.Kind
		}
	case *actors.EdgeEnded:
		c.onEdgeEnded(ctx, msg)
	}
}

func (c *connection) onSocketOpened(ctx actor.Context, msg *messages.SocketOpened) {
	c.unseen.Stop()
	c.unseen = nil
	c.socket, c.opened = msg.Socket, time.Now()
	c.active = c.opened
	c.metrics.connections.WithLabelValues(c.role).Inc()
	ctx.Respond(&messages.SocketTaken{})
	socket := c.socket
	c.edges.Open("read", func(e *actors.Edge) error { return read(e, socket) })
	c.await()
	c.place.open()
	c.state = c.connected
	switch set := c.faults.Load(); {
	case c.struck != "":
		c.suffer(c.struck)
	case set != nil:
		c.meet(set)
	}
}

// read posts what the client sends, one message at a time: TCP is the queue behind it.
func read(e *actors.Edge, socket messages.Socket) error {
	for {
		text, err := socket.Read()
		if err != nil {
			return err
		}
		if err := e.Post(&messages.FrameReceived{Text: text}); err != nil {
			return err
		}
	}
}

// connected passes messages on. Next: leaving.
func (c *connection) connected(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *messages.FrameReceived:
		c.onFrameReceived(msg)
	case *outgoing:
		c.outbox.push(c.edges, c.socket, msg.frame)
	case *storageSwitched:
		c.stores = msg.on
	case *idleCheck:
		c.onIdleCheck()
	case *goAwayDue:
		c.onGoAwayDue()
	case *lifetimeEnd:
		c.end(closeGoingAway, "lifetime")
	case *messages.Disturb:
		c.onDisturb(msg)
	case *heldDue:
		c.onHeldDue()
	case *actors.EdgeEnded:
		c.onEdgeEnded(ctx, msg)
	}
}

func (c *connection) onFrameReceived(msg *messages.FrameReceived) {
	c.active = time.Now()
	if len(msg.Text) == 0 {
		return
	}
	m, err := signaling.DecodeOutbound(msg.Text)
	if fault, ok := errors.AsType[*signaling.FormatError](err); ok {
		c.malformed(fault.CorrelationID, fault.Reason)
		return
	}
	if why := c.misdirected(m); why != "" {
		c.malformed(m.CorrelationID, why)
		return
	}
	if !c.allowed(m.Action) {
		c.metrics.limited.WithLabelValues(m.Action).Inc()
		c.status(m.CorrelationID, "ClientLimitExceededException", "Too many messages of this kind per second on this connection")
		return
	}
	if c.stores {
		c.toStorage(m)
		return
	}
	c.forward(m)
}

// misdirected says what is wrong with a message's direction. While media storage is enabled, master
// and viewers talk to the storage session alone, which is always the one that offers (kvs-protocol.md
// 3.7, 4.3).
func (c *connection) misdirected(m signaling.Outbound) string {
	master := c.admit.ClientID == ""
	switch {
	case c.stores && m.Action == signaling.SDPOffer:
		return "media storage is enabled: the storage session offers, call JoinStorageSession"
	case c.stores && master && m.RecipientClientID != "":
		return "media storage is enabled: leave recipientClientId out, messages go to the storage session"
	case !c.stores && master && m.RecipientClientID == "":
		return "recipientClientId is missing: a master must name the viewer"
	}
	return ""
}

// allowed takes a token of the message's kind (kvs-protocol.md 3.8).
func (c *connection) allowed(action string) bool {
	bucket, perSecond := &c.candidates, c.limits.CandidatesPerSecond
	switch action {
	case signaling.SDPOffer:
		bucket, perSecond = &c.offers, c.limits.DescriptionsPerSecond
	case signaling.SDPAnswer:
		bucket, perSecond = &c.answers, c.limits.DescriptionsPerSecond
	}
	if *bucket == nil {
		*bucket = c.limits.bucket(perSecond, int(perSecond))
	}
	return (*bucket).Allow()
}

// forward puts a message to the backplane in the form of its recipient: from a viewer to the master
// with senderClientId, to a viewer without (kvs-protocol.md 3.5). A viewer's recipient is ignored.
func (c *connection) forward(m signaling.Outbound) {
	to := m.RecipientClientID
	if c.admit.ClientID != "" {
		to = ""
	}
	frame, err := signaling.EncodeInbound(signaling.Inbound{MessageType: m.Action, SenderClientID: c.admit.ClientID, Payload: m.Payload})
	if err != nil {
		c.malformed(m.CorrelationID, "the message cannot be passed on")
		return
	}
	c.pass(m, to, frame)
}

// toStorage puts a message to the storage session as it came: the session reports a bad answer by its
// correlation id.
func (c *connection) toStorage(m signaling.Outbound) {
	text, err := signaling.EncodeOutbound(m)
	if err != nil {
		c.malformed(m.CorrelationID, "the message cannot be passed on")
		return
	}
	c.pass(m, storageClient, text)
}

// pass puts a message on its way, unless a fault withholds it.
func (c *connection) pass(m signaling.Outbound, to string, data []byte) {
	e := backplane.Envelope{
		Channel: c.admit.Channel.ID, To: to, From: c.admit.ClientID, Kind: m.Action, TTL: c.admit.Channel.MessageTTL, Data: data,
	}
	if set := c.faults.Load(); set == nil || !c.withheld(set, e, m.CorrelationID) {
		c.dispatch(e, m.CorrelationID)
	}
}

func (c *connection) dispatch(e backplane.Envelope, correlationID string) {
	if c.back.Send(e) != nil {
		c.metrics.limited.WithLabelValues("backlog").Inc()
		c.status(correlationID, "ClientLimitExceededException", "The recipient's queue is full")
		return
	}
	c.metrics.forwarded.WithLabelValues(e.Kind).Inc()
}

func (c *connection) malformed(correlationID, why string) {
	c.metrics.malformed.Inc()
	c.status(correlationID, "InvalidArgumentException", why)
}

// status answers a message that was refused, if it asked for answers (kvs-protocol.md 3.4). Both
// exceptions are 400.
func (c *connection) status(correlationID, kind, text string) {
	if correlationID != "" {
		c.tell(signaling.Inbound{MessageType: signaling.StatusResponse, Status: &signaling.Status{
			CorrelationID: correlationID, ErrorType: kind, StatusCode: "400", Description: text,
		}})
	}
}

// tell sends a message of the service's own.
func (c *connection) tell(m signaling.Inbound) {
	frame, err := signaling.EncodeInbound(m)
	if err == nil {
		err = c.outbox.reserveNow()
	}
	if err != nil {
		c.end(closePolicy, "slow")
		return
	}
	c.outbox.push(c.edges, c.socket, frame)
}

// await sets the connection's one timer to what is due next.
func (c *connection) await() {
	idle, life := c.idleLeft(), c.limits.ConnectionMax-time.Since(c.opened)
	warning := life - min(c.limits.GoAwayGrace, c.limits.ConnectionMax)
	switch {
	case !c.warned && warning <= idle:
		c.edges.After(warning, &goAwayDue{})
	case life <= idle:
		c.edges.After(life, &lifetimeEnd{})
	default:
		c.edges.After(idle, &idleCheck{})
	}
}

func (c *connection) idleLeft() time.Duration { return c.limits.IdleMax - time.Since(c.active) }

func (c *connection) onIdleCheck() {
	if c.idleLeft() <= 0 {
		c.end(closeGoingAway, "idle")
		return
	}
	c.await()
}

func (c *connection) onGoAwayDue() {
	c.warned = true
	c.await()
	c.tell(signaling.Inbound{MessageType: signaling.GoAway})
}

// onEdgeEnded is the end of a socket or of a seat.
func (c *connection) onEdgeEnded(ctx actor.Context, msg *actors.EdgeEnded) {
	if c.outbox.written(msg, c.edges, c.socket) {
		return
	}
	fault, ok := errors.AsType[*messages.SocketError](msg.Err)
	switch {
	case ok:
		c.end(fault.Code, fault.Reason)
	case errors.Is(msg.Err, errEvicted):
		c.end(closePolicy, "replaced")
	case errors.Is(msg.Err, errSlow):
		c.end(closePolicy, "slow")
	case msg.Edge == c.seat:
		c.end(closeGoingAway, "seat lost")
	default:
		c.end(0, "broken")
	}
	if msg.Edge == c.seat {
		c.onSeatFree(ctx)
	}
}

// end gives the seat back first: a client that sees its socket closed may come back at once.
func (c *connection) end(code int, reason string) {
	c.code, c.reason = code, reason
	c.metrics.ended.WithLabelValues(reason).Inc()
	c.place.quit()
	c.state = c.leaving
}

// leaving waits for the seat to be free. Next: closing.
func (c *connection) leaving(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *messages.SocketOpened:
		ctx.Respond(refuse("ServiceUnavailableException", "The connection has ended"))
	case *actors.EdgeEnded:
		if msg.Edge == c.seat {
			c.onSeatFree(ctx)
		} else {
			c.outbox.written(msg, c.edges, c.socket)
		}
	}
}

func (c *connection) onSeatFree(ctx actor.Context) {
	if c.socket == nil {
		ctx.Stop(ctx.Self())
		return
	}
	socket, code, reason := c.socket, c.code, c.reason
	c.socket = nil
	c.metrics.connections.WithLabelValues(c.role).Dec()
	c.seat = c.edges.Open("close", func(*actors.Edge) error {
		socket.Close(code, reason)
		return nil
	})
	c.state = c.closing
}

// closing waits for the goodbye, which takes a bounded time. Next: the end.
func (c *connection) closing(ctx actor.Context) {
	if msg, ok := ctx.Message().(*actors.EdgeEnded); ok && msg.Edge == c.seat {
		ctx.Stop(ctx.Self())
	}
}
