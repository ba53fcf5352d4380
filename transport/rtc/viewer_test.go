package rtc

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of the tests; it never passes in a test that succeeds.
const patience = 20 * time.Second

// viewer is a real pion peer connection in this process, on a loopback socket of its own.
type viewer struct {
	t       *testing.T
	pc      *webrtc.PeerConnection
	socket  *net.UDPConn
	up      chan struct{} // closed when connected
	packets map[string]chan *rtp.Packet
	tracks  chan *webrtc.TrackRemote
	talk    *webrtc.TrackLocalStaticRTP // its microphone, when wanted

	mu         sync.Mutex
	candidates []webrtc.ICECandidateInit
	peer       *Peer // once there: candidates go to it at once
	trickled   chan struct{}
}

// wish is what a viewer's offer asks for.
type wish struct {
	video, audio, data, talk bool
	feedback                 bool // transport-wide (TWCC)
	trickle, v6              bool
	extensions               []string
	codecs                   func(*webrtc.MediaEngine) error
	settings                 func(*webrtc.SettingEngine)
	lose                     func(packet []byte) bool
}

// lossySocket drops what lose says of the packets that come in.
type lossySocket struct {
	net.PacketConn
	lose func(packet []byte) bool
}

func (s lossySocket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.PacketConn.ReadFrom(b)
		if err != nil || n == 0 || s.lose == nil || !s.lose(b[:n]) {
			return n, from, err
		}
	}
}

func newViewer(t *testing.T, w wish) *viewer {
	t.Helper()
	home, network := net.IPv4(127, 0, 0, 1), webrtc.NetworkTypeUDP4
	if w.v6 {
		home, network = net.IPv6loopback, webrtc.NetworkTypeUDP6
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: home})
	if err != nil {
		t.Fatal(err)
	}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: lossySocket{socket, w.lose}, Logger: scopeLog{zap.NewNop()}})
	var s webrtc.SettingEngine
	s.LoggerFactory = stackLog{zap.NewNop()}
	s.SetICEUDPMux(mux)
	s.SetIncludeLoopbackCandidate(true)
	s.SetNetworkTypes([]webrtc.NetworkType{network})
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	if w.settings != nil {
		w.settings(&s)
	}
	m := &webrtc.MediaEngine{}
	register := m.RegisterDefaultCodecs
	if w.codecs != nil {
		register = func() error { return w.codecs(m) }
	}
	must(t, register())
	for _, uri := range w.extensions {
		must(t, m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeVideo))
		must(t, m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeAudio))
	}
	r := &interceptor.Registry{}
	must(t, webrtc.ConfigureNack(m, r))
	must(t, webrtc.ConfigureRTCPReports(r))
	if w.feedback {
		must(t, webrtc.ConfigureTWCCSender(m, r))
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(r)).
		NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	v := &viewer{
		t: t, pc: pc, socket: socket, up: make(chan struct{}), tracks: make(chan *webrtc.TrackRemote, 4),
		packets:  map[string]chan *rtp.Packet{"video": make(chan *rtp.Packet, 4096), "audio": make(chan *rtp.Packet, 4096)},
		trickled: make(chan struct{}),
	}
	t.Cleanup(func() {
		_ = pc.GracefulClose()
		_ = mux.Close()
	})
	v.want(w)
	v.listen()
	return v
}

func (v *viewer) want(w wish) {
	recvonly := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
	if w.video {
		_, err := v.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, recvonly)
		must(v.t, err)
	}
	switch {
	case w.talk:
		talk, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "mic", "mic")
		must(v.t, err)
		_, err = v.pc.AddTransceiverFromTrack(talk, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendrecv})
		must(v.t, err)
		v.talk = talk
	case w.audio:
		_, err := v.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, recvonly)
		must(v.t, err)
	}
}

func (v *viewer) listen() {
	var once sync.Once
	v.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(v.up) })
		}
	})
	v.pc.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		v.tracks <- remote
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			select {
			case v.packets[remote.Kind().String()] <- packet:
			default: // a test that does not read
			}
		}
	})
	v.pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		v.mu.Lock()
		defer v.mu.Unlock()
		switch {
		case c == nil:
		case v.peer == nil:
			v.candidates = append(v.candidates, c.ToJSON())
		default:
			v.trickle(c.ToJSON())
		}
	})
}

