package rtc

import (
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

func TestReferenceClockUnwraps(t *testing.T) {
	var c referenceClock
	for _, s := range []struct {
		wrapped uint32
		want    int64
	}{
		{100, 100}, {90, 90}, {0xffffff, -1}, {0, 0}, {0x7fffff, 0x7fffff}, {0xfffffe, 0xfffffe},
		{1, 0x1000001}, {0xfffffe, 0xfffffe}, {0x700000, 0x1700000}, {0xffffff, 0xffffff},
	} {
		if got := c.at(s.wrapped); got != time.Duration(s.want)*referenceUnit {
			t.Fatalf("%#x is %v, want %v", s.wrapped, got, time.Duration(s.want)*referenceUnit)
		}
	}
}

func TestStatusesReadEveryChunk(t *testing.T) {
	const small, large, no, reserved = rtcp.TypeTCCPacketReceivedSmallDelta, rtcp.TypeTCCPacketReceivedLargeDelta,
		rtcp.TypeTCCPacketNotReceived, rtcp.TypeTCCPacketReceivedWithoutDelta
	run := func(symbol, n uint16) rtcp.PacketStatusChunk {
		return &rtcp.RunLengthChunk{PacketStatusSymbol: symbol, RunLength: n}
	}
	vector := func(list ...uint16) rtcp.PacketStatusChunk {
		return &rtcp.StatusVectorChunk{SymbolSize: rtcp.TypeTCCSymbolSizeTwoBit, SymbolList: list}
	}
	one := func(list ...uint16) rtcp.PacketStatusChunk {
		return &rtcp.StatusVectorChunk{SymbolSize: rtcp.TypeTCCSymbolSizeOneBit, SymbolList: list}
	}
	type chunks = []rtcp.PacketStatusChunk
	for _, c := range []struct {
		name   string
		count  uint16
		deltas []byte // 250 us
		chunks chunks
		want   []int64 // ms, -1 is missing
	}{
		{"run", 3, []byte{4, 8, 12}, chunks{run(small, 3)}, []int64{1, 3, 6}},
		{"run beyond the count", 2, []byte{4, 8, 12}, chunks{run(small, 8191)}, []int64{1, 3}},
		{"empty run", 1, []byte{0, 16}, chunks{run(small, 0), run(large, 1)}, []int64{4}},
		{"vector", 4, []byte{4, 0xff, 0xec}, chunks{vector(no, small, no, large, small, no, no)}, []int64{-1, 1, -1, -4}},
		{"vector of one bit each", 3, []byte{4, 4}, chunks{one(small, no, small, no, no, no, no, no, no, no, no, no, no, no)}, []int64{1, -1, 2}},
		{"both", 9, []byte{4, 4}, chunks{vector(small, no, no, no, no, no, no), run(no, 1), run(small, 1)}, []int64{1, -1, -1, -1, -1, -1, -1, -1, 2}},
		{"fewer chunks than counted", 9, []byte{4}, chunks{run(small, 1)}, []int64{1}},
		{"fewer deltas than arrivals", 3, []byte{4}, chunks{run(small, 3)}, []int64{1}},
		{"half a delta", 1, []byte{0}, chunks{run(large, 1)}, nil},
		{"reserved symbol", 3, []byte{4, 4}, chunks{vector(small, reserved, small)}, []int64{1}},
		{"no chunk", 3, nil, nil, nil},
		{"no packet", 0, []byte{4}, chunks{run(small, 3)}, nil},
	} {
		fb := feedback{base: 65_534, count: c.count, deltas: c.deltas}
		for _, chunk := range c.chunks {
			wire, err := chunk.Marshal()
			must(t, err)
			fb.chunks = append(fb.chunks, wire...)
		}
		var got []int64
		next := fb.base
		for seq, s := range fb.statuses(time.Hour) {
			if seq != next {
				t.Errorf("%s: number %d, want %d", c.name, seq, next)
			}
			next++
			if s.received {
				got = append(got, (s.at - time.Hour).Milliseconds())
			} else {
				got = append(got, -1)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// pionStatuses is what pion makes of a feedback: the number and status of the packets it speaks of.
func pionStatuses(fb *rtcp.TransportLayerCC, reference time.Duration) iter.Seq2[uint16, status] {
	return func(yield func(uint16, status) bool) {
		seq, at, deltas := fb.BaseSequenceNumber, reference, fb.RecvDeltas
		for symbol := range pionSymbols(fb) {
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

// pionSymbols yields the symbols in the chunks of fb, 3.1.2 to 3.1.4, without those that only fill the
// last chunk.
func pionSymbols(fb *rtcp.TransportLayerCC) iter.Seq[uint16] {
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
