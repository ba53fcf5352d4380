package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// The way into a channel, as KVS's own clients go it (kvs-protocol.md 3.9): describe, endpoints, ICE
// servers, websocket. Then the signaling edges: one reads, one sends candidates.

const (
	restTimeout = 10 * time.Second

	// AWS takes 20 candidates per second of a socket (kvs-protocol.md 3.8).
	candidatesPerSecond = 19
	candidatesBurst     = 10

	offerID     = "offer"      // correlation id: refusals come back with it
	candidateID = "candidate-" // and a number
)

// session is what the viewer learned on its way in.
type session struct {
	creds     messages.Credentials
	arn       string
	endpoints map[string]string
	servers   []messages.IceServer
}

// join goes from credentials to an open websocket and an unconnected peer.
func (v *Viewer) join() error {
	var s session
	transport := &http.Transport{
		TLSClientConfig: v.tls(), Proxy: http.ProxyFromEnvironment, DialContext: v.network.DialContext,
	}
	defer transport.CloseIdleConnections()
	calls := aws.NewClient(aws.ClientConfig{
		Region: v.cfg.Region, ControlPlane: v.cfg.ControlPlane,
		HTTP: &http.Client{Transport: transport, Timeout: restTimeout},
	})
	for _, step := range []struct {
		phase string
		run   func(ctx context.Context) error
	}{
		{messages.PhaseGetCredentials, func(ctx context.Context) (err error) {
			s.creds, err = v.cfg.Credentials.Retrieve(ctx)
			return err
		}},
		{messages.PhaseDescribeChannel, func(ctx context.Context) error {
			channel, err := calls.DescribeChannel(ctx, s.creds, v.cfg.Channel)
			s.arn = channel.ARN
			return err
		}},
		{messages.PhaseGetEndpoints, func(ctx context.Context) (err error) {
			s.endpoints, err = calls.Endpoints(ctx, s.creds, s.arn, string(signaling.Viewer), "WSS", "HTTPS")
			return err
		}},
		{messages.PhaseGetIceServers, func(ctx context.Context) (err error) {
			s.servers, _, err = calls.IceServers(ctx, s.creds, s.endpoints["HTTPS"], s.arn, v.cfg.ClientID)
			return err
		}},
		{messages.PhaseConnectWebsocket, func(ctx context.Context) error { return v.connect(ctx, s) }},
	} {
		v.begin(step.phase)
		if err := step.run(v.life); err != nil {
			return err
		}
		v.finish(step.phase)
	}
	return v.openPeer(v.iceServers(s.servers))
}

// iceServers takes the first TURN address over UDP, as KVS's C samples do, or else the first one: each
// more costs a socket and another round of checks, and the viewers share a machine with each other and
// often with the device. Where the service is AWS, its STUN server comes on top, as in the SDKs.
func (v *Viewer) iceServers(servers []messages.IceServer) []messages.IceServer {
	if v.cfg.NoServers {
		return nil
	}
	if v.cfg.RelayURL != "" && len(servers) > 0 {
		return []messages.IceServer{{URLs: []string{v.cfg.RelayURL}, Username: servers[0].Username, Password: servers[0].Password}}
	}
	chosen := firstUDP(servers)
	if v.cfg.ControlPlane == "" {
		chosen = append(chosen, messages.IceServer{URLs: []string{aws.StunURL(v.cfg.Region, false)}})
	}
	return chosen
}

func firstUDP(servers []messages.IceServer) (chosen []messages.IceServer) {
	for _, s := range servers {
		for _, url := range s.URLs {
			one := []messages.IceServer{{URLs: []string{url}, Username: s.Username, Password: s.Password}}
			if strings.HasPrefix(url, "turn:") && !strings.HasSuffix(url, "transport=tcp") {
				return one
			}
			if chosen == nil {
				chosen = one
			}
		}
	}
	return chosen
}

func (v *Viewer) tls() *tls.Config {
	return &tls.Config{RootCAs: v.cfg.RootCAs, MinVersion: tls.VersionTLS12}
}

func (v *Viewer) connect(ctx context.Context, s session) error {
	url, err := aws.PresignWebSocket(ctx, s.endpoints["WSS"], s.arn, v.cfg.ClientID, s.creds, v.cfg.Region, time.Now())
	if err != nil {
		return err
	}
	v.client, err = signaling.Dial(ctx, url, signaling.DialOptions{TLS: v.tls(), NetDial: v.network.DialContext})
	return err
}

