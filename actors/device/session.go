package device

import (
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// session is the signaling websocket of the channel's master. It describes the channel (and creates
// it), asks for its endpoints, dials, routes what viewers send to viewers, and sends their answers
// and candidates, paced by its outbox. It never gives up, and no viewer notices when it reconnects.
//
// States: idle (no credentials yet) -> describing -> connecting -> open -> backing off -> describing.
// An open socket is read only once the gatherer has settled the ICE servers: until then TCP holds
// the offers back, and no offer is answered without relay candidates. An open socket that is to end, at
// the service's word or at its age, is replaced before it is left.
type session struct {
	*parts
	edges *actors.Edges
	state string
	since time.Time

	creds      *messages.Credentials
	channel    aws.Channel
	settled    bool                   // the gatherer has answered the last ChannelReady
	setup      messages.Phases        // phases so far, given to each offer
	wss        string                 // the endpoint
	storing    messages.StorageSocket // of a session for storage: what it tells
	socket     *socket                // nil unless open
	leaving    *socket                // the one before, still read for a while; nil: none
	succeeding bool                   // connecting in the place of a socket that has ended meanwhile
	working    *actors.Edge           // of describing and connecting, or what dials the open socket's successor
	timer      *actors.Timer          // of backing off, or until the successor is dialled
	outbox     *outbox                // survives a reconnect: an answer goes out on the next socket
	failures   int                    // attempts in a row that did not come to a lasting socket
	lastFail   failure
	status     messages.SessionStatus
}

// The states of a session, as /sessions and /readyz name them.
const (
	stateIdle       = "idle"
	stateDescribing = "describing"
	stateConnecting = "connecting"
	stateOpen       = "open"
	stateBackingOff = "backing off"
)

const (
	// lastingAfter is how long a socket must have lived for its end to be no failure.
	lastingAfter = 10 * time.Second

	// pingsUnanswered is after how many of them without a sign of life a socket is dead.
	pingsUnanswered = 3

	// socketLife is when a socket is replaced: the service ends it after an hour (kvs-protocol.md 3.8),
	// with an offer on its way perhaps. Up to a minute less, so that a fleet does not do it together.
	socketLife       = 58 * time.Minute
	socketLifeSpread = time.Minute

	// leavingFor is how long a socket is read after its successor has opened: the grace after a
	// GO_AWAY is a minute (kvs-protocol.md 3.8).
	leavingFor = 10 * time.Second
)

func newSession(p *parts) *session {
	return &session{parts: p, state: stateIdle, since: time.Now(), setup: messages.Phases{}, outbox: newOutbox(!p.cfg.NoPacing)}
}

// Receive implements actor.Actor.
func (s *session) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		s.onStarted(ctx)
	case *actor.Stopping:
		s.onStopping()
	case *messages.Credentials:
		s.onCredentials(msg)
	case *messages.IceServers:
		s.onIceServers(msg)
	case *messages.Answer:
		s.onAnswer(msg)
	case *messages.LocalCandidate:
		s.onLocalCandidate(msg)
	case *messages.NetworkChanged:
		s.onNetworkChanged(msg)
	case *messages.StorageSocketWanted:
		s.onStorageSocketWanted(ctx)
	case *messages.SessionStatusWanted:
		s.onStatusWanted(ctx)
	case *askDue:
		s.onAskDue(ctx)
	case *described:
		s.onDescribed(ctx, msg)
	case *connected:
		s.onConnected(ctx, msg)
	case *signaling.Inbound:
		s.onInbound(ctx, msg)
	case *badInbound:
		s.onBadInbound(msg)
	case *sent:
		s.onSent(msg)
	case *pumpDue:
		s.onPumpDue()
	case *retryDue:
		s.describe()
	case *replaceDue:
		s.replace("")
	case *leftDue:
		s.onLeftDue(msg)
	case *actors.EdgeEnded:
		s.onEdgeEnded(ctx, msg)
	}
}

func (s *session) onStarted(ctx actor.Context) {
	s.edges = actors.NewEdges(s.sys, ctx)
	s.edges.After(askAfter, &askDue{})
}

func (s *session) onStopping() {
	s.leave()
	s.edges.Close()
}

func (s *session) onAskDue(ctx actor.Context) {
	if s.creds == nil {
		ctx.Request(s.sys.PID(pathCredentials), &messages.CredentialsWanted{})
		s.edges.After(time.Second, &askDue{})
	}
}

