package rtc

import (
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

func TestRestartKeepsTheStream(t *testing.T) {
	for _, trickle := range []bool{false, true} {
		e := newEngine(t, EngineConfig{TWCC: true})
		v, d := connect(t, e, wish{video: true, audio: true, trickle: trickle}, PeerConfig{})
		first, initial := v.pc.RemoteDescription().SDP, v.pc.LocalDescription().SDP
		packetizer := NewPacketizer(0)
		send := func(units []*messages.AccessUnit) {
			for _, unit := range units {
				f, err := packetizer.Frame(unit)
				must(t, err)
				_, _, err = d.WriteFrame(f, 0, len(f.Payloads), unit.PTS, true, time.Now())
				must(t, err)
			}
		}
		units := pictures(t, 20)
		send(units[:10])
		var last []*rtp.Packet
		for range 10 { // what is on its way when pion restarts is lost on the viewer
			last, _ = v.receivePicture()
		}

		v.mu.Lock()
		v.peer, v.candidates = nil, nil // held until the answer is there
		v.mu.Unlock()
		offer := v.offerAgain(trickle, true)
		if session := SessionOf(offer); session == "" || session != SessionOf(initial) {
			t.Fatalf("the offers have the sessions %q and %q", SessionOf(initial), session)
		}
		answer, restarted, err := e.Renew(t.Context(), d.Peer, PeerConfig{}, offer)
		must(t, err)
		if !restarted || attribute(answer, "ice-ufrag") == attribute(first, "ice-ufrag") || attribute(answer, "fingerprint") != attribute(first, "fingerprint") {
			t.Fatalf("restarted %v; ICE credentials must change, the certificate must not", restarted)
		}
		if len(candidateLines(answer)) == 0 {
			t.Fatal("no candidate in the answer")
		}
		v.accept(d.Peer, answer, trickle)
		if resumed := next[*messages.PeerResumed](d); resumed.Pair == "" {
			t.Fatal("resumed without a pair")
		}
		send(units[10:])
		for range 10 {
			packets, _ := v.receivePicture()
			if before := last[len(last)-1].SequenceNumber; packets[0].SequenceNumber != before+1 {
				t.Fatalf("a picture begins with packet %d after %d", packets[0].SequenceNumber, before)
			}
			last = packets
		}
	}
}

// A viewer that takes the picture later than the sound gets it, and is heard about it.
func TestRenewedOfferAddsVideo(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v, d := connect(t, e, wish{audio: true}, PeerConfig{})
	f, err := NewPacketizer(0).Frame(pictures(t, 1)[0])
	must(t, err)
	if n, _, err := d.WriteFrame(f, 0, len(f.Payloads), 0, true, time.Now()); n != 0 || err != nil {
		t.Fatalf("%d packets, %v, before there is a section for them", n, err)
	}
	_, err = v.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	must(t, err)
	answer, restarted, err := e.Renew(t.Context(), d.Peer, PeerConfig{}, v.offerAgain(false, false))
	must(t, err)
	if restarted {
		t.Fatal("ICE was restarted")
	}
	v.accept(d.Peer, answer, false)
	_, _, err = d.WriteFrame(f, 0, len(f.Payloads), 0, true, time.Now())
	must(t, err)
	v.receivePicture()
	track := wait(t, v.tracks, "the track")
	must(t, v.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}}))
	next[*messages.PeerKeyFrameWish](d)
}

// A renewed offer that restarts nothing, because it repeats the last one, interrupts nothing.
func TestRepeatedOfferRestartsNothing(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v, d := connect(t, e, wish{video: true}, PeerConfig{})
	answer, restarted, err := e.Renew(t.Context(), d.Peer, PeerConfig{}, v.offerAgain(false, false))
	must(t, err)
	if restarted {
		t.Fatal("ICE was restarted")
	}
	v.accept(d.Peer, answer, false)
	f, err := NewPacketizer(0).Frame(pictures(t, 1)[0])
	must(t, err)
	_, _, err = d.WriteFrame(f, 0, len(f.Payloads), 0, true, time.Now())
	must(t, err)
	v.receivePicture()
}

func TestViewerThatVanishesInARestartIsGone(t *testing.T) {
	e := newEngine(t, EngineConfig{ConsentTimeout: 400 * time.Millisecond})
	v, d := connect(t, e, wish{video: true}, PeerConfig{})
	offer := v.offerAgain(true, true)
	must(t, v.socket.Close())
	if _, _, err := e.Renew(t.Context(), d.Peer, PeerConfig{}, offer); err != nil {
		t.Fatal(err)
	}
	next[*messages.PeerGone](d)
}

func TestSessionTellsConnectionsApart(t *testing.T) {
	one, other := newViewer(t, wish{video: true}), newViewer(t, wish{video: true})
	first := SessionOf(one.offer(true))
	if first == "" || first == SessionOf(other.offer(true)) {
		t.Fatal("two connections have one session, or none")
	}
	for _, bad := range []string{"", "v=0", "m=video", strings.Repeat("x", offerBytesMax+1)} {
		if SessionOf(bad) != "" {
			t.Fatalf("%.10q has a session", bad)
		}
	}
}

func TestRejectedOfferIsUnderstood(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v := newViewer(t, wish{video: true, audio: true, data: true})
	_, err := v.pc.CreateDataChannel("chat", nil)
	must(t, err)
	offer := v.offer(true)
	answer, err := e.Reject(offer, "all slots are taken")
	must(t, err)
	must(t, v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}))
	if got, want := strings.Count(answer, "\nm="), strings.Count(offer, "\nm="); got != want || strings.Count(answer, " 0 UDP/") != want {
		t.Fatalf("%d sections of %d, not all at port 0", got, want)
	}
	if !strings.Contains(answer, "\r\ni=all slots are taken\r\n") {
		t.Fatal("the answer does not say why")
	}
	if _, err := e.Reject("v=0", ""); err == nil {
		t.Fatal("what is no offer was rejected with an answer")
	}
}

// attribute is the first value of an attribute in a description.
func attribute(sdp, key string) string {
	_, rest, _ := strings.Cut(sdp, "a="+key+":")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}