// call sends the offer and starts the edges that carry the conversation on.
func (v *Viewer) call() error {
	offer, err := v.makeOffer(nil)
	if err != nil {
		return err
	}
	v.offerSent = time.Now() // just before it is sent (kvs-protocol.md 8.1)
	if err := v.sendOffer(offer); err != nil {
		return err
	}
	v.edges.Go("read signaling", v.readSignaling)
	v.edges.Go("send candidates", v.sendCandidates)
	return nil
}

func (v *Viewer) sendOffer(offer string) error {
	payload, err := signaling.EncodeDescription("offer", offer)
	if err != nil {
		return fmt.Errorf("encode offer: %w", err)
	}
	err = v.client.Write(v.life, signaling.Outbound{Action: signaling.SDPOffer, CorrelationID: offerID, Payload: payload})
	if err != nil {
		return fmt.Errorf("send offer: %w", err)
	}
	return nil
}

// sendCandidates trickles this viewer's candidates behind the offer.
func (v *Viewer) sendCandidates() error {
	pace := rate.NewLimiter(candidatesPerSecond, candidatesBurst)
	for n := 1; ; n++ {
		select {
		case c := <-v.outgoing:
			if pace.Wait(v.life) != nil {
				return nil
			}
			payload, err := signaling.EncodeCandidate(c)
			if err != nil {
				v.candidatesDropped.Add(1)
				continue
			}
			err = v.client.Write(v.life, signaling.Outbound{
				Action: signaling.ICECandidate, CorrelationID: candidateID + strconv.Itoa(n), Payload: payload,
			})
			if err != nil && v.life.Err() == nil {
				v.candidatesDropped.Add(1)
			}
		case <-v.life.Done():
			return nil
		}
	}
}

// readSignaling applies what the device sends. A socket that is lost after the answer does not
// matter to the media, and AWS's viewers do not reconnect it.
func (v *Viewer) readSignaling() error {
	remote := remoteSide{viewer: v}
	for {
		in, err := v.client.Read(v.life)
		var malformed *signaling.FormatError
		switch {
		case err == nil:
			if err := remote.take(in); err != nil {
				v.end(err)
				return nil
			}
		case v.life.Err() != nil:
			return nil
		case errors.As(err, &malformed):
			v.end(fmt.Errorf("read signaling: %w", err))
			return nil
		case !remote.answered:
			v.end(fmt.Errorf("no answer: %w", err))
			return nil
		default:
			v.signalingLost.Store(true)
			return nil
		}
	}
}

// remoteSide is the device's side of the negotiation: candidates that overtake the answer wait for it
// (kvs-protocol.md 3.6).
type remoteSide struct {
	viewer   *Viewer
	answered bool
	early    []messages.Candidate
}

func (r *remoteSide) take(in signaling.Inbound) error {
	switch in.MessageType {
	case signaling.SDPAnswer:
		return r.onAnswer(in.Payload)
	case signaling.ICECandidate:
		return r.onCandidate(in.Payload)
	case signaling.StatusResponse:
		return r.onStatus(in.Status)
	}
	return nil // GO_AWAY, RECONNECT_ICE_SERVER: of no consequence within one run
}

func (r *remoteSide) onAnswer(payload string) error {
	again := r.answered && r.viewer.restarting.Swap(false)
	if r.answered && !again {
		return nil // a repetition
	}
	arrived := time.Now()
	_, sdp, err := signaling.DecodeDescription(payload)
	if err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	if err := r.viewer.applyAnswer(sdp); err != nil {
		return err
	}
	if again {
		return nil
	}
	r.answered, r.viewer.answered = true, arrived
	for _, c := range r.early {
		r.viewer.addCandidate(c)
	}
	r.early = nil
	return nil
}

func (r *remoteSide) onCandidate(payload string) error {
	c, err := signaling.DecodeCandidate(payload)
	if err != nil {
		return fmt.Errorf("decode candidate: %w", err)
	}
	switch {
	case r.answered:
		r.viewer.addCandidate(c)
	case len(r.early) < earlyMax:
		r.early = append(r.early, c)
	default:
		r.viewer.candidatesDropped.Add(1)
	}
	return nil
}

// onStatus reads why the service did not take a message.
func (r *remoteSide) onStatus(s *signaling.Status) error {
	switch {
	case s == nil:
		return nil
	case strings.HasPrefix(s.CorrelationID, candidateID):
		r.viewer.candidatesDropped.Add(1)
		return nil
	}
	return fmt.Errorf("offer refused: %s (%s): %s", s.ErrorType, s.StatusCode, s.Description)
}
