package rtc

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

// pictures are access units of the built-in sample, cut at its key frames and slices.
func pictures(t *testing.T, n int) []*messages.AccessUnit {
	t.Helper()
	stream, err := os.ReadFile("../../media/sample/sample.h264")
	must(t, err)
	var units []*messages.AccessUnit
	for _, nal := range nalUnits(stream) {
		kind := nal[0] & 0x1f
		if last := len(units) - 1; last < 0 || kind != 5 && kind != 8 { // IDR and PPS follow their SPS
			if len(units) == n {
				return units
			}
			units = append(units, &messages.AccessUnit{
				Track: messages.Video, Codec: messages.H264, KeyFrame: kind == 7,
				PTS: time.Duration(len(units)) * time.Second / 30, Captured: time.Unix(1_700_000_000, int64(len(units))*1000),
			})
		}
		u := units[len(units)-1]
		u.Data = append(append(u.Data, 0, 0, 0, 1), nal...)
	}
	return units
}

func nalUnits(au []byte) [][]byte {
	var nals [][]byte
	for _, part := range bytes.Split(au, []byte{0, 0, 1})[1:] {
		nals = append(nals, bytes.TrimRight(part, "\x00"))
	}
	return nals
}

// receivePicture reads packets up to a marker and returns them with the NAL units they carry.
func (v *viewer) receivePicture() ([]*rtp.Packet, [][]byte) {
	v.t.Helper()
	var packets []*rtp.Packet
	var annexB []byte
	depacketizer := codecs.H264Packet{}
	for {
		p := wait(v.t, v.packets["video"], "a video packet")
		packets = append(packets, p)
		part, err := depacketizer.Unmarshal(p.Payload)
		must(v.t, err)
		annexB = append(annexB, part...)
		if p.Marker {
			return packets, nalUnits(annexB)
		}
	}
}

func TestMediaArrivesInOrderAndByteForByte(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v, d := connect(t, e, wish{video: true, audio: true, extensions: []string{absCaptureTimeURI}}, PeerConfig{})
	z := NewPacketizer(0)
	var sequence, timestamp uint32
	for i, unit := range pictures(t, 65) {
		original := bytes.Clone(unit.Data)
		f, err := z.Frame(unit)
		must(t, err)
		sent, size, err := d.WriteFrame(f, 0, len(f.Payloads), unit.PTS, true, time.Now())
		must(t, err)
		if sent != len(f.Payloads) || size <= len(unit.Data) {
			t.Fatalf("picture %d: %d packets of %d, %d bytes written", i, sent, len(f.Payloads), size)
		}
		packets, nals := v.receivePicture()
		if want := nalUnits(unit.Data); !slices.EqualFunc(nals, want, bytes.Equal) {
			t.Fatalf("picture %d: %d NAL units arrive, not the %d that were sent", i, len(nals), len(want))
		}
		if !bytes.Equal(unit.Data, original) {
			t.Fatalf("picture %d: the shared unit was written to", i)
		}
		for j, p := range packets {
			if i+j > 0 && p.SequenceNumber != uint16(sequence+1) {
				t.Fatalf("picture %d: sequence number %d after %d", i, p.SequenceNumber, sequence)
			}
			if i > 0 && p.Timestamp-timestamp != 3000 && j == 0 {
				t.Fatalf("picture %d: RTP time goes from %d to %d", i, timestamp, p.Timestamp)
			}
			if len(p.Payload) > PayloadBytesMax {
				t.Fatalf("picture %d: payload of %d bytes", i, len(p.Payload))
			}
			sequence, timestamp = uint32(p.SequenceNumber), p.Timestamp
		}
		checkCapture(t, packets, unit.Captured)
	}
}

