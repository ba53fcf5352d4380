package rtc

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/stun/v3"
	"github.com/pion/webrtc/v4"
)

func TestTrickleBothWays(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	stunURL := stunServer(t, 50*time.Millisecond)
	v := newViewer(t, wish{video: true, audio: true})
	d := answerTo(t, e, v, true, PeerConfig{IceServers: []messages.IceServer{{URLs: []string{stunURL}}}})

	inAnswer := candidateLines(d.answer)
	if len(inAnswer) != 1 || !strings.Contains(inAnswer[0], "typ host") || strings.Contains(d.answer, "end-of-candidates") {
		t.Fatalf("the answer holds the candidates %q, want the host candidate alone", inAnswer)
	}
	if !strings.Contains(d.answer, "a=ice-options:trickle") {
		t.Fatal("the answer does not say that we trickle")
	}
	late := next[*messages.PeerCandidate](d).Candidate
	if !strings.Contains(late.Candidate, "typ srflx") || !strings.HasPrefix(late.Candidate, "candidate:") ||
		late.SDPMid == nil || *late.SDPMid != "0" || late.SDPMLineIndex == nil || *late.SDPMLineIndex != 0 {
		t.Fatalf("late candidate %+v", late)
	}
	must(t, v.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: late.Candidate, SDPMid: late.SDPMid, SDPMLineIndex: late.SDPMLineIndex}))
	wait(t, v.up, "the viewer to connect")
	if connected := d.connectedEvent(); connected.Pair != "host/host" && connected.Pair != "host/prflx" {
		t.Fatalf("pair %q", connected.Pair)
	}
	phases := map[string]bool{}
	for len(phases) < 4 {
		for _, event := range d.all {
			if phase, ok := event.(*messages.PeerPhase); ok && phase.Took > 0 {
				phases[phase.Name] = true
			}
		}
		if len(phases) < 4 {
			next[*messages.PeerPhase](d)
		}
	}
	for _, name := range []string{messages.PhaseGatherHost, messages.PhaseGatherSrflx, messages.PhaseFindPair, messages.PhaseDTLSHandshake} {
		if !phases[name] {
			t.Fatalf("phases %v, without %s", phases, name)
		}
	}
}

func TestOfferWithoutTrickleGetsAllCandidates(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	stunURL := stunServer(t, 100*time.Millisecond)
	v := newViewer(t, wish{video: true})
	d := answerTo(t, e, v, false, PeerConfig{IceServers: []messages.IceServer{{URLs: []string{stunURL}}}})
	lines := candidateLines(d.answer)
	if len(lines) != 2 || !strings.Contains(d.answer, "a=end-of-candidates") || strings.Contains(d.answer, "ice-options:trickle") {
		t.Fatalf("the answer holds the candidates %q, want host and srflx, complete", lines)
	}
	for _, line := range lines {
		if strings.Contains(line, "ufrag") || strings.Fields(line)[1] != "1" {
			t.Fatalf("candidate line %q", line)
		}
	}
	wait(t, v.up, "the viewer to connect")
	d.connectedEvent()
	for _, event := range d.all {
		if late, ok := event.(*messages.PeerCandidate); ok {
			t.Fatalf("a second time: %v", late)
		}
	}
}

func TestDataChannel(t *testing.T) {
	e := newEngine(t, EngineConfig{DataChannel: true})
	v := newViewer(t, wish{video: true})
	ordered := true
	channel, err := v.pc.CreateDataChannel("chat", &webrtc.DataChannelInit{Ordered: &ordered})
	must(t, err)
	open, back := make(chan struct{}), make(chan webrtc.DataChannelMessage, 4)
	channel.OnOpen(func() { close(open) })
	channel.OnMessage(func(m webrtc.DataChannelMessage) { back <- m })
	d := answerTo(t, e, v, false, PeerConfig{})
	wait(t, open, "the data channel")

	must(t, channel.SendText("ping"))
	if got := next[*messages.PeerData](d); got.Channel != "chat" || !got.Text || string(got.Data) != "ping" {
		t.Fatalf("got %+v", got)
	}
	must(t, d.SendData("chat", true, []byte("pong")))
	if got := wait(t, back, "the answer"); !got.IsString || string(got.Data) != "pong" {
		t.Fatalf("viewer got %+v", got)
	}
	must(t, channel.Send(make([]byte, dataMessageBytesMax+1)))
	must(t, channel.Send([]byte{1, 2}))
	if got := next[*messages.PeerData](d); !got.Oversized || got.Data != nil {
		t.Fatalf("got %d bytes, oversized %v of the oversized message", len(got.Data), got.Oversized)
	}
	if got := next[*messages.PeerData](d); got.Text || string(got.Data) != "\x01\x02" {
		t.Fatalf("got %d bytes, text %v after the oversized message", len(got.Data), got.Text)
	}
	if got := d.Received(); got.DataMessages != 3 || got.DataOversized != 1 {
		t.Fatalf("received %+v", got)
	}
	if err := d.SendData("other", true, nil); err == nil {
		t.Fatal("no error for a channel that is not open")
	}
}

