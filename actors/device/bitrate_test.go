package device

import (
	"fmt"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

func TestWeakViewerDoesNotDecideForAll(t *testing.T) {
	const m = 1_000_000
	video := func(bps int) int { return int(float64(bps)*(1-overheadShare)) - soundBps }
	for _, c := range []struct {
		name     string
		carries  []int // negative: has shown no limit
		expected int
	}{
		{"nobody limited", []int{-5 * m, -5 * m}, 0},
		{"one alone", []int{m}, video(m)},
		{"the weakest of the like", []int{3 * m, 2 * m, 4 * m}, video(2 * m)},
		{"one far below the others", []int{3 * m, m / 3, 4 * m, -5 * m}, video(3 * m)},
		{"one far below, others free", []int{-5 * m, m / 3, -5 * m}, 0},
		{"half of them weak", []int{m, m, 4 * m, 4 * m}, video(4 * m)},
		{"most of them weak", []int{m, m, m, 4 * m}, video(m)},
		{"floor", []int{100_000}, bitrateFloorBps},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, now := newBitrate(BitrateLimits{}.withDefaults()), time.Unix(1_700_000_000, 0)
			for i, bps := range c.carries {
				msg := &messages.ViewerEstimate{ClientID: fmt.Sprint(i), Epoch: uint64(i), Bps: max(bps, -bps), Limited: bps > 0}
				b.estimates[msg.ClientID] = estimate{*msg, now}
			}
			if got := b.wanted(); got != c.expected {
				t.Fatalf("wants %d, expected %d", got, c.expected)
			}
		})
	}
}

func TestBitrateFallsAtOnceAndRisesSlowly(t *testing.T) {
	b, now := newBitrate(BitrateLimits{}.withDefaults()), time.Unix(1_700_000_000, 0)
	hear := func(bps int) (int, bool) {
		now = now.Add(200 * time.Millisecond)
		return b.heard(&messages.ViewerEstimate{ClientID: "v", Epoch: 1, Bps: bps, Limited: true}, now)
	}
	first, ask := hear(4_000_000)
	if !ask {
		t.Fatal("nothing was asked")
	}
	if bps, ask := hear(1_000_000); !ask || bps > 1_000_000 {
		t.Fatalf("at a fall: asked %v, %d", ask, bps)
	}
	if _, ask := hear(1_010_000); ask {
		t.Fatal("asked for one percent")
	}
	steps, last := 0, b.asked
	for range 100 {
		if bps, ask := hear(4_000_000); ask {
			if bps > last+last*bitrateSlewPercent/100 {
				t.Fatalf("rose from %d to %d", last, bps)
			}
			steps, last = steps+1, bps
		}
	}
	if last != first || steps < 5 {
		t.Fatalf("came to %d in %d steps, want %d", last, steps, first)
	}
	now = now.Add(2 * estimateFreshMax)
	if bps, ask := b.heard(&messages.ViewerEstimate{ClientID: "w", Epoch: 2, Bps: 9_000_000}, now); !ask || bps != 0 {
		t.Fatalf("the viewer has left and nobody is limited: asked %v, %d", ask, bps)
	}
}

// The lowest ceiling holds at once, for as long as who asked for it is here, and never above what the paths carry.
func TestBitrateKeepsBelowCeilings(t *testing.T) {
	b, now := newBitrate(BitrateLimits{}.withDefaults()), time.Unix(1_700_000_000, 0)
	for i, c := range []struct {
		client   string
		epoch    uint64
		bps      int
		expected int // 0: the source's own
		ask      bool
	}{
		{"a", 1, 900_000, 900_000, true},
		{"b", 2, 400_000, 400_000, true},
		{"b", 2, 1, bitrateFloorBps, true},
		{"b", 3, 500_000, 500_000, true}, // it has come back
		{"b", 2, 0, 0, false},            // and its predecessor ends
		{"b", 3, 0, 900_000, true},
		{"a", 1, 900_000, 0, false},
		{"a", 1, 0, 0, true},
	} {
		bps, ask := b.capped(&messages.BitrateCeiling{ClientID: c.client, Epoch: c.epoch, Bps: c.bps}, now)
		if bps != c.expected || ask != c.ask {
			t.Fatalf("step %d: asks %d, %v", i, bps, ask)
		}
	}
	b.capped(&messages.BitrateCeiling{ClientID: "a", Epoch: 1, Bps: 3_000_000}, now)
	if bps, ask := b.heard(&messages.ViewerEstimate{ClientID: "v", Epoch: 9, Bps: 1_000_000, Limited: true}, now); !ask || bps >= 1_000_000 {
		t.Fatalf("asks %d, %v of a path of 1 Mbit/s", bps, ask)
	}
}
