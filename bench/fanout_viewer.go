package bench

// The viewers of scenario fanout: as little as answers a sender with real RTCP. They join over the real
// signed protocol, read RTP and throw it away, and count by the sequence numbers what was sent to them.

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/logging"
	"github.com/pion/sdp/v3"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/webrtc/v4"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

const connectWithin = 20 * time.Second

// lobby is the way into a channel, found once for all of its viewers.
type lobby struct {
	service *service.Service
	api     *webrtc.API
	arn     string
	url     string // of the websocket endpoint
}

func openLobby(ctx context.Context, s *service.Service, channel string, api *webrtc.API) (*lobby, error) {
	l := &lobby{service: s, api: api}
	calls := aws.NewClient(aws.ClientConfig{
		Region: s.Region, ControlPlane: s.PublicURL,
		HTTP: &http.Client{Transport: &http.Transport{TLSClientConfig: l.tls()}, Timeout: restTimeout},
	})
	defer calls.CloseIdle()
	found, err := calls.DescribeChannel(ctx, s.Credentials, channel)
	if err != nil {
		return nil, err
	}
	endpoints, err := calls.Endpoints(ctx, s.Credentials, found.ARN, string(signaling.Viewer), "WSS", "HTTPS")
	l.arn, l.url = found.ARN, endpoints["WSS"]
	return l, err
}

func (l *lobby) tls() *tls.Config {
	return &tls.Config{RootCAs: l.service.CA, MinVersion: tls.VersionTLS12}
}

func (l *lobby) dial(ctx context.Context, clientID string) (*signaling.Client, error) {
	url, err := aws.PresignWebSocket(ctx, l.url, l.arn, clientID, l.service.Credentials, l.service.Region, time.Now())
	if err != nil {
		return nil, err
	}
	return signaling.Dial(ctx, url, signaling.DialOptions{TLS: l.tls()})
}

// spectatorAPI is pion with receiver reports, and NACK and transport-wide feedback where they are
// asked for.
func spectatorAPI(nacks, feedback bool) (*webrtc.API, error) {
	var m webrtc.MediaEngine
	if err := registerCodecs(&m, false); err != nil {
		return nil, err
	}
	quiet := logging.NewDefaultLoggerFactory()
	quiet.Writer, quiet.DefaultLogLevel = io.Discard, logging.LogLevelDisabled
	var interceptors interceptor.Registry
	reports, err := report.NewReceiverInterceptor(report.WithReceiverLoggerFactory(quiet))
	if err != nil {
		return nil, err
	}
	interceptors.Add(reports)
	if nacks {
		generator, err := nack.NewGeneratorInterceptor(nack.WithGeneratorLoggerFactory(quiet))
		if err != nil {
			return nil, err
		}
		m.RegisterFeedback(webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBNACK}, webrtc.RTPCodecTypeVideo)
		interceptors.Add(generator)
	}
	if feedback {
		if err := addFeedback(&m, &interceptors, quiet); err != nil {
			return nil, err
		}
	}
	network, err := stdnet.NewNet()
	if err != nil {
		return nil, err
	}
	s := webrtc.SettingEngine{LoggerFactory: quiet}
	s.SetNet(roomyNet{network})
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetIncludeLoopbackCandidate(true)
	s.SetIPFilter(net.IP.IsLoopback)
	s.SetHostAcceptanceMinWait(0)
	s.SetPrflxAcceptanceMinWait(0)
	return webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithInterceptorRegistry(&interceptors), webrtc.WithSettingEngine(s)), nil
}

// roomyNet opens sockets that take a burst while their reader waits for a processor.
type roomyNet struct{ *stdnet.Net }

const receiveBufferBytes = 4 << 20 // the kernel gives as much of it as net.core.rmem_max allows

func (n roomyNet) ListenUDP(network string, local *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := net.ListenUDP(network, local)
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadBuffer(receiveBufferBytes); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// addFeedback asks for transport-wide sequence numbers and answers them.
func addFeedback(m *webrtc.MediaEngine, interceptors *interceptor.Registry, quiet logging.LoggerFactory) error {
	answers, err := twcc.NewSenderInterceptor(twcc.WithLoggerFactory(quiet))
	if err != nil {
		return err
	}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		m.RegisterFeedback(webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBTransportCC}, kind)
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.TransportCCURI}, kind); err != nil {
			return err
		}
	}
	interceptors.Add(answers)
	return nil
}

// tally counts a track's packets. Its reader writes, anybody reads.
type tally struct {
	received atomic.Uint64
	sent     atomic.Uint64 // by the sequence numbers, from the first to the highest

	began   bool
	highest uint16
}

func (t *tally) count(sequence uint16) {
	t.received.Add(1)
	switch ahead := sequence - t.highest; {
	case !t.began:
		t.began, t.highest = true, sequence
		t.sent.Store(1)
	case ahead < 1<<15: // RFC 3550 A.1; what is behind comes late or again
		t.highest = sequence
		t.sent.Add(uint64(ahead))
	}
}

