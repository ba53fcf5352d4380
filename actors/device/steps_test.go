package device

import (
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// Below the floor pictures become fewer, then smaller; the way back takes longer, and room.
func TestPictureStepsDownAtTheFloorAndUpWithRoom(t *testing.T) {
	b, now := newBitrate(BitrateLimits{Min: 200_000}.withDefaults()), time.Unix(1_700_000_000, 0)
	hear := func(bps int, for_ time.Duration) (took time.Duration) {
		before := b.steps.step
		for took < for_ && b.steps.step == before {
			now, took = now.Add(200*time.Millisecond), took+200*time.Millisecond
			b.heard(&messages.ViewerEstimate{ClientID: "v", Bps: bps, Limited: true}, now)
		}
		return took
	}
	for i, c := range []struct {
		bps      int
		within   time.Duration
		step     int
		asked    int
		quickest time.Duration
	}{
		{1_000_000, 10 * time.Second, 0, 840_000, 0},
		{250_000, 5 * time.Second, 1, 150_000, stepDownAfter},
		{130_000, 5 * time.Second, 2, 50_000, stepDownAfter},
		{130_000, 30 * time.Second, 2, 50_000, 0}, // stays
		{400_000, 30 * time.Second, 1, 288_000, stepUpAfter},
		{1_000_000, 30 * time.Second, 0, 0, stepUpAfter},
	} {
		took := hear(c.bps, c.within)
		if b.steps.step != c.step || took < c.quickest {
			t.Fatalf("%d: step %d after %v, want %d", i, b.steps.step, took, c.step)
		}
		if floor := b.steps.floor(200_000); b.asked < floor {
			t.Fatalf("%d: asked for %d, less than the floor of %d", i, b.asked, floor)
		}
	}
}

// What the owner sets bounds what is asked, and how fast it rises.
func TestBitrateKeepsToTheOwnersLimits(t *testing.T) {
	b, now := newBitrate(BitrateLimits{Min: 500_000, Max: 2_000_000, SlewPercent: 10}.withDefaults()), time.Unix(1_700_000_000, 0)
	hear := func(bps int, limited bool) int {
		now = now.Add(bitrateUpEvery)
		b.heard(&messages.ViewerEstimate{ClientID: "v", Bps: bps, Limited: limited}, now)
		return b.asked
	}
	if got := hear(9_000_000, false); got != 2_000_000 {
		t.Fatalf("nobody is limited: %d", got)
	}
	if got := hear(550_000, true); got != 500_000 {
		t.Fatalf("at the floor: %d", got)
	}
	if got := hear(9_000_000, true); got != 550_000 {
		t.Fatalf("a tenth more: %d", got)
	}
	if err := (BitrateLimits{Min: 2, Max: 1}).check(); err == nil {
		t.Fatal("a floor above the ceiling is taken")
	}
}