func checkCapture(t *testing.T, packets []*rtp.Packet, captured time.Time) {
	t.Helper()
	var payloads [][]byte
	for _, p := range packets {
		payloads = append(payloads, p.Payload)
	}
	from := stampFrom(payloads)
	for j, p := range packets {
		var stamp []byte
		for _, id := range p.GetExtensionIDs() {
			stamp = p.GetExtension(id)
		}
		if (stamp != nil) != (j >= from) {
			t.Fatalf("packet %d of %d: capture time % x, want it from packet %d on", j, len(packets), stamp, from)
		}
		if stamp == nil {
			continue
		}
		var extension rtp.AbsCaptureTimeExtension
		must(t, extension.Unmarshal(stamp))
		if off := extension.CaptureTime().Sub(captured).Abs(); off > time.Microsecond {
			t.Fatalf("capture time %v, want %v", extension.CaptureTime(), captured)
		}
	}
}

func TestCaptureTimeOnlyWhenNegotiatedAndWanted(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	unit := pictures(t, 1)[0]
	f, err := NewPacketizer(0).Frame(unit)
	must(t, err)
	for _, c := range []struct {
		name       string
		extensions []string
		stamp      bool
	}{{"not negotiated", nil, true}, {"not wanted", []string{absCaptureTimeURI}, false}} {
		t.Run(c.name, func(t *testing.T) {
			v, d := connect(t, e, wish{video: true, extensions: c.extensions}, PeerConfig{})
			_, _, err := d.WriteFrame(f, 0, len(f.Payloads), 0, c.stamp, time.Now())
			must(t, err)
			packets, _ := v.receivePicture()
			if ids := packets[0].GetExtensionIDs(); len(ids) != 0 {
				t.Fatalf("header extensions %v", ids)
			}
		})
	}
}

func TestAudioArrives(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v, d := connect(t, e, wish{audio: true}, PeerConfig{})
	z := NewPacketizer(0)
	var last *rtp.Packet
	for i := range 5 {
		unit := &messages.AccessUnit{Track: messages.Audio, Codec: messages.Opus, Data: []byte{0x08, byte(i)}, PTS: time.Duration(i) * 20 * time.Millisecond}
		f, err := z.Frame(unit)
		must(t, err)
		_, _, err = d.WriteFrame(f, 0, len(f.Payloads), unit.PTS, true, time.Now())
		must(t, err)
		p := wait(t, v.packets["audio"], "an audio packet")
		if !bytes.Equal(p.Payload, unit.Data) || p.Marker {
			t.Fatalf("packet %d: payload % x, marker %v", i, p.Payload, p.Marker)
		}
		if last != nil && (p.Timestamp-last.Timestamp != 960 || p.SequenceNumber != last.SequenceNumber+1) {
			t.Fatalf("packet %d: RTP time %d after %d, number %d after %d", i, p.Timestamp, last.Timestamp, p.SequenceNumber, last.SequenceNumber)
		}
		last = p
	}
	if n, _, err := d.WriteFrame(&messages.Frame{Unit: &messages.AccessUnit{Track: messages.Video}, Payloads: [][]byte{{1}}}, 0, 1, 0, false, time.Now()); n != 0 || err != nil {
		t.Fatalf("a track that was not negotiated: %d packets, error %v", n, err)
	}
}