// spectator is one viewer.
type spectator struct {
	client    *signaling.Client
	peer      *webrtc.PeerConnection
	life      context.Context
	end       context.CancelFunc
	edges     actors.Group
	tracks    chan *webrtc.TrackRemote
	connected chan struct{} // closed once
	up        sync.Once
	tallies   [2]tally // by messages.Track
}

// join returns a viewer whose connection is up.
func (l *lobby) join(ctx context.Context, clientID string) (_ *spectator, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	s := &spectator{tracks: make(chan *webrtc.TrackRemote, 2), connected: make(chan struct{})}
	s.life, s.end = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("join %s: %w", clientID, err), s.leave())
		}
	}()
	if err := s.open(l.api); err != nil {
		return nil, err
	}
	if s.client, err = l.dial(ctx, clientID); err != nil {
		return nil, err
	}
	if err := s.call(ctx); err != nil {
		return nil, err
	}
	s.edges.Go("read candidates", func() error { return s.readCandidates(ctx) })
	select {
	case <-s.connected:
		return s, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("await connection: %w", ctx.Err())
	}
}

func (s *spectator) open(api *webrtc.API) (err error) {
	if s.peer, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		return err
	}
	s.peer.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			s.up.Do(func() { close(s.connected) })
		}
	})
	s.peer.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		select {
		case s.tracks <- t:
		case <-s.life.Done():
		}
	})
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		t, err := s.peer.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		if err != nil {
			return err
		}
		s.edges.Go("read track", s.readTrack)
		s.edges.Go("read reports", func() error { return drain(t.Receiver()) })
	}
	return nil
}

// readTrack reads and counts one track; which one, the device decides.
func (s *spectator) readTrack() error {
	var t *webrtc.TrackRemote
	select {
	case t = <-s.tracks:
	case <-s.life.Done():
		return nil
	}
	tally := &s.tallies[messages.Video]
	if t.Kind() == webrtc.RTPCodecTypeAudio {
		tally = &s.tallies[messages.Audio]
	}
	buf := make([]byte, packetBytesMax)
	for {
		n, _, err := t.Read(buf)
		if err != nil {
			return nil // closed
		}
		if n >= 4 {
			tally.count(binary.BigEndian.Uint16(buf[2:]))
		}
	}
}

// call sends an offer that holds all candidates, there being loopback ones only, and takes the answer.
func (s *spectator) call(ctx context.Context) error {
	offer, err := s.peer.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(s.peer)
	if err := s.peer.SetLocalDescription(offer); err != nil {
		return err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return ctx.Err()
	}
	payload, err := signaling.EncodeDescription("offer", s.peer.LocalDescription().SDP)
	if err != nil {
		return err
	}
	if err := s.client.Write(ctx, signaling.Outbound{Action: signaling.SDPOffer, Payload: payload}); err != nil {
		return err
	}
	for {
		in, err := s.client.Read(ctx)
		if err != nil {
			return fmt.Errorf("await answer: %w", err)
		}
		if in.MessageType != signaling.SDPAnswer {
			continue // a candidate that overtook the answer: the sender's checks tell of it, too
		}
		_, sdp, err := signaling.DecodeDescription(in.Payload)
		if err != nil {
			return err
		}
		if s.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}) != nil {
			return errors.New("apply answer: it does not fit the offer")
		}
		return nil
	}
}

// readCandidates takes what trickles behind the answer, until the connection is up; it needs no more.
func (s *spectator) readCandidates(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.edges.Go("await connection", func() error {
		select {
		case <-s.connected:
			cancel()
		case <-ctx.Done():
		}
		return nil
	})
	for {
		in, err := s.client.Read(ctx)
		if err != nil {
			return s.client.Close()
		}
		if in.MessageType != signaling.ICECandidate {
			continue
		}
		if c, err := signaling.DecodeCandidate(in.Payload); err == nil {
			_ = s.peer.AddICECandidate(webrtc.ICECandidateInit{ // one of several
				Candidate: c.Candidate, SDPMid: c.SDPMid, SDPMLineIndex: c.SDPMLineIndex, UsernameFragment: c.UsernameFragment,
			})
		}
	}
}

// counts are the packets sent to this viewer so far, and those of them that came.
func (s *spectator) counts() (sent, received uint64) {
	for i := range s.tallies {
		sent += s.tallies[i].sent.Load()
		received += s.tallies[i].received.Load()
	}
	return sent, received
}

func (s *spectator) video() uint64 { return s.tallies[messages.Video].received.Load() }

func (s *spectator) leave() error {
	s.end()
	if s.client != nil {
		_ = s.client.Close()
	}
	if s.peer != nil {
		_ = s.peer.GracefulClose()
	}
	return s.edges.Wait()
}
