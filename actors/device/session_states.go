package device

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// How a session passes from state to state, and the blocking calls that its edges make.

func (s *session) enter(state string) {
	s.state, s.since = state, time.Now()
	if !s.stores || !s.cfg.storesApart() {
		s.metrics.sessionState(state)
	}
}

// socket is an open websocket with the edges that work on it.
type socket struct {
	client *signaling.Client
	opened time.Time
	reader *actors.Edge // nil: not yet
	writer *actors.Edge // nil before the first message; the last one may have ended
}

func (s *socket) has(edge *actors.Edge) bool {
	return s != nil && (edge == s.reader || edge == s.writer)
}

// replace dials the open socket's successor. Nothing is lost meanwhile: the old one is read and written
// until the new one is there, and read a little longer.
func (s *session) replace(reason string) {
	if s.state != stateOpen || s.working != nil {
		return
	}
	if reason != "" {
		s.sys.Log().Info("signaling socket will be replaced", zap.String("reason", reason))
	}
	s.timer.Stop()
	s.dial()
}

// retire makes the open socket the one that is left.
func (s *session) retire() {
	s.countReplaced()
	s.timer.Stop()
	s.shut(s.leaving)
	s.leaving = s.socket
	s.edges.After(leavingFor, &leftDue{s.leaving})
}

func (s *session) countReplaced() {
	s.status.Replaced++
	s.metrics.replaced.Inc()
}

func (s *session) onLeftDue(msg *leftDue) {
	if msg.socket == s.leaving {
		s.shut(s.leaving)
		s.leaving = nil
	}
}

// shut ends a socket: its edges say nothing any more. What was being written on it goes out on the next.
func (s *session) shut(old *socket) {
	if old == nil {
		return
	}
	if old.reader != nil {
		old.reader.Cancel()
	}
	if old.writer != nil {
		old.writer.Cancel()
		if s.outbox.writer == old.writer {
			s.outbox.recall()
		}
	}
	client := old.client
	s.edges.Open("close websocket", func(*actors.Edge) error {
		_ = client.Close() // the socket is given up either way
		return nil
	})
}

// leave ends what the current state had going.
func (s *session) leave() {
	s.timer.Stop()
	if s.working != nil {
		s.working.Cancel()
		s.working = nil
	}
	s.shut(s.leaving)
	s.shut(s.socket)
	s.leaving, s.socket, s.succeeding = nil, nil, false
}

// retry leaves the current state and comes back to describing after a wait.
func (s *session) retry(reason error, wait time.Duration) {
	s.leave()
	s.enter(stateBackingOff)
	s.aws.CloseIdle() // what ended the socket may have ended the connections of the REST calls, and not told
	s.status.LastError = reason.Error()
	s.status.Reconnects++
	s.timer = s.edges.After(wait, &retryDue{})
}

// onEdgeEnded: an edge that ends without an error has posted its result. Any other end of an edge of the
// current state leads to backing off; the end of a socket that is being left was to be expected.
func (s *session) onEdgeEnded(ctx actor.Context, msg *actors.EdgeEnded) {
	dialling := msg.Edge == s.working
	if dialling {
		s.working = nil
	}
	switch {
	case msg.Err == nil:
	case s.leaving.has(msg.Edge):
		s.shut(s.leaving)
		s.leaving = nil
		s.pump()
	case s.state == stateOpen && dialling:
		s.onNoSuccessor(ctx, msg.Err)
	case s.state == stateOpen && s.working != nil:
		// The successor is being dialled already, and the service has heard of it: a channel has one master.
		s.shut(s.socket)
		s.socket, s.succeeding = nil, true
		s.enter(stateConnecting)
	default:
		if s.state == stateOpen && time.Since(s.socket.opened) > lastingAfter {
			s.failures = 0
		}
		wait, err := s.noteFailure(ctx, msg.Edge.Name(), msg.Err)
		s.retry(err, wait)
	}
}

// onNoSuccessor: the open socket goes on while its successor cannot be had.
func (s *session) onNoSuccessor(ctx actor.Context, cause error) {
	wait, _ := s.noteFailure(ctx, "replace websocket", cause)
	s.timer = s.edges.After(wait, &replaceDue{})
}

// noteFailure counts a failure and says how long to wait before the next try. A refusal of the
// credentials asks for newer ones meanwhile.
func (s *session) noteFailure(ctx actor.Context, doing string, cause error) (time.Duration, error) {
	err := fmt.Errorf("%s: %w", doing, cause)
	what := classify(cause)
	var handshake *signaling.HandshakeError
	if errors.As(cause, &handshake) {
		s.aws.Clock().Heard(handshake.Date) // the REST calls' answers have been heard already
	}
	if what == failedCredentials {
		ctx.Request(s.sys.PID(pathCredentials), &messages.CredentialsWanted{Rejected: s.creds.AccessKeyID})
	}
	s.failures++
	s.lastFail = what
	wait := s.backOff(s.failures)
	if wait < what.least {
		wait = what.least + s.jitter(what.least)
	}
	s.metrics.reconnects.Inc()
	s.metrics.failures.WithLabelValues(what.class).Inc()
	if s.status.Failures == nil {
		s.status.Failures = map[string]uint64{}
	}
	s.status.Failures[what.class]++
	s.sys.Log().Warn("signaling failed, will try again", zap.Error(err), zap.String("class", what.class), zap.String("remedy", what.remedy),
		zap.Duration("in", wait), zap.Int("failures", s.failures))
	return wait, err
}

