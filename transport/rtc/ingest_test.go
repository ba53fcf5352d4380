package rtc

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtp"
)

// sdpAnswer is an answer of two sections, each as its lines say.
func sdpAnswer(video, audio string) string {
	return "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" + video + audio
}

func TestCheckAnswer(t *testing.T) {
	const (
		h264 = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 H264/90000\r\n"
		opus = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n"
		send = "a=sendonly\r\n"
		take = "a=recvonly\r\n"
	)
	for _, c := range []struct {
		name, answer string
		viewer       bool
		reason       string // a word of it; empty: accepted
	}{
		{"master", sdpAnswer(h264+send, opus+send), false, ""},
		{"master that also takes sound", sdpAnswer(h264+send, opus), false, ""},
		{"viewer", sdpAnswer(h264+take, opus+take), true, ""},
		{"viewer that also sends sound", sdpAnswer(h264+take, opus+"a=sendrecv\r\n"), true, ""},
		{"garbage", "garbage", false, "not SDP"},
		{"too long", strings.Repeat("x", offerBytesMax+1), false, "64 KiB"},
		{"no video", sdpAnswer("", opus+send), false, "takes no video"},
		{"no audio", sdpAnswer(h264+send, ""), false, "takes no audio"},
		{"rejected video", sdpAnswer(strings.Replace(h264, "video 9", "video 0", 1)+send, opus+send), false, "takes no video"},
		{"other codec", sdpAnswer(strings.Replace(h264, "H264", "VP8", 1)+send, opus+send), false, "H264"},
		{"codec of no format", sdpAnswer(strings.Replace(h264, "rtpmap:96", "rtpmap:97", 1)+send, opus+send), false, "H264"},
		{"other sound", sdpAnswer(h264+send, strings.Replace(opus, "opus", "PCMU", 1)+send), false, "opus"},
		{"master that only receives", sdpAnswer(h264+take, opus+send), false, "does not send video"},
		{"silent master", sdpAnswer(h264+send, opus+"a=inactive\r\n"), false, "does not send audio"},
		{"viewer that only sends", sdpAnswer(h264+send, opus+take), true, "does not receive video"},
		{"viewer with a camera", sdpAnswer(h264, opus+take), true, "may not send video"},
	} {
		listens, err := checkAnswer(c.answer, c.viewer)
		if want := err == nil && !strings.HasSuffix(c.answer, send); listens != want {
			t.Errorf("%s: listens %v", c.name, listens)
		}
		refused, ok := errors.AsType[*AnswerError](err)
		if ok != (c.reason != "") || ok && !strings.Contains(refused.Reason, c.reason) {
			t.Errorf("%s: %v, want %q", c.name, err, c.reason)
		}
	}
}

// A viewer's stream goes on when the master is another: numbers follow on, the old one's stragglers and
// the extensions are left out.
func TestFeedJoinsMasters(t *testing.T) {
	f, err := NewFeed(nil)
	must(t, err)
	old, young := &Participant{}, &Participant{}
	at := time.Now()
	packet := func(from *Participant, sequence uint16, timestamp uint32) *rtp.Packet {
		p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: sequence, Timestamp: timestamp}}
		must(t, p.SetExtension(1, []byte{1}))
		f.write(from, messages.Video, p, at)
		return p
	}
	f.From(old)
	first := packet(old, 65_535, 1000)
	late := packet(old, 65_534, 1000)
	second := packet(old, 0, 4000)
	if second.SequenceNumber-first.SequenceNumber != 1 || late.SequenceNumber-first.SequenceNumber != 65_535 || second.Timestamp-first.Timestamp != 3000 {
		t.Errorf("numbers %d %d %d", first.SequenceNumber, late.SequenceNumber, second.SequenceNumber)
	}
	if second.Extension || len(second.Extensions) != 0 {
		t.Error("the master's extensions were passed on")
	}
	f.From(young)
	if straggler := packet(old, 1, 7000); !straggler.Extension {
		t.Error("the old master was still heard")
	}
	at = at.Add(2 * time.Second) // of outage
	if next := packet(young, 500, 77); next.SequenceNumber-second.SequenceNumber != 1 || next.Timestamp-second.Timestamp != 2*videoClockHz {
		t.Errorf("the young master begins at %d %d behind %d %d", next.SequenceNumber, next.Timestamp, second.SequenceNumber, second.Timestamp)
	}
}

// The offer holds what a storage session wants, fits into a signaling message, and leaves candidates to
// trickling (kvs-protocol.md 3.6, 4.3, 4.4).
func TestStorageOffer(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	for viewer, direction := range map[bool]string{false: "a=recvonly", true: "a=sendonly"} { // of video
		f, err := NewFeed(nil)
		must(t, err)
		s, offer, err := e.Offer(PeerConfig{}, f, viewer)
		must(t, err)
		if strings.Count(offer, direction) != 1 || strings.Count(offer, "a=sendrecv") != 1 || strings.Count(offer, "m=") != 2 || len(offer) > 7000 {
			t.Errorf("%d bytes, want a section of %s and one of both ways:\n%s", len(offer), direction, offer)
		}
		for _, line := range []string{" H264/90000", " opus/48000/2", "a=setup:actpass", "trickle"} {
			if !strings.Contains(offer, line) {
				t.Errorf("the offer lacks %s", line)
			}
		}
		if strings.Contains(offer, "a=candidate") || strings.Contains(offer, "m=application") {
			t.Errorf("the offer holds too much:\n%s", offer)
		}
		event, err := s.Read(t.Context())
		must(t, err)
		if c, ok := event.(*messages.PeerCandidate); !ok || c.Candidate.SDPMid != nil || *c.Candidate.SDPMLineIndex != 0 {
			t.Errorf("the first event is %+v", event)
		}
		if err := s.RequestKeyFrame(); err != nil {
			t.Errorf("before there is video: %v", err)
		}
		if err := s.Accept(sdpAnswer("m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 H264/90000\r\n"+strings.Replace(direction, "send", "recv", 1)+"\r\n",
			"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\na=sendrecv\r\n")); err == nil {
			t.Error("an answer without ICE credentials was accepted")
		}
		must(t, s.Close())
		if _, err := s.Read(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}
