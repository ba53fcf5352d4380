package rtc

import (
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
	for _, c := range []struct {
		name   string
		count  uint16
		deltas []int64 // ms
		chunks []rtcp.PacketStatusChunk
		want   []int64 // ms, -1 is missing
	}{
		{"run", 3, []int64{1, 2, 3}, []rtcp.PacketStatusChunk{run(small, 3)}, []int64{1, 3, 6}},
		{"run beyond the count", 2, []int64{1, 2, 3}, []rtcp.PacketStatusChunk{run(small, 8191)}, []int64{1, 3}},
		{"empty run", 1, []int64{4}, []rtcp.PacketStatusChunk{run(small, 0), run(large, 1)}, []int64{4}},
		{"vector", 4, []int64{1, -5}, []rtcp.PacketStatusChunk{vector(no, small, no, large, small, no, no)}, []int64{-1, 1, -1, -4}},
		{"both", 9, []int64{1, 1}, []rtcp.PacketStatusChunk{vector(small, no, no, no, no, no, no), run(no, 1), run(small, 1)}, []int64{1, -1, -1, -1, -1, -1, -1, -1, 2}},
		{"fewer chunks than counted", 9, []int64{1}, []rtcp.PacketStatusChunk{run(small, 1)}, []int64{1}},
		{"fewer deltas than arrivals", 3, []int64{1}, []rtcp.PacketStatusChunk{run(small, 3)}, []int64{1}},
		{"reserved symbol", 3, []int64{1, 1}, []rtcp.PacketStatusChunk{vector(small, reserved, small)}, []int64{1}},
		{"no chunk", 3, nil, []rtcp.PacketStatusChunk{nil}, nil},
		{"no packet", 0, []int64{1}, []rtcp.PacketStatusChunk{run(small, 3)}, nil},
	} {
		fb := &rtcp.TransportLayerCC{BaseSequenceNumber: 65_534, PacketStatusCount: c.count, PacketChunks: c.chunks}
		for _, d := range c.deltas {
			fb.RecvDeltas = append(fb.RecvDeltas, &rtcp.RecvDelta{Delta: d * 1000})
		}
		var got []int64
		next := fb.BaseSequenceNumber
		for seq, s := range statuses(fb, time.Hour) {
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
