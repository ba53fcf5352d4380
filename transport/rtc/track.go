package rtc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/webrtc/v4"
)

// track is one RTP stream to one viewer: a webrtc.TrackLocal that writes shared payloads behind
// headers of its own. The payloads are never modified.
type track struct {
	kind messages.Track
	may  []messages.Codec // what the stream may be: what the answer has
	out  *outgoing

	bound atomic.Pointer[binding] // set by Bind, cleared by Unbind, both on pion's goroutines

	// Only WriteFrame touches these. RFC 3550 5.1 wants the index and the RTP time to start at random.
	sends  messages.Codec // of may: what the stream is; empty: nothing has come
	index  uint64         // of the next packet: its sequence number, and above that how often those have wrapped around
	base   uint32
	packet packetHeader
	sizes  []int    // of the packets of a write
	sealed int      // of them
	typed  struct { // as what it goes out
		under       *binding
		payloadType uint8
	}
	toured struct { // the last packet that went through pion
		index uint64
		at    time.Time
	}

	packets uint32
	octets  uint32   // of payload
	live    liveEdge // of the last frame that was live
	told    bool     // a sender report of it has gone out

	history *history // nil for sound, which nobody asks for once more
	again   *resend
}

// liveEdge ties the RTP time of a track to the time its frame was captured.
type liveEdge struct {
	at        time.Time
	timestamp uint32
}

// binding is what negotiation gave the track.
type binding struct {
	ssrc, rtxSSRC          uint32
	payloadTypes           map[messages.Codec]uint8
	rtxPayloadType         uint8 // 0: no retransmission stream (RFC 4588)
	captureTime, transport uint8 // ids of the header extensions, 0 when not negotiated
	writer                 webrtc.TrackLocalWriter
}

const (
	// firstIndexMax leaves the viewer, and pion, half of the sequence numbers to see the first wrap-around
	// coming (RFC 3711 3.3.1).
	firstIndexMax = 1 << 15

	// tourEvery is how long, and for how many packets, pion is left out. It must know the wrap-arounds of a
	// track that it may have to go on with, TURN wants to hear that its channel is in use (RFC 8656 9), and
	// what ends a connection without a word shows.
	tourEvery   = time.Second
	tourPackets = 1 << 12
)

func newTrack(kind messages.Track, may []messages.Codec, out *outgoing) *track {
	t := &track{kind: kind, may: may, out: out, index: rand.Uint64N(firstIndexMax), base: rand.Uint32()}
	if kind == messages.Video {
		t.history, t.again = &history{}, newResend()
	}
	return t
}

// Bind implements webrtc.TrackLocal.
func (t *track) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	formats := chooseCodecs(t.may, c.CodecParameters())
	if len(formats) == 0 {
		return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
	}
	b := &binding{ssrc: uint32(c.SSRC()), payloadTypes: map[messages.Codec]uint8{}, writer: c.WriteStream()}
	for name, format := range formats {
		b.payloadTypes[name] = uint8(format.PayloadType)
	}
	codec := formats[t.may[0]]
	if rtx, ok := rtxOf(codec, c.CodecParameters()); ok && c.SSRCRetransmission() != 0 {
		b.rtxSSRC, b.rtxPayloadType = uint32(c.SSRCRetransmission()), uint8(rtx.PayloadType)
	}
	for _, extension := range c.HeaderExtensions() {
		switch extension.URI {
		case absCaptureTimeURI:
			b.captureTime = uint8(extension.ID)
		case transportCCURI:
			b.transport = uint8(extension.ID)
		}
	}
	t.out.bind(b)
	t.bound.Store(b)
	return codec, nil
}

// Unbind implements webrtc.TrackLocal.
func (t *track) Unbind(webrtc.TrackLocalContext) error {
	if b := t.bound.Swap(nil); b != nil {
		t.out.unbind(b)
	}
	return nil
}

