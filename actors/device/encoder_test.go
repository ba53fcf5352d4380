package device

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/heliograph-rtc/heliograph/messages"
)

// script is a source that plays the same units at each start, then fails.
type script struct {
	units  []*messages.AccessUnit
	starts atomic.Int32
	wishes int
	asked  []int
	stays  bool // after its units it waits for the end of its context, which takes slow
	slow   time.Duration
	alive  atomic.Int32 // runs that have not ended
}

func (s *script) Name() string               { return "script" }
func (s *script) VideoCodec() messages.Codec { return messages.H264 }
func (s *script) AudioCodec() messages.Codec { return messages.Opus }
func (s *script) RequestKeyFrame() bool      { s.wishes++; return true }

func (s *script) RequestPicture(int, int) bool { return true }
func (s *script) RequestBitrate(bps int) bool  { s.asked = append(s.asked, bps); return true }
func (s *script) Run(ctx context.Context, emit func(*messages.AccessUnit) error) error {
	s.starts.Add(1)
	s.alive.Add(1)
	defer s.alive.Add(-1)
	for _, u := range s.units {
		if err := emit(u); err != nil {
			return err
		}
	}
	if s.stays {
		<-ctx.Done()
		time.Sleep(s.slow) // virtual
		return ctx.Err()
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

func TestSourceOnDemandRunsWhileSomebodyWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &script{units: []*messages.AccessUnit{unit(0, true)}, stays: true, slow: time.Second}
		s := newStage(t, Config{Source: source, SourceOnDemand: true}, "encoder", func(p *parts) actor.Actor { return newEncoder(p) }, "fanout")
		defer s.stop(t)
		watch := func(viewers int, wait time.Duration, starts, alive int32) {
			t.Helper()
			s.sys.Tell(pathEncoder, &messages.Watched{Viewers: viewers})
			time.Sleep(wait) // virtual
			synctest.Wait()
			if source.starts.Load() != starts || source.alive.Load() != alive {
				t.Fatalf("%d watch: %d starts, %d runs; want %d and %d", viewers, source.starts.Load(), source.alive.Load(), starts, alive)
			}
		}
		told[*messages.WatchedWanted](t, s, "fanout")
		watch(0, time.Hour, 0, 0)
		watch(1, time.Second, 1, 1)
		first := told[*messages.AccessUnit](t, s, "fanout")
		watch(0, unwatchedMax/2, 1, 1)
		watch(1, time.Hour, 1, 1) // came back in time
		watch(0, unwatchedMax+time.Second/2, 1, 1)
		watch(2, 0, 1, 1) // comes while the run is ending: the next waits for that
		watch(2, time.Second, 2, 1)
		if second := told[*messages.AccessUnit](t, s, "fanout"); second.PTS <= first.PTS || second.Seq != first.Seq+1 {
			t.Fatalf("unit %d of %v follows on %d of %v", second.Seq, second.PTS, first.Seq, first.PTS)
		}
		watch(0, unwatchedMax+time.Second, 2, 0)
		told[*messages.SourceRests](t, s, "fanout")
	})
}

// A source that fails soon after each start is started ever more seldom.
func TestSourceThatFailsOverAndOverIsGivenTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &script{units: []*messages.AccessUnit{unit(0, true)}}
		s := stageEncoder(t, source)
		defer s.stop(t)
		time.Sleep(time.Minute) // virtual
		synctest.Wait()
		if n := source.starts.Load(); n < 8 || n > 30 {
			t.Fatalf("started %d times in a minute", n)
		}
	})
}
