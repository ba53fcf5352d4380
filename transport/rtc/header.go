package rtc

import (
	"encoding/binary"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtp"
)

// packetHeader is a header with its extensions, filled anew for each packet so that none is allocated.
type packetHeader struct {
	rtp       rtp.Header
	transport [2]byte
	captured  [8]byte
}

// fill makes the header of packet i of a run.
func (h *packetHeader) fill(b *binding, r *run, i int) *rtp.Header {
	last := r.from+i == len(r.frame.Payloads)-1
	h.rtp = rtp.Header{
		Version: 2, SSRC: b.ssrc, PayloadType: r.payloadType, SequenceNumber: r.sequence + uint16(i), Timestamp: r.timestamp,
		// RFC 6184 5.1: the last packet of a picture. Opus: RFC 7587 4.2 leaves it to the start of
		// talk-spurts, which a continuous stream has none of.
		Marker:     last && r.frame.Unit.Track == messages.Video,
		Extensions: h.rtp.Extensions[:0],
	}
	h.number(b, r.transport+uint16(i))
	if r.from+i >= r.stamped {
		binary.BigEndian.PutUint64(h.captured[:], ntpTime(r.frame.Unit.Captured))
		_ = h.rtp.SetExtension(b.captureTime, h.captured[:]) // as below
	}
	return &h.rtp
}

// stampBytes is what the capture time adds to a header that has an extension already, or not (RFC 8285 4.2).
const stampBytes = 12

// stampFrom is the first payload of a frame whose packet carries the capture time: the last one, because
// that is shorter than the others as a rule, and packets of one size leave in one send. Where it is not,
// as with slices of one size, all carry it for the same reason.
func stampFrom(payloads [][]byte) int {
	last := len(payloads) - 1
	if last == 0 {
		return 0
	}
	size, end := len(payloads[0]), len(payloads[last])
	if len(payloads[last-1]) == size && end <= size && size < end+stampBytes {
		return 0
	}
	return last
}

// number sets the transport-wide number of a packet.
func (h *packetHeader) number(b *binding, transport uint16) {
	if b.transport != 0 {
		binary.BigEndian.PutUint16(h.transport[:], transport)
		_ = h.rtp.SetExtension(b.transport, h.transport[:]) // fails for ids that SDP does not allow either
	}
}

// ntpEpoch is the start of NTP's time (RFC 5905 6), in seconds of Unix time.
const ntpEpoch = -2_208_988_800

// ntpTime is a time as RTCP and abs-capture-time write it: 32 bits of seconds, 32 of their fraction.
func ntpTime(t time.Time) uint64 {
	return uint64(t.Unix()-ntpEpoch)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// rtpTime converts to the nearest tick. pts * rate alone would overflow after a day.
func rtpTime(pts time.Duration, rate int64) int64 {
	seconds, rest := int64(pts/time.Second), int64(pts%time.Second)
	return seconds*rate + (rest*rate+int64(time.Second)/2)/int64(time.Second)
}