func (v *viewer) trickle(c webrtc.ICECandidateInit) {
	must(v.t, v.peer.AddRemoteCandidate(messages.Candidate{
		Candidate: c.Candidate, SDPMid: c.SDPMid, SDPMLineIndex: c.SDPMLineIndex, UsernameFragment: c.UsernameFragment,
	}))
}

// offer returns the viewer's offer: with all candidates when it does not trickle, with none when it
// does.
func (v *viewer) offer(trickle bool) string { v.t.Helper(); return v.offerAgain(trickle, false) }

func (v *viewer) offerAgain(trickle, restart bool) string {
	v.t.Helper()
	d, err := v.pc.CreateOffer(&webrtc.OfferOptions{
		OfferAnswerOptions: webrtc.OfferAnswerOptions{ICETricklingSupported: trickle}, ICERestart: restart,
	})
	must(v.t, err)
	complete := webrtc.GatheringCompletePromise(v.pc)
	must(v.t, v.pc.SetLocalDescription(d))
	if trickle {
		return d.SDP
	}
	wait(v.t, complete, "the viewer's candidates")
	return v.pc.LocalDescription().SDP
}

// accept applies the device's answer and sends the viewer's candidates to the device when they
// were not in the offer.
func (v *viewer) accept(p *Peer, answer string, trickle bool) {
	v.t.Helper()
	must(v.t, v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}))
	if !trickle {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.peer = p
	for _, c := range v.candidates {
		v.trickle(c)
	}
}

// device is a Peer with its events pumped.
type device struct {
	*Peer
	t      *testing.T
	answer string
	events chan any
	all    []any // what next has taken so far
}

func newEngine(t testing.TB, cfg EngineConfig) *Engine {
	t.Helper()
	cfg.IncludeLoopback = true
	if cfg.ListenUDP == "" {
		cfg.ListenUDP = "127.0.0.1:0"
	}
	cfg.Log = zap.NewNop()
	e, err := NewEngine(cfg)
	must(t, err)
	t.Cleanup(func() { must(t, e.Close()) })
	return e
}

// pump reads the peer's events and reports until the test ends.
func pump(t *testing.T, p *Peer, answer string) *device {
	d := &device{Peer: p, t: t, answer: answer, events: make(chan any, 1024)}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			event, err := p.Read(context.Background())
			if err != nil {
				if !errors.Is(err, ErrClosed) {
					t.Errorf("read: %v", err)
				}
				return
			}
			d.events <- event
		}
	})
	done.Go(func() { _ = p.ReadReports(context.Background()) })
	t.Cleanup(func() {
		must(t, p.Close())
		done.Wait()
	})
	return d
}

// connect answers the viewer's offer and waits until both sides are connected.
func connect(t *testing.T, e *Engine, w wish, cfg PeerConfig) (*viewer, *device) {
	t.Helper()
	v := newViewer(t, w)
	if w.data {
		_, err := v.pc.CreateDataChannel("chat", nil)
		must(t, err)
	}
	d := answerTo(t, e, v, w.trickle, cfg)
	wait(t, v.up, "the viewer to connect")
	d.connectedEvent()
	return v, d
}

func answerTo(t *testing.T, e *Engine, v *viewer, trickle bool, cfg PeerConfig) *device {
	t.Helper()
	p, answer, err := e.Answer(t.Context(), cfg, v.offer(trickle))
	must(t, err)
	d := pump(t, p, answer)
	v.accept(p, answer, trickle)
	return d
}

// next waits for the next event of a type.
func next[T any](d *device) T {
	d.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case event := <-d.events:
			d.all = append(d.all, event)
			if wanted, ok := event.(T); ok {
				return wanted
			}
		case <-deadline:
			var wanted T
			d.t.Fatalf("no %T came; so far: %v", wanted, d.all)
		}
	}
}

func (d *device) connectedEvent() *messages.PeerConnected {
	d.t.Helper()
	for _, event := range d.all {
		if connected, ok := event.(*messages.PeerConnected); ok {
			return connected
		}
	}
	return next[*messages.PeerConnected](d)
}

// candidateLines returns the a=candidate lines of a description.
func candidateLines(sdp string) []string {
	var lines []string
	for line := range strings.Lines(sdp) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "a=candidate:"); ok {
			lines = append(lines, rest)
		}
	}
	return lines
}

func withoutLines(sdp string, prefixes ...string) string {
	var kept strings.Builder
	for line := range strings.Lines(sdp) {
		if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(line, p) }) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wait[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// eventually polls until ok, for what has no channel.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
