package media

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// Times that are uneven, and by another clock, become those of samples that follow each other; a gap stays
// one, and no time goes back.
func TestSoundIsCountedBySamples(t *testing.T) {
	const packet = 20 * time.Millisecond
	for codec, data := range map[messages.Codec][]byte{messages.Opus: {0xf8, 0xff, 0xfe}, messages.PCMA: make([]byte, 160)} {
		for _, ppm := range []time.Duration{-150, 0, 150} {
			random := rand.New(rand.NewPCG(1, 2))
			var s samples
			var last time.Duration
			for i := range time.Duration(3600 * 50) {
				taken := i * packet
				if i >= 1000 {
					taken += time.Second // a gap
				}
				pts := taken + taken*ppm/1_000_000 + time.Duration(random.IntN(8000))*time.Microsecond
				at := s.count(codec, data, pts)
				step := at - last
				switch {
				case i == 1000 && (step < time.Second || step > 1040*time.Millisecond):
					t.Fatalf("%s: a gap of 1 s became %v", codec, step)
				case i != 0 && i != 1000 && step != packet:
					t.Fatalf("%s, %d ppm: packet %d comes %v after the one before", codec, ppm, i, step)
				}
				last = at
			}
			if at := s.count(codec, data, last-time.Minute); at != last+packet {
				t.Errorf("%s: after a time that went back comes %v, want %v", codec, at, last+packet)
			}
		}
	}
}