func (s *session) onCredentials(msg *messages.Credentials) {
	s.creds = msg
	s.setup = s.setup.With(messages.PhaseGetCredentials, msg.Took)
	if s.state == stateIdle || s.state == stateBackingOff && s.lastFail == failedCredentials {
		s.describe()
	}
}

func (s *session) onIceServers(msg *messages.IceServers) {
	if msg.Err == nil {
		s.setup = s.setup.With(messages.PhaseGetIceServers, msg.Took)
	}
	if !s.settled && s.state == stateOpen {
		s.read(s.socket)
	}
	s.settled = true
}

// describe is the state in which the channel and its endpoints are looked up.
func (s *session) describe() {
	s.timer.Stop()
	s.enter(stateDescribing)
	creds := *s.creds
	s.working = s.edges.Open("describe channel", func(e *actors.Edge) error {
		d, err := describeChannel(e.Context(), s.parts, creds)
		if err != nil {
			return err
		}
		return e.Post(d)
	})
}

func (s *session) onDescribed(ctx actor.Context, msg *described) {
	s.channel = msg.channel
	s.setup = s.setup.With(messages.PhaseDescribeChannel, msg.describeTook).With(messages.PhaseGetEndpoints, msg.endpointsTook)
	s.metrics.phase(messages.PhaseDescribeChannel, msg.describeTook)
	s.metrics.phase(messages.PhaseGetEndpoints, msg.endpointsTook)
	s.settled = s.stores
	if s.stores { // its peers get their ICE servers with each join
		s.storing = messages.StorageSocket{ChannelARN: msg.channel.ARN, StreamARN: msg.stream, HTTPSEndpoint: msg.https, JoinEndpoint: msg.webrtc}
	} else {
		ctx.Send(s.sys.PID(pathGatherer), &messages.ChannelReady{ChannelARN: msg.channel.ARN, Region: s.cfg.Region, HTTPSEndpoint: msg.https})
	}
	s.wss = msg.wss
	s.enter(stateConnecting)
	s.dial()
}

// dial opens a websocket, while the gatherer fetches ICE servers or the socket before goes on.
func (s *session) dial() {
	endpoint, arn, creds := s.wss, s.channel.ARN, *s.creds
	s.working = s.edges.Open("connect websocket", func(e *actors.Edge) error {
		c, err := connectMaster(e.Context(), s.parts, creds, endpoint, arn)
		if err != nil {
			return err
		}
		if err := e.Post(c); err != nil {
			return errors.Join(err, c.client.Close())
		}
		return nil
	})
}

func (s *session) onConnected(ctx actor.Context, msg *connected) {
	s.working = nil
	fresh := s.state != stateOpen && !s.succeeding
	switch {
	case s.state == stateOpen:
		s.retire()
	case s.succeeding:
		s.countReplaced()
		fallthrough
	default:
		s.enter(stateOpen)
	}
	s.succeeding = false
	s.socket = &socket{client: msg.client, opened: time.Now()}
	s.setup = s.setup.With(messages.PhaseConnectWebsocket, msg.took)
	s.metrics.phase(messages.PhaseConnectWebsocket, msg.took)
	s.sys.Log().Info("signaling session open", zap.String("channel", s.cfg.Channel), zap.Duration("connect_websocket", msg.took))
	s.timer = s.edges.After(socketLife-s.jitter(socketLifeSpread), &replaceDue{})
	if s.settled {
		s.read(s.socket)
	}
	s.pump()
	if s.stores {
		s.tellStorage(ctx, fresh)
	}
}

// read runs the reading edge of a socket: one message at a time is posted and waited for, so that the
// mailbox is the queue and TCP the back-pressure, and nothing is refused by a full lane.
func (s *session) read(from *socket) {
	client := from.client
	from.reader = s.edges.Open("read websocket", func(e *actors.Edge) error {
		for {
			in, err := client.Read(e.Context())
			var format *signaling.FormatError
			switch {
			case errors.As(err, &format):
				err = e.Post(&badInbound{err})
			case err == nil:
				err = e.Post(&in)
			}
			if err != nil {
				return err
			}
		}
	})
}

func (s *session) onInbound(ctx actor.Context, msg *signaling.Inbound) {
	switch msg.MessageType {
	case signaling.SDPOffer:
		s.onOffer(ctx, msg)
	case signaling.ICECandidate:
		s.onRemoteCandidate(ctx, msg)
	case signaling.StatusResponse:
		s.onStatusResponse(ctx, msg)
	case signaling.GoAway:
		s.replace("the service asked to go away")
	case signaling.ReconnectICEServer:
		ctx.Send(s.sys.PID(pathGatherer), &messages.IceServersWanted{Refresh: true})
	default:
		s.onBadInbound(&badInbound{errors.New("unexpected message type " + msg.MessageType)})
	}
}