// G.711 goes to those who take it as it is, on its own clock; who talks is still asked for Opus.
func TestG711ArrivesAsItIs(t *testing.T) {
	for _, c := range []struct {
		codec  messages.Codec
		number uint8
		talk   bool
	}{{messages.PCMU, payloadTypePCMU, false}, {messages.PCMA, payloadTypePCMA, false}, {messages.PCMA, payloadTypePCMA, true}} {
		v, d := connect(t, newEngine(t, EngineConfig{}), wish{video: true, audio: true, talk: c.talk}, PeerConfig{Audio: c.codec, Sound: c.talk})
		z := NewPacketizer(0)
		sound := bytes.Repeat([]byte{0xd5, 0x55}, 80)
		for i := range time.Duration(3) {
			frame, err := z.Frame(&messages.AccessUnit{Track: messages.Audio, Codec: c.codec, Data: sound, Captured: time.Now()})
			must(t, err)
			_, _, err = d.WriteFrame(frame, 0, len(frame.Payloads), i*20*time.Millisecond, true, time.Now())
			must(t, err)
		}
		var first uint32
		for i := range uint32(3) {
			packet := wait(t, v.packets["audio"], "sound")
			if i == 0 {
				first = packet.Timestamp
			}
			if packet.PayloadType != c.number || !bytes.Equal(packet.Payload, sound) || packet.Timestamp-first != i*160 {
				t.Errorf("%s: payload type %d, %d bytes, %d ticks after the first", c.codec, packet.PayloadType, len(packet.Payload), packet.Timestamp-first)
			}
		}
		_, audio, _ := strings.Cut(d.answer, "m=audio")
		opus, g711 := strings.Index(audio, "opus/48000"), strings.Index(audio, string(c.codec)+"/8000")
		if g711 < 0 || (opus >= 0) != c.talk || opus > g711 {
			t.Errorf("%s, talks %v: the answer has m=audio%s", c.codec, c.talk, audio)
		}
		if c.talk {
			must(t, v.talk.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2}, Payload: []byte{0xf8, 0xff, 0xfe}}))
			if heard := next[*messages.PeerSound](d); !bytes.Equal(heard.Sound.Data, []byte{0xf8, 0xff, 0xfe}) {
				t.Errorf("what the viewer said came as %x", heard.Sound.Data)
			}
		}
	}
}

// A viewer that comes before the source has made a sound gets what it turns out to be, and no other later.
func TestSoundThatIsNotKnownYet(t *testing.T) {
	v, d := connect(t, newEngine(t, EngineConfig{}), wish{video: true, audio: true}, PeerConfig{})
	z := NewPacketizer(0)
	write := func(codec messages.Codec, pts time.Duration) (int, error) {
		frame, err := z.Frame(&messages.AccessUnit{Track: messages.Audio, Codec: codec, Data: []byte{1, 2}})
		must(t, err)
		packets, _, err := d.WriteFrame(frame, 0, 1, pts, true, time.Now())
		return packets, err
	}
	var times []uint32
	for i := range time.Duration(2) {
		if packets, err := write(messages.PCMU, i*time.Second); packets != 1 || err != nil {
			t.Fatalf("%d packets, %v", packets, err)
		}
		packet := wait(t, v.packets["audio"], "a packet of sound")
		if packet.PayloadType != payloadTypePCMU {
			t.Errorf("payload type %d", packet.PayloadType)
		}
		times = append(times, packet.Timestamp)
	}
	if times[1]-times[0] != g711ClockHz {
		t.Errorf("a second is %d ticks", times[1]-times[0])
	}
	if _, err := write(messages.Opus, 2*time.Second); err == nil || !strings.Contains(err.Error(), "must offer again") {
		t.Errorf("sound that has become Opus: %v", err)
	}
}

// A viewer that takes no G.711 watches without sound.
func TestG711IsLeftOutForThoseWithoutIt(t *testing.T) {
	v := newViewer(t, wish{video: true, audio: true})
	offer := withoutLines(v.offer(false), "a=rtpmap:0 ", "a=rtpmap:8 ")
	p, answer, err := newEngine(t, EngineConfig{}).Answer(t.Context(), PeerConfig{Audio: messages.PCMA}, strings.Replace(offer, " 0 8", "", 1))
	must(t, err)
	defer func() { must(t, p.Close()) }()
	frame, err := NewPacketizer(0).Frame(&messages.AccessUnit{Track: messages.Audio, Codec: messages.PCMA, Data: []byte{1}})
	must(t, err)
	if packets, _, err := p.WriteFrame(frame, 0, 1, 0, true, time.Now()); packets != 0 || err != nil || strings.Contains(answer, "PCMA") {
		t.Errorf("%d packets, %v, answer\n%s", packets, err, answer)
	}
}

