package media

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Over an hour a source whose clock is off, and whose units take their time to arrive, is timed to within
// 10 ms; media time is the source's own throughout.
func TestTimelineFollowsDrift(t *testing.T) {
	for _, ppm := range []time.Duration{-100, 0, 100} {
		random := rand.New(rand.NewPCG(1, 2))
		line := &timeline{start: time.Now()}
		var first time.Duration
		for i := range time.Duration(30 * 3600) {
			taken := i * time.Second / 30 // on this machine's clock
			pts := 5*time.Second + taken + taken*ppm/1_000_000
			delay := time.Millisecond + time.Duration(random.IntN(30))*time.Millisecond
			if i == 0 {
				delay = 200 * time.Millisecond // the program warms up
			}
			mediaTime, captured := line.arrived(pts, line.start.Add(taken+delay))
			if i == 0 {
				first = mediaTime
			}
			if mediaTime-first != pts-5*time.Second {
				t.Fatalf("%d ppm: after %v media time went on by %v", ppm, pts, mediaTime-first)
			}
			if off := captured.Sub(line.start) - taken; i > 30 && (off < -time.Millisecond || off > 10*time.Millisecond) {
				t.Fatalf("%d ppm: after %v a picture is taken to be %v late", ppm, taken, off)
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
