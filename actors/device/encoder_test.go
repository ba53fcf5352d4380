package device

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/heliograph-rtc/heliograph/messages"
)

// script is a source that plays the same units at each start, then fails.
type script struct {
	units  []*messages.AccessUnit
	starts int
	wishes int
	asked  []int
}

func (s *script) Name() string          { return "script" }
func (s *script) RequestKeyFrame() bool { s.wishes++; return true }

func (s *script) RequestBitrate(bps int) bool { s.asked = append(s.asked, bps); return true }
func (s *script) Run(ctx context.Context, emit func(*messages.AccessUnit) error) error {
	s.starts++
	for _, u := range s.units {
		if err := emit(u); err != nil {
			return err
		}
	}
	return errors.New("camera unplugged")
}

func stageEncoder(t *testing.T, source *script) *stage {
	return newStage(t, Config{Source: source}, "encoder", func(p *parts) actor.Actor { return newEncoder(p) }, "fanout")
}

func TestSourceThatEndsGoesOnForTheViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &script{units: []*messages.AccessUnit{unit(0, false), unit(1, true), unit(2, false)}}
		s := stageEncoder(t, source)
		defer s.stop(t)
		last := time.Duration(-1)
		for start := range 5 {
			for i := range 2 { // the picture before the key frame lacks its references
				got := told[*messages.AccessUnit](t, s, "fanout")
				if got.KeyFrame != (i == 0) {
					t.Fatalf("start %d began with a picture that is no key frame", start)
				}
				if got.PTS <= last {
					t.Fatalf("start %d: time goes from %v to %v", start, last, got.PTS)
				}
				last = got.PTS
			}
		}
		if source.units[1].PTS != 33*time.Millisecond {
			t.Fatal("the source's own unit was written")
		}
	})
}

func TestKeyFrameWishesAreMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &script{}
		s := stageEncoder(t, source)
		for range 10 {
			s.sys.Tell(pathEncoder, &messages.KeyFrameWish{})
		}
		time.Sleep(keyFrameWishEvery) // virtual
		s.sys.Tell(pathEncoder, &messages.KeyFrameWish{})
		synctest.Wait()
		s.stop(t)
		if source.wishes != 2 {
			t.Fatalf("asked %d times", source.wishes)
		}
	})
}