func (s *session) onOffer(ctx actor.Context, msg *signaling.Inbound) {
	kind, sdp, err := signaling.DecodeDescription(msg.Payload)
	switch {
	case err != nil:
		s.onBadInbound(&badInbound{err})
	case kind != "offer" || !s.knows(msg.SenderClientID):
		s.onBadInbound(&badInbound{errors.New("offer without a valid type or sender")})
	default:
		ctx.Send(s.sys.PID(s.consumer()), &messages.Offer{ClientID: msg.SenderClientID, SDP: sdp, Received: time.Now(), Setup: s.setup})
	}
}

func (s *session) onRemoteCandidate(ctx actor.Context, msg *signaling.Inbound) {
	candidate, err := signaling.DecodeCandidate(msg.Payload)
	if err != nil || !s.knows(msg.SenderClientID) {
		s.onBadInbound(&badInbound{errors.Join(errors.New("candidate without a valid payload or sender"), err)})
		return
	}
	ctx.Send(s.sys.PID(s.consumer()), &messages.RemoteCandidate{ClientID: msg.SenderClientID, Candidate: candidate})
}

func (s *session) onStatusResponse(ctx actor.Context, msg *signaling.Inbound) {
	if msg.Status == nil {
		return
	}
	s.sys.Log().Warn("service refused a message", zap.String("error_type", msg.Status.ErrorType), zap.String("description", msg.Status.Description))
	if msg.Status.ErrorType == "ClientLimitExceededException" && s.outbox.again(msg.Status.CorrelationID) {
		s.pump()
		return
	}
	s.metrics.refusedByService.Inc()
	if s.stores && s.outbox.wasAnswer(msg.Status.CorrelationID) {
		ctx.Send(s.sys.PID(pathStorage), &messages.StorageRefused{Reason: msg.Status.Description})
	}
}

func (s *session) onBadInbound(msg *badInbound) {
	s.status.MessagesBad++
	s.metrics.messagesBad.Inc()
	s.sys.Log().Debug("message from the channel ignored", zap.Error(msg.err))
}

func (s *session) onAnswer(msg *messages.Answer) {
	payload, err := signaling.EncodeDescription("answer", msg.SDP)
	if err != nil {
		s.sys.Log().Error("encode answer failed", zap.String("viewer", msg.ClientID), zap.Error(err))
		return
	}
	s.put(signaling.Outbound{Action: signaling.SDPAnswer, RecipientClientID: msg.ClientID, Payload: payload})
}

func (s *session) onLocalCandidate(msg *messages.LocalCandidate) {
	payload, err := signaling.EncodeCandidate(msg.Candidate)
	if err != nil {
		s.sys.Log().Error("encode candidate failed", zap.String("viewer", msg.ClientID), zap.Error(err))
		return
	}
	s.put(signaling.Outbound{Action: signaling.ICECandidate, RecipientClientID: msg.ClientID, Payload: payload})
}

func (s *session) put(out signaling.Outbound) {
	if !s.outbox.put(out) {
		s.status.CandidatesDropped++
		s.metrics.outboxFull.Inc()
		s.sys.Log().Warn("outbox full, message dropped", zap.String("action", out.Action), zap.String("viewer", out.RecipientClientID))
	}
	s.pump()
}

// pump gives the outbox's next message to a writing edge, one at a time; when the pace forbids it, a
// timer comes back to it.
func (s *session) pump() {
	if s.state != stateOpen || s.outbox.writer != nil {
		return
	}
	out, wait := s.outbox.next(time.Now())
	switch {
	case wait > 0 && !s.outbox.timer:
		s.outbox.timer = true
		s.edges.After(wait, &pumpDue{})
	case out != nil:
		s.write(out)
	}
}

func (s *session) onPumpDue() {
	s.outbox.timer = false
	s.pump()
}

func (s *session) write(out *outgoing) {
	client := s.socket.client
	s.socket.writer = s.edges.Open("write websocket", func(e *actors.Edge) error {
		if err := client.Write(e.Context(), out.Outbound); err != nil {
			return err
		}
		return e.Post(&sent{out})
	})
	s.outbox.writer = s.socket.writer
}

func (s *session) onSent(msg *sent) {
	s.outbox.sent(msg.out)
	if msg.out.Action == signaling.SDPAnswer {
		s.status.AnswersSent++
	} else {
		s.status.CandidatesSent++
	}
	s.pump()
}
