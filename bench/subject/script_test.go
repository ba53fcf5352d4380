package subject

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

func TestScriptPlaysItsTimetable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(Script{Every: 40 * time.Millisecond, Pictures: 2, Slices: 3, Bytes: 600, KeyEvery: 25, KeyBytes: 3000, Opus: 160})
		s.alarm = media.NewTimerAlarm
		ctx, cancel := context.WithCancel(t.Context())
		var units []*messages.AccessUnit
		var group actors.Group
		group.Go("run", func() error {
			return s.Run(ctx, func(u *messages.AccessUnit) error { units = append(units, u); return nil })
		})
		synctest.Wait()
		if len(units) != 0 {
			t.Fatalf("%d units before anybody wanted them", len(units))
		}
		for range 2 { // with a rest in between
			if err := s.play(ctx, time.Second); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		cancel()
		if err := group.Wait(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		checkUnits(t, units)
	})
}

// checkUnits wants two times one second of 50 pictures, every 25th a key frame, and 50 packets of sound.
func checkUnits(t *testing.T, units []*messages.AccessUnit) {
	t.Helper()
	last := map[messages.Track]time.Duration{messages.Video: -1, messages.Audio: -1}
	counts := map[messages.Track]int{}
	for _, u := range units {
		if u.PTS <= last[u.Track] {
			t.Errorf("%s unit %d at %v after one at %v", u.Track, counts[u.Track], u.PTS, last[u.Track])
		}
		if u.Track == messages.Video {
			key := counts[messages.Video]%25 == 0
			if u.KeyFrame != key || media.H264KeyFrame(u.Data) != key {
				t.Errorf("picture %d: key frame %v, in its data %v", counts[messages.Video], u.KeyFrame, media.H264KeyFrame(u.Data))
			}
			slices := 0
			for nal := range media.SplitAnnexB(u.Data) {
				if kind := nal[0] & 0x1f; kind == 1 || kind == 5 {
					slices++
				}
			}
			if slices != 3 {
				t.Errorf("picture %d has %d slices", counts[messages.Video], slices)
			}
		}
		last[u.Track] = u.PTS
		counts[u.Track]++
	}
	if counts[messages.Video] != 100 || counts[messages.Audio] != 100 {
		t.Errorf("units by track %v", counts)
	}
}
