package media

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// Over an hour a source whose clock is off, and whose units take their time to arrive, is timed to within
// 10 ms, and so is sound that is counted by another clock than pictures; media time is the source's own
// throughout.
func TestTimelineFollowsDrift(t *testing.T) {
	for _, ppm := range [][2]time.Duration{{-100, -100}, {0, 0}, {100, 100}, {100, 150}, {-25, 25}, {0, -50}} {
		line := &timeline{start: time.Now()}
		random := rand.New(rand.NewPCG(1, 2))
		var first [2]time.Duration
		var begun [2]bool
		for taken := time.Duration(0); taken < time.Hour; taken += 5 * time.Millisecond { // on this machine's clock
			for track, every := range []time.Duration{35 * time.Millisecond, 20 * time.Millisecond} {
				if taken%every != 0 {
					continue
				}
				pts := 5*time.Second + taken + taken*ppm[track]/1_000_000
				delay := time.Millisecond + time.Duration(random.IntN(30))*time.Millisecond
				if track == int(messages.Audio) {
					delay += 25 * time.Millisecond // a packet is as long, and its encoder looks ahead
				}
				if taken == 0 {
					delay = 200 * time.Millisecond // the program warms up
				}
				mediaTime, captured := line.arrived(messages.Track(track), pts, line.start.Add(taken+delay))
				if !begun[track] {
					first[track], begun[track] = mediaTime-pts, true
				}
				if mediaTime-pts != first[track] {
					t.Fatalf("%d ppm: after %v media time of %v is %v", ppm, taken, pts, mediaTime)
				}
				if off := captured.Sub(line.start) - taken; taken > time.Second && (off < -5*time.Millisecond || off > 5*time.Millisecond) {
					t.Fatalf("%d ppm: after %v a unit of %v is taken to be %v late", ppm, taken, messages.Track(track), off)
				}
			}
		}
	}
}

func TestTimelineIsExactWhereTheSourceIs(t *testing.T) {
	line := &timeline{start: time.Now(), monotonic: 5 * time.Second}
	if at, captured := line.exact(7 * time.Second); at != 2*time.Second || captured.Sub(line.start) != at {
		t.Fatalf("media time %v, captured %v after the start", at, captured.Sub(line.start))
	}
}