func TestDataChannelSwitchedOff(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v := newViewer(t, wish{video: true})
	channel, err := v.pc.CreateDataChannel("chat", nil)
	must(t, err)
	closed := make(chan struct{})
	channel.OnClose(func() { close(closed) })
	d := answerTo(t, e, v, false, PeerConfig{})
	wait(t, closed, "the data channel to be closed")
	d.connectedEvent()
}

func TestTooManyDataChannels(t *testing.T) {
	e := newEngine(t, EngineConfig{DataChannel: true})
	v := newViewer(t, wish{})
	closed := make(chan struct{}, 64)
	for range dataChannelsMax + 3 {
		channel, err := v.pc.CreateDataChannel("same", nil)
		must(t, err)
		channel.OnClose(func() { closed <- struct{}{} })
	}
	answerTo(t, e, v, false, PeerConfig{})
	for range 3 {
		wait(t, closed, "a channel beyond the limit to be closed")
	}
}

func TestViewerSaysGoodbye(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v, d := connect(t, e, wish{video: true}, PeerConfig{})
	must(t, v.pc.Close())
	if gone := next[*messages.PeerGone](d); gone.Reason != "closed by the viewer" {
		t.Fatalf("reason %q", gone.Reason)
	}
}

func TestViewerVanishes(t *testing.T) {
	e := newEngine(t, EngineConfig{ConsentTimeout: 600 * time.Millisecond})
	v, d := connect(t, e, wish{video: true, audio: true}, PeerConfig{})
	must(t, v.socket.Close()) // as if killed: not a packet more
	if gone := next[*messages.PeerGone](d); gone.Reason != "the viewer does not answer any more" {
		t.Fatalf("reason %q", gone.Reason)
	}
}

func TestViewerNeverComes(t *testing.T) {
	e := newEngine(t, EngineConfig{ConsentTimeout: 400 * time.Millisecond})
	v := newViewer(t, wish{video: true})
	p, answer, err := e.Answer(t.Context(), PeerConfig{}, v.offer(true))
	must(t, err)
	if gone := next[*messages.PeerGone](pump(t, p, answer)); gone.Reason != "no candidate pair works" {
		t.Fatalf("reason %q", gone.Reason)
	}
}

func TestCloseUnblocksEverybody(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	for _, connected := range []bool{false, true} {
		v := newViewer(t, wish{video: true, audio: true})
		p, answer, err := e.Answer(t.Context(), PeerConfig{}, v.offer(false))
		must(t, err)
		if connected {
			v.accept(p, answer, false)
			wait(t, v.up, "the viewer to connect")
		}
		ended := make(chan error, 2)
		go func() { ended <- p.ReadReports(context.Background()) }()
		go func() {
			for {
				if _, err := p.Read(context.Background()); err != nil {
					ended <- err
					return
				}
			}
		}()
		closed := make(chan error, 2)
		go func() { closed <- p.Close() }()
		go func() { closed <- p.Close() }()
		for range 2 {
			must(t, wait(t, closed, "close"))
			if err := wait(t, ended, "the readers"); !errors.Is(err, ErrClosed) {
				t.Fatalf("a reader ended with %v", err)
			}
		}
		must(t, p.Close())
		f, err := NewPacketizer(0).Frame(pictures(t, 1)[0])
		must(t, err)
		if _, _, err := p.WriteFrame(f, 0, len(f.Payloads), 0, false, time.Now()); err == nil {
			t.Fatal("a frame was written to a closed peer")
		}
	}
}

func TestCloseWhileTheEventQueueIsFull(t *testing.T) {
	e := newEngine(t, EngineConfig{DataChannel: true})
	v := newViewer(t, wish{video: true})
	channel, err := v.pc.CreateDataChannel("chat", nil)
	must(t, err)
	open := make(chan struct{})
	channel.OnOpen(func() { close(open) })
	p, answer, err := e.Answer(t.Context(), PeerConfig{}, v.offer(false))
	must(t, err)
	v.accept(p, answer, false)
	wait(t, open, "the data channel")
	for range 2 * eventsMax {
		must(t, channel.SendText("nobody reads this"))
	}
	eventually(t, "the queue to fill", func() bool { return len(p.events) == eventsMax })
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	must(t, wait(t, closed, "close"))
}

func TestReadersEndWithTheirContext(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v := newViewer(t, wish{video: true})
	p, answer, err := e.Answer(t.Context(), PeerConfig{}, v.offer(false))
	must(t, err)
	defer func() { must(t, p.Close()) }()
	reports := func(ctx context.Context) error {
		ended := make(chan error, 1)
		go func() { ended <- p.ReadReports(ctx) }()
		return wait(t, ended, "ReadReports")
	}
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := reports(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("before the connection: %v", err)
	}
	v.accept(p, answer, false)
	wait(t, p.connected, "the connection")
	soon, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := reports(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("while connected: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		if _, err := p.Read(gone); errors.Is(err, context.Canceled) {
			return
		} else if err != nil {
			t.Fatalf("read ended with %v", err)
		}
	}
}