func TestTransportWideNumbersWhenSwitchedOn(t *testing.T) {
	const uri = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	unit := pictures(t, 1)[0]
	f, err := NewPacketizer(0).Frame(unit)
	must(t, err)
	for _, on := range []bool{false, true} {
		e := newEngine(t, EngineConfig{TWCC: on})
		v, d := connect(t, e, wish{video: true, extensions: []string{uri}}, PeerConfig{})
		_, _, err := d.WriteFrame(f, 0, len(f.Payloads), 0, false, time.Now())
		must(t, err)
		packets, _ := v.receivePicture()
		if got := len(packets[0].GetExtensionIDs()) == 1; got != on {
			t.Fatalf("TWCC %v: numbered %v", on, got)
		}
		if got := strings.Contains(d.answer, "transport-wide-cc"); got != on {
			t.Fatalf("TWCC %v: in the answer %v", on, got)
		}
	}
}

func TestFeedbackTellsWhatThePathCarries(t *testing.T) {
	e := newEngine(t, EngineConfig{TWCC: true})
	_, d := connect(t, e, wish{video: true, feedback: true}, PeerConfig{})
	if got := d.Estimate(); got.Bps != estimateStartBps || got.Limited || got.RoundTrip != 0 {
		t.Fatalf("before the first frame: %+v", got)
	}
	f, err := NewPacketizer(0).Frame(pictures(t, 1)[0])
	must(t, err)
	eventually(t, "a round trip", func() bool {
		_, _, err := d.WriteFrame(f, 0, 4, 0, false, time.Now())
		must(t, err)
		return d.Estimate().RoundTrip > 0
	})
	_, silent := connect(t, newEngine(t, EngineConfig{}), wish{video: true, feedback: true}, PeerConfig{})
	if got := silent.Estimate(); got != (Estimate{}) {
		t.Fatalf("with TWCC switched off: %+v", got)
	}
}

func TestKeyFrameWishes(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v, d := connect(t, e, wish{video: true, audio: true}, PeerConfig{})
	f, err := NewPacketizer(0).Frame(pictures(t, 1)[0])
	must(t, err)
	_, _, err = d.WriteFrame(f, 0, len(f.Payloads), 0, false, time.Now())
	must(t, err)
	ssrc := uint32(wait(t, v.tracks, "the track").SSRC())
	for _, packet := range []rtcp.Packet{
		&rtcp.PictureLossIndication{MediaSSRC: ssrc},
		&rtcp.FullIntraRequest{MediaSSRC: ssrc, FIR: []rtcp.FIREntry{{SSRC: ssrc, SequenceNumber: 1}}},
	} {
		must(t, v.pc.WriteRTCP([]rtcp.Packet{packet}))
		next[*messages.PeerKeyFrameWish](d)
	}
}

// A lost packet comes again: on a stream of its own when the viewer knows RTX (RFC 4588), else as it was.
func TestLostPacketIsSentAgain(t *testing.T) {
	for name, codecs := range map[string]func(*webrtc.MediaEngine) error{"retransmission stream": nil, "same stream": videoAndOldAudio} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, EngineConfig{TWCC: true})
			var media int
			lose := func(packet []byte) bool { // the second RTP packet, once
				if _, rtp := ssrcOf(packet); rtp {
					media++
				}
				return media == 2
			}
			v, d := connect(t, e, wish{video: true, lose: lose, codecs: codecs, extensions: []string{transportCCURI}}, PeerConfig{})
			z := NewPacketizer(0)
			lost, err := z.Frame(pictures(t, 1)[0])
			must(t, err)
			if again := d.tracks[messages.Video].Load().bound.Load().rtxPayloadType != 0; again != (codecs == nil) {
				t.Fatalf("retransmission stream negotiated: %v", again)
			}
			_, _, err = d.WriteFrame(lost, 0, len(lost.Payloads), 0, false, time.Now())
			must(t, err)
			later := &messages.Frame{Unit: lost.Unit, Payloads: [][]byte{{0x41, 1}}}
			polls := 0
			eventually(t, "the packet that was lost", func() bool {
				if polls++; polls%20 == 0 { // pion passes a repaired packet on with the next one
					_, _, err = d.WriteFrame(later, 0, 1, 0, false, time.Now())
					must(t, err)
				}
				return v.has(lost.Payloads[1])
			})
			if got := d.Resent(); got.Sent == 0 || got.Late+got.Refused > 0 {
				t.Fatalf("resent %+v", got)
			}
		})
	}
}

func TestResendsAreBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for name, c := range map[string]struct {
		path        Estimate
		least, most int // of 10,000 packets asked for within a second
	}{
		"no limit":   {Estimate{Bps: 300_000}, 2000, 2100},
		"narrow":     {Estimate{Bps: 300_000, Limited: true}, 15, 30},
		"wide limit": {Estimate{Bps: 50_000_000, Limited: true}, 2000, 2100},
	} {
		t.Run(name, func(t *testing.T) {
			a, sent := newResend(), 0
			for i := range 10_000 {
				at := now.Add(time.Duration(i) * 100 * time.Microsecond)
				a.limit(c.path, at)
				if a.budget.AllowN(at, 1) {
					sent++
				}
			}
			if sent < c.least || sent > c.most {
				t.Fatalf("%d packets, want %d to %d", sent, c.least, c.most)
			}
		})
	}
}

// has tells whether a payload is among the video packets that have come so far.
func (v *viewer) has(payload []byte) bool {
	for {
		select {
		case p := <-v.packets["video"]:
			if bytes.Equal(p.Payload, payload) {
				return true
			}
		default:
			return false
		}
	}
}

func TestTalkBackIsCounted(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v, d := connect(t, e, wish{video: true, talk: true}, PeerConfig{})
	if !strings.Contains(d.answer, "a=sendrecv") {
		t.Fatal("the answer does not take the viewer's audio")
	}
	sequence := uint16(0)
	eventually(t, "ten packets of the microphone", func() bool {
		must(t, v.talk.WriteRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: sequence, Timestamp: uint32(sequence) * 960},
			Payload: []byte{0x08, 1, 2},
		}))
		sequence++
		return d.Received().AudioPackets >= 10
	})
}

func TestThreeViewersShareOneSocket(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	f, err := NewPacketizer(0).Frame(pictures(t, 1)[0])
	must(t, err)
	ports := map[string]bool{}
	var viewers []*viewer
	var devices []*device
	for range 3 {
		v, d := connect(t, e, wish{video: true}, PeerConfig{})
		viewers, devices = append(viewers, v), append(devices, d)
		for _, line := range candidateLines(d.answer) {
			ports[strings.Fields(line)[5]] = true
		}
	}
	if len(ports) != 1 {
		t.Fatalf("host candidates on ports %v, want one shared port", ports)
	}
	ssrcs := map[uint32]bool{}
	for i := range viewers {
		_, _, err := devices[i].WriteFrame(f, 0, len(f.Payloads), 0, false, time.Now())
		must(t, err)
		packets, nals := viewers[i].receivePicture()
		if want := nalUnits(f.Unit.Data); !slices.EqualFunc(nals, want, bytes.Equal) {
			t.Fatalf("viewer %d gets another picture", i)
		}
		ssrcs[packets[0].SSRC] = true
	}
	if len(ssrcs) != 3 {
		t.Fatalf("%d SSRCs for three viewers", len(ssrcs))
	}
}

// Where sound is wanted each packet becomes an event, but for a browser's probes, which are empty.
func TestTalkBackBecomesEvents(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	v, d := connect(t, e, wish{video: true, talk: true}, PeerConfig{Sound: true})
	for sequence := range uint16(20) {
		payload := []byte{0x08, byte(sequence)}
		if sequence%2 == 1 {
			payload = nil
		}
		must(t, v.talk.WriteRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: 100 + sequence, Timestamp: uint32(sequence) * 960},
			Payload: payload,
		}))
	}
	for range 3 {
		got := next[*messages.PeerSound](d).Sound
		n := got.Sequence - 100
		if n%2 != 0 || got.Timestamp != uint32(n)*960 || !bytes.Equal(got.Data, []byte{0x08, byte(n)}) {
			t.Fatalf("got %+v", got)
		}
	}
}
