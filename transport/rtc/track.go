package rtc

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// track is one RTP stream to one viewer: a webrtc.TrackLocal that writes shared payloads behind
// headers of its own. The payloads are never modified.
type track struct {
	kind  messages.Track
	codec webrtc.RTPCodecParameters

	bound atomic.Pointer[binding] // set by Bind, cleared by Unbind, both on pion's goroutines

	// Only WriteFrame touches these. RFC 3550 5.1 wants both to start at random.
	sequence uint16
	base     uint32
}

// binding is what negotiation gave the track.
type binding struct {
	ssrc        uint32
	payloadType uint8
	captureTime uint8 // id of the abs-capture-time extension, 0 when not negotiated
	writer      webrtc.TrackLocalWriter
}

func newTrack(kind messages.Track, codec webrtc.RTPCodecParameters) *track {
	return &track{kind: kind, codec: codec, sequence: uint16(rand.Uint32()), base: rand.Uint32()}
}

// Bind implements webrtc.TrackLocal.
func (t *track) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	codec, ok := chooseCodec(t.kind, c.CodecParameters())
	if !ok {
		return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
	}
	b := &binding{ssrc: uint32(c.SSRC()), payloadType: uint8(codec.PayloadType), writer: c.WriteStream()}
	for _, extension := range c.HeaderExtensions() {
		if extension.URI == absCaptureTimeURI {
			b.captureTime = uint8(extension.ID)
		}
	}
	t.bound.Store(b)
	return codec, nil
}

// Unbind implements webrtc.TrackLocal.
func (t *track) Unbind(webrtc.TrackLocalContext) error {
	t.bound.Store(nil)
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

// clockHz is the track's RTP clock.
func (t *track) clockHz() int64 {
	if t.kind == messages.Audio {
		return audioClockHz
	}
	return videoClockHz
}

// write sends one frame. Packets that the stack did not take, because DTLS is not done yet, are not
// counted.
func (t *track) write(f *messages.Frame, pts time.Duration, stamp bool) (packets, bytes int, err error) {
	b := t.bound.Load()
	if b == nil {
		return 0, 0, fmt.Errorf("write %s frame: %w", t.kind, ErrClosed)
	}
	timestamp := t.base + uint32(rtpTime(pts, t.clockHz()))
	for i, payload := range f.Payloads {
		header := &rtp.Header{
			Version: 2, SSRC: b.ssrc, PayloadType: b.payloadType,
			SequenceNumber: t.sequence, Timestamp: timestamp,
			// RFC 6184 5.1: the last packet of a picture. Opus: RFC 7587 4.2 leaves it to the start of
			// talk-spurts, which a continuous stream has none of.
			Marker: t.kind == messages.Video && i == len(f.Payloads)-1,
		}
		t.sequence++
		if i == 0 && stamp && b.captureTime != 0 {
			if err := stampCapture(header, b.captureTime, f.Unit.Captured); err != nil {
				return packets, bytes, fmt.Errorf("stamp %s frame: %w", t.kind, err)
			}
		}
		n, err := b.writer.WriteRTP(header, payload)
		if err != nil {
			return packets, bytes, fmt.Errorf("write %s frame: %w", t.kind, err)
		}
		if n > 0 {
			packets++
			bytes += n
		}
	}
	return packets, bytes, nil
}

func stampCapture(header *rtp.Header, id uint8, captured time.Time) error {
	payload, err := rtp.NewAbsCaptureTimeExtension(captured).Marshal()
	if err != nil {
		return err
	}
	return header.SetExtension(id, payload)
}

// rtpTime converts to the nearest tick. pts * rate alone would overflow after a day.
func rtpTime(pts time.Duration, rate int64) int64 {
	seconds, rest := int64(pts/time.Second), int64(pts%time.Second)
	return seconds*rate + (rest*rate+int64(time.Second)/2)/int64(time.Second)
}