// TestCloseIsBoundedWhileServersAreSilent: what made every leaving viewer of the C reference leak
// its slot (performance.md).
func TestCloseIsBoundedWhileServersAreSilent(t *testing.T) {
	silent, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer func() { _ = silent.Close() }()
	mute, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = mute.Close() }()
	e := newEngine(t, EngineConfig{})
	v := newViewer(t, wish{video: true})
	p, _, err := e.Answer(t.Context(), PeerConfig{IceServers: []messages.IceServer{{
		URLs:     []string{"turn:" + silent.LocalAddr().String() + "?transport=udp", "turn:" + mute.Addr().String() + "?transport=tcp"},
		Username: "u", Password: "p",
	}}}, v.offer(true))
	must(t, err)
	start := time.Now()
	must(t, p.Close())
	if took := time.Since(start); took > 4*time.Second {
		t.Fatalf("close took %v", took)
	}
}

func TestTooManyRemoteCandidates(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v := newViewer(t, wish{video: true})
	p, _, err := e.Answer(t.Context(), PeerConfig{}, v.offer(true))
	must(t, err)
	defer func() { must(t, p.Close()) }()
	if err := p.AddRemoteCandidate(messages.Candidate{Candidate: "candidate:nonsense"}); err == nil {
		t.Fatal("no error for a candidate that is none")
	}
	must(t, p.AddRemoteCandidate(messages.Candidate{})) // end of candidates
	for range remoteCandidatesMax - 2 {
		must(t, p.AddRemoteCandidate(messages.Candidate{Candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host"}))
	}
	if err := p.AddRemoteCandidate(messages.Candidate{Candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host"}); err == nil {
		t.Fatal("no error for a flood of candidates")
	}
}

func TestAnswerEndsWithItsContext(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v := newViewer(t, wish{video: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	servers := []messages.IceServer{{URLs: []string{stunServer(t, time.Hour)}}}
	if _, _, err := e.Answer(ctx, PeerConfig{IceServers: servers}, v.offer(false)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("answer ended with %v", err)
	}
}

func TestSocketsFollowTheMachine(t *testing.T) {
	e, err := NewEngine(EngineConfig{IncludeLoopback: true})
	must(t, err)
	defer func() { must(t, e.Close()) }()
	loopback := func() bool {
		return slices.ContainsFunc(e.sockets.GetListenAddresses(), func(a net.Addr) bool { return a.(*net.UDPAddr).IP.IsLoopback() })
	}
	if !loopback() {
		t.Fatal("no socket on the loopback address")
	}
	e.sockets.loopback = false // as if the interface had gone
	before := len(e.sockets.open)
	must(t, e.sockets.refresh(time.Now().Add(time.Second)))
	if len(e.sockets.current()) > 0 && loopback() || len(e.sockets.open) != before {
		t.Fatal("an address that has just gone is announced, or its socket is closed already")
	}
	must(t, e.sockets.refresh(time.Now().Add(2*addressGoneMax)))
	for addr := range e.sockets.open {
		if addr.IsLoopback() {
			t.Fatal("the socket of an address long gone is still open")
		}
	}
	e.sockets.loopback = true // and back
	must(t, e.sockets.refresh(time.Now().Add(3*addressGoneMax)))
	if !loopback() {
		t.Fatal("an address that came back has no socket")
	}
}

func TestListenAddresses(t *testing.T) {
	for _, listen := range []string{"nonsense", "127.0.0.1:x", "localhost:0", "192.0.2.77:0"} {
		if e, err := NewEngine(EngineConfig{ListenUDP: listen}); err == nil {
			_ = e.Close()
			t.Errorf("listening on %q is no error", listen)
		}
	}
}

// stunServer answers binding requests on loopback after a delay (RFC 8489).
func stunServer(t *testing.T, delay time.Duration) (url string) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFromUDP(buf)
			if err != nil {
				return
			}
			request := &stun.Message{Raw: slices.Clone(buf[:n])}
			if request.Decode() != nil {
				continue
			}
			// An address that nobody uses, so that the candidate is no duplicate of the host's.
			mapped := &stun.XORMappedAddress{IP: net.IPv4(203, 0, 113, 7), Port: from.Port}
			response, err := stun.Build(stun.NewTransactionIDSetter(request.TransactionID), stun.BindingSuccess, mapped, stun.Fingerprint)
			if err == nil {
				time.AfterFunc(delay, func() { _, _ = conn.WriteToUDP(response.Raw, from) })
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return "stun:" + conn.LocalAddr().String()
}