// onNetworkChanged: a socket of an address that is gone is dead, though nothing has told yet; and where
// there was no way to the service there may be one now.
func (s *session) onNetworkChanged(msg *messages.NetworkChanged) {
	switch {
	case s.state == stateOpen && !slices.Contains(msg.Addresses, localAddress(s.socket.client)):
		s.sys.Log().Info("the signaling socket's address is gone, connecting anew")
		s.metrics.reconnects.Inc()
		s.retry(errors.New("the network has changed"), 0)
	case s.state == stateBackingOff || s.state == stateConnecting || s.state == stateDescribing:
		s.leave()
		s.describe()
	}
}

func localAddress(c *signaling.Client) netip.Addr {
	if addr, ok := c.LocalAddr().(*net.TCPAddr); ok {
		return addr.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

func (s *session) onStatusWanted(ctx actor.Context) {
	status := s.status
	status.Failures = maps.Clone(s.status.Failures)
	status.State, status.Since = s.state, s.since
	status.Channel, status.ChannelARN = s.cfg.Channel, s.channel.ARN
	status.ClockOffset = s.aws.Clock().Offset().Seconds()
	ctx.Respond(&status)
}

// describeChannel looks the channel up, creates it when it is not there, and asks for its endpoints.
func describeChannel(ctx context.Context, p *parts, creds messages.Credentials) (*described, error) {
	began := time.Now()
	channel, err := p.aws.DescribeChannel(ctx, creds, p.cfg.Channel)
	if aws.IsType(err, "ResourceNotFoundException") && !p.cfg.NoCreate {
		if _, err = p.aws.CreateChannel(ctx, creds, p.cfg.Channel); err != nil && !aws.IsType(err, "ResourceInUseException") {
			return nil, fmt.Errorf("create channel %q (needs kinesisvideo:CreateSignalingChannel): %w", p.cfg.Channel, err)
		}
		channel, err = p.aws.DescribeChannel(ctx, creds, p.cfg.Channel)
	}
	if err != nil {
		return nil, fmt.Errorf("describe channel %q (needs kinesisvideo:DescribeSignalingChannel): %w", p.cfg.Channel, err)
	}
	if channel.Status != "ACTIVE" {
		return nil, fmt.Errorf("channel %q is %s, not ACTIVE yet", p.cfg.Channel, channel.Status)
	}
	described := &described{channel: channel, describeTook: time.Since(began)}
	began = time.Now()
	protocols := []string{"WSS", "HTTPS"}
	if p.stores {
		if described.stream, err = storedIn(ctx, p, creds, channel.ARN); err != nil {
			return nil, err
		}
		protocols = append(protocols, "WEBRTC") // an error where the media is not stored (kvs-protocol.md 1.4)
	}
	endpoints, err := p.aws.Endpoints(ctx, creds, channel.ARN, string(signaling.Master), protocols...)
	if err != nil {
		return nil, fmt.Errorf("get endpoints (needs kinesisvideo:GetSignalingChannelEndpoint): %w", err)
	}
	described.endpointsTook = time.Since(began)
	described.wss, described.https, described.webrtc = endpoints["WSS"], endpoints["HTTPS"], endpoints["WEBRTC"]
	if described.wss == "" || described.https == "" {
		return nil, errors.New("get endpoints: the service named no WSS or no HTTPS endpoint")
	}
	return described, nil
}

// storedIn is the stream that the channel's media is stored in.
func storedIn(ctx context.Context, p *parts, creds messages.Credentials, arn string) (string, error) {
	stream, err := p.aws.MediaStorage(ctx, creds, arn)
	switch {
	case err != nil:
		return "", fmt.Errorf("describe media storage of channel %q (needs kinesisvideo:DescribeMediaStorageConfiguration): %w", p.cfg.Channel, err)
	case stream == "":
		return "", fmt.Errorf("channel %q is not mapped to a stream: enable its media storage with UpdateMediaStorageConfiguration", p.cfg.Channel)
	}
	return stream, nil
}

// connectMaster dials the signaling websocket as the channel's master.
func connectMaster(ctx context.Context, p *parts, creds messages.Credentials, endpoint, arn string) (*connected, error) {
	began := time.Now()
	url, err := aws.PresignWebSocket(ctx, endpoint, arn, "", creds, p.cfg.Region, p.aws.Clock().Now())
	if err != nil {
		return nil, err
	}
	client, err := signaling.Dial(ctx, url, signaling.DialOptions{
		TLS: p.tls, NetDial: p.cfg.dial, PingEvery: p.cfg.PingEvery, SilenceMax: pingsUnanswered * p.cfg.PingEvery,
	})
	if err != nil {
		return nil, fmt.Errorf("connect as master (needs kinesisvideo:ConnectAsMaster): %w", err)
	}
	return &connected{client: client, took: time.Since(began)}, nil
}

type described struct {
	channel                     aws.Channel
	wss, https                  string
	webrtc, stream              string // of a channel whose media is stored
	describeTook, endpointsTook time.Duration
}

type connected struct {
	client *signaling.Client
	took   time.Duration
}

type badInbound struct{ err error }
type sent struct{ out *outgoing }
type pumpDue struct{}
type retryDue struct{}
type replaceDue struct{}
type leftDue struct{ socket *socket }
