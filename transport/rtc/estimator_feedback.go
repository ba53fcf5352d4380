package rtc

import (
	"iter"
	"time"

	"github.com/pion/rtcp"
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

// status is what a feedback says of one packet.
type status struct {
	received bool
	at       time.Duration // on the viewer's clock, when received
}

// statuses yields the number and status of the packets that fb speaks of, at most as many as it
// counts. A feedback that makes no sense from some point on ends there.
func statuses(fb *rtcp.TransportLayerCC, reference time.Duration) iter.Seq2[uint16, status] {
	return func(yield func(uint16, status) bool) {
		seq, at, deltas := fb.BaseSequenceNumber, reference, fb.RecvDeltas
		for symbol := range symbols(fb) {
			var s status
			switch symbol {
			case rtcp.TypeTCCPacketNotReceived:
			case rtcp.TypeTCCPacketReceivedSmallDelta, rtcp.TypeTCCPacketReceivedLargeDelta:
				if len(deltas) == 0 || deltas[0] == nil {
					return
				}
				at += time.Duration(deltas[0].Delta) * time.Microsecond
				deltas = deltas[1:]
				s = status{received: true, at: at}
			default: // reserved, 3.1.1
				return
			}
			if !yield(seq, s) {
				return
			}
			seq++
		}
	}
}

// symbols yields the symbols in the chunks of fb, 3.1.2 to 3.1.4, without those that only fill the
// last chunk.
func symbols(fb *rtcp.TransportLayerCC) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		left := int(fb.PacketStatusCount)
		for _, chunk := range fb.PacketChunks {
			switch chunk := chunk.(type) {
			case *rtcp.RunLengthChunk:
				for range min(left, int(chunk.RunLength)) {
					if !yield(chunk.PacketStatusSymbol) {
						return
					}
				}
				left -= int(chunk.RunLength)
			case *rtcp.StatusVectorChunk:
				for _, symbol := range chunk.SymbolList[:min(left, len(chunk.SymbolList))] {
					if !yield(symbol) {
						return
					}
				}
				left -= len(chunk.SymbolList)
			}
			if left <= 0 {
				return
			}
		}
	}
}
