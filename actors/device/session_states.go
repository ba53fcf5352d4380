package device

import (
	"context"
	"errors"
	"fmt"
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
	s.metrics.sessionState(state)
}

// open starts an edge that belongs to the current state.
func (s *session) open(name string, run func(*actors.Edge) error) {
	s.working = append(s.working, s.edges.Open(name, run))
}

// leave ends what the current state had going: its edges say nothing any more, its socket is closed.
func (s *session) leave() {
	for _, edge := range s.working {
		edge.Cancel()
	}
	s.working = nil
	if s.client == nil {
		return
	}
	client := s.client
	s.client = nil
	s.outbox.recall()
	s.edges.Open("close websocket", func(*actors.Edge) error {
		_ = client.Close() // the socket is given up either way
		return nil
	})
}

// retry leaves the current state and comes back to describing after a wait.
func (s *session) retry(reason error, wait time.Duration) {
	s.leave()
	s.enter(stateBackingOff)
	s.status.LastError = reason.Error()
	s.status.Reconnects++
	s.edges.After(wait, &retryDue{})
}

// onEdgeEnded: an edge that ends without an error has posted its result. Any other end leads to
// backing off; a refusal of the credentials asks for newer ones meanwhile.
func (s *session) onEdgeEnded(ctx actor.Context, msg *actors.EdgeEnded) {
	if msg.Err == nil {
		s.forget(msg.Edge)
		return
	}
	if s.state == stateOpen && time.Since(s.openedAt) > lastingAfter {
		s.failures = 0
	}
	s.failures++
	err := fmt.Errorf("%s: %w", msg.Edge.Name(), msg.Err)
	if refused(msg.Err) {
		ctx.Request(s.sys.PID(pathCredentials), &messages.CredentialsWanted{Rejected: s.creds.AccessKeyID})
	}
	wait := backOff(s.failures)
	s.sys.Log().Warn("signaling session lost, will reconnect", zap.Error(err), zap.Duration("in", wait), zap.Int("failures", s.failures))
	s.metrics.reconnects.Inc()
	s.retry(err, wait)
}

func (s *session) forget(edge *actors.Edge) {
	for i, e := range s.working {
		if e == edge {
			s.working = append(s.working[:i], s.working[i+1:]...)
			return
		}
	}
}

func (s *session) onStatusWanted(ctx actor.Context) {
	status := s.status
	status.State, status.Since = s.state, s.since
	status.Channel, status.ChannelARN = s.cfg.Channel, s.channel.ARN
	ctx.Respond(&status)
}

// refused tells whether the service did not accept the credentials.
func refused(err error) bool {
	var rest *aws.Error
	var handshake *signaling.HandshakeError
	switch {
	case errors.As(err, &rest):
		return rest.Status == 401 || rest.Status == 403
	case errors.As(err, &handshake):
		return handshake.Status == 401 || handshake.Status == 403
	}
	return false
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
	endpoints, err := p.aws.Endpoints(ctx, creds, channel.ARN, string(signaling.Master), "WSS", "HTTPS")
	if err != nil {
		return nil, fmt.Errorf("get endpoints (needs kinesisvideo:GetSignalingChannelEndpoint): %w", err)
	}
	described.endpointsTook = time.Since(began)
	described.wss, described.https = endpoints["WSS"], endpoints["HTTPS"]
	if described.wss == "" || described.https == "" {
		return nil, errors.New("get endpoints: the service named no WSS or no HTTPS endpoint")
	}
	return described, nil
}

// connectMaster dials the signaling websocket as the channel's master.
func connectMaster(ctx context.Context, p *parts, creds messages.Credentials, endpoint, arn string) (*connected, error) {
	began := time.Now()
	url, err := aws.PresignWebSocket(ctx, endpoint, arn, "", creds, p.cfg.Region, time.Now())
	if err != nil {
		return nil, err
	}
	client, err := signaling.Dial(ctx, url, signaling.DialOptions{TLS: p.tls, NetDial: p.cfg.dial})
	if err != nil {
		return nil, fmt.Errorf("connect as master (needs kinesisvideo:ConnectAsMaster): %w", err)
	}
	return &connected{client: client, took: time.Since(began)}, nil
}

type described struct {
	channel                     aws.Channel
	wss, https                  string
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