// ID, RID, StreamID and Kind implement webrtc.TrackLocal. Both tracks share the stream id, so that
// the viewer keeps them in step (RFC 8830).
func (t *track) ID() string       { return t.kind.String() }
func (t *track) RID() string      { return "" }
func (t *track) StreamID() string { return "heliograph" }
func (t *track) Kind() webrtc.RTPCodecType {
	return webrtc.NewRTPCodecType(t.kind.String())
}

// takes tells whether a frame of a codec may be sent. The first one that comes says what the stream is; a
// player would not follow another clock (RFC 7160).
func (t *track) takes(codec messages.Codec) bool {
	if t.sends == "" && slices.Contains(t.may, codec) {
		t.sends = codec
	}
	return t.sends == codec
}

// clockHz is the track's RTP clock.
func (t *track) clockHz() int64 {
	switch t.sends {
	case messages.Opus:
		return audioClockHz
	case messages.PCMU, messages.PCMA:
		return g711ClockHz
	}
	return videoClockHz
}

// write sends the payloads of a frame from the one numbered from, packetsMax of them at most. Packets
// that the stack did not take, because DTLS is not done yet, are not counted.
func (t *track) write(f *messages.Frame, from, packetsMax int, pts time.Duration, stamp bool, now time.Time) (packets, bytes int, err error) {
	b := t.bound.Load()
	if b == nil {
		return 0, 0, fmt.Errorf("write %s frame: %w", t.kind, ErrClosed)
	}
	count := min(packetsMax, len(f.Payloads)-from)
	r := run{
		frame: f, from: from, count: count, sequence: uint16(t.index), transport: t.out.number(b, count),
		payloadType: t.payloadType(b), timestamp: t.base + uint32(rtpTime(pts, t.clockHz())), stamped: len(f.Payloads),
	}
	if stamp && b.captureTime != 0 {
		r.stamped = stampFrom(f.Payloads)
	}
	t.out.batch.begin()
	t.sizes, t.sealed = t.sizes[:0], 0
	for i := 0; i < count && err == nil; i++ {
		var n int
		n, err = t.send(b, &r, i, now)
		t.sizes = append(t.sizes, n)
		if n > 0 {
			packets++
			bytes += n
		}
	}
	t.out.sent(b, r.transport, t.sizes, now)
	t.out.counts.sealed.Add(uint64(t.sealed))
	err = errors.Join(err, t.out.batch.end())
	t.index += uint64(count)
	t.note(r, packets, stamp)
	if err != nil {
		return packets, bytes, fmt.Errorf("write %s frame: %w", t.kind, err)
	}
	return packets, bytes, nil
}

// send sends packet i of a run: past pion, when pion has shown the way and need not see this one. It returns
// what went out, 0 while DTLS is not done.
func (t *track) send(b *binding, r *run, i int, now time.Time) (int, error) {
	header, payload := t.packet.fill(b, r, i), r.frame.Payloads[r.from+i]
	index := t.index + uint64(i)
	if s := t.out.sealer.Load(); s != nil && index-t.toured.index < tourPackets && now.Sub(t.toured.at) < tourEvery {
		n, err := t.out.batch.seal(s, header, payload, index)
		if n > 0 {
			t.sealed++
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	t.toured.index, t.toured.at = index, now
	return b.writer.WriteRTP(header, payload)
}

func (t *track) payloadType(b *binding) uint8 {
	if t.typed.under != b {
		t.typed.under, t.typed.payloadType = b, b.payloadTypes[t.sends]
	}
	return t.typed.payloadType
}

// note keeps what a NACK and the next sender report will need of a run.
func (t *track) note(r run, packets int, live bool) {
	if packets == 0 {
		return
	}
	if t.history != nil {
		t.history.add(r)
	}
	t.packets += uint32(packets)
	for _, payload := range r.frame.Payloads[r.from : r.from+r.count] {
		t.octets += uint32(len(payload))
	}
	if live {
		t.live = liveEdge{r.frame.Unit.Captured, r.timestamp}
	}
}
