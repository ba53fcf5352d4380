package rtc

import (
	"encoding/binary"
	"iter"
	"time"
)

const (
	// referenceUnit and referenceBits of the reference time: transport-wide-cc-01 3.1. It wraps around
	// every 12 days.
	referenceUnit = 64 * time.Millisecond
	referenceBits = 24
)

// referenceClock unwraps reference times.
type referenceClock struct {
	units int64
}

// at returns the reference time that is nearest to the one before, so that feedback may be reordered
// and the time may wrap around.
func (c *referenceClock) at(wrapped uint32) time.Duration {
	const unused = 32 - referenceBits
	step := int32((wrapped-uint32(c.units))<<unused) >> unused
	c.units += int64(step)
	return time.Duration(c.units) * referenceUnit
}

// feedback is what a viewer says of the packets' arrival (transport-wide-cc-01 3.1), read where it lies:
// ten viewers send a hundred of it a second, and pion makes an object for each packet that one speaks of.
type feedback struct {
	base      uint16 // number of the first packet
	count     uint16 // packets that it speaks of
	reference uint32 // in referenceUnit, referenceBits of it
	chunks    []byte
	deltas    []byte
}

// What a feedback is made of, 3.1 to 3.1.5.
const (
	feedbackHeadBytes = 20 // RTCP's header, two SSRCs, what comes before the chunks
	chunkBytes        = 2
	chunkVector       = 1 << 15 // a symbol for each packet; else one for all of a run
	chunkTwoBits      = 1 << 14 // of a vector: its symbols have two bits
	chunkRunMask      = 1<<13 - 1
	chunkOnes         = 14 // symbols of a vector with one bit each
	chunkTwos         = 7
	deltaUnit         = 250 * time.Microsecond

	symbolMissing = 0
	symbolSmall   = 1 // a delta of a byte
	symbolLarge   = 2 // a delta of two, which may be negative
)

// readFeedback takes an RTCP packet of that kind. false: it is shorter than it says.
func readFeedback(packet []byte) (f feedback, ok bool) {
	if len(packet) < feedbackHeadBytes {
		return f, false
	}
	f.base, f.count = binary.BigEndian.Uint16(packet[12:]), binary.BigEndian.Uint16(packet[14:])
	f.reference = binary.BigEndian.Uint32(packet[16:]) >> 8
	rest := packet[feedbackHeadBytes:]
	for left := int(f.count); left > 0; rest = rest[chunkBytes:] {
		if len(rest) < chunkBytes {
			return f, false
		}
		left -= chunkLength(binary.BigEndian.Uint16(rest))
	}
	f.chunks, f.deltas = packet[feedbackHeadBytes:len(packet)-len(rest)], rest
	return f, true
}

// chunkLength is how many packets a chunk speaks of.
func chunkLength(chunk uint16) int {
	switch {
	case chunk&chunkVector == 0:
		return int(chunk & chunkRunMask)
	case chunk&chunkTwoBits == 0:
		return chunkOnes
	}
	return chunkTwos
}

// chunkSymbol is what it says of one of them.
func chunkSymbol(chunk uint16, i int) uint16 {
	switch {
	case chunk&chunkVector == 0:
		return chunk >> 13 & 3
	case chunk&chunkTwoBits == 0:
		return chunk >> (chunkOnes - 1 - i) & 1
	}
	return chunk >> (2 * (chunkTwos - 1 - i)) & 3
}

// status is what a feedback says of one packet.
type status struct {
	received bool
	at       time.Duration // on the viewer's clock, when received
}

// statuses yields the number and status of the packets that the feedback speaks of. One that makes no
// sense from some point on ends there.
func (f *feedback) statuses(reference time.Duration) iter.Seq2[uint16, status] {
	return func(yield func(uint16, status) bool) {
		seq, at, deltas, left := f.base, reference, f.deltas, int(f.count)
		for chunks := f.chunks; len(chunks) >= chunkBytes; chunks = chunks[chunkBytes:] {
			chunk := binary.BigEndian.Uint16(chunks)
			length := min(left, chunkLength(chunk))
			left -= length
			for i := range length {
				var s status
				switch symbol := chunkSymbol(chunk, i); {
				case symbol == symbolMissing:
				case symbol == symbolSmall && len(deltas) >= 1:
					at += time.Duration(deltas[0]) * deltaUnit
					deltas, s = deltas[1:], status{true, at}
				case symbol == symbolLarge && len(deltas) >= 2:
					at += time.Duration(int16(binary.BigEndian.Uint16(deltas))) * deltaUnit
					deltas, s = deltas[2:], status{true, at}
				default: // cut off, or a reserved symbol, 3.1.1
					return
				}
				if !yield(seq, s) {
					return
				}
				seq++
			}
		}
	}
}
