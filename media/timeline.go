package media

import (
	"math"
	"slices"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// timeline maps a source's times to media time, which begins with the run, and to this machine's clock.
// Media time advances as the source's clock does, so that sound and picture keep their distance and
// nothing jitters.
//
// When a unit was captured is exact where the source counts in this machine's monotonic clock. A source
// with a clock of its own does not say it. The unit that took least time to arrive tells, whatever else
// there is of difference is delay; and as the two clocks drift apart it is looked for anew in every
// driftWindow, and followed.
//
// A source may count its sound by a clock of the sound card's, against the rule. How much later sound
// arrives than picture is what it was in the beginning, then; as that changes, it is the clocks that drift
// apart, and the sound's capture times follow.
type timeline struct {
	start     time.Time     // of the run
	monotonic time.Duration // CLOCK_MONOTONIC at the start

	begun  bool
	shift  time.Duration    // from the source's time to media time, fixed by the first unit
	offset time.Duration    // from media time to the time since start
	window time.Time        // when the present window began
	least  [2]time.Duration // the smallest offset seen in it, by messages.Track
	apart  time.Duration    // how far the sound's clock has gone from the picture's
	lag    time.Duration    // how much later sound arrived than picture in the beginning
	lags   int              // windows that have told
}

const (
	driftWindow = 5 * time.Second
	// driftStepMax is how far a window moves the offset: 400 ppm, more than any quartz is off.
	driftStepMax = 2 * time.Millisecond
	// apartStepMax likewise bounds how the sound's clock is followed: 200 ppm.
	apartStepMax = time.Millisecond
	// none is more than any offset.
	none = time.Duration(math.MaxInt64)
)

func newTimeline() *timeline {
	return &timeline{start: time.Now(), monotonic: monotonicNow()}
}

// exact maps a time of CLOCK_MONOTONIC.
func (t *timeline) exact(pts time.Duration) (mediaTime time.Duration, captured time.Time) {
	mediaTime = pts - t.monotonic
	return mediaTime, t.start.Add(mediaTime)
}

// arrived maps a time of the source's own clock, of a unit that arrived now.
func (t *timeline) arrived(track messages.Track, pts time.Duration, now time.Time) (mediaTime time.Duration, captured time.Time) {
	since := now.Sub(t.start)
	if !t.begun {
		t.begun, t.shift, t.window, t.least = true, since-pts, now, [2]time.Duration{none, none}
	}
	mediaTime = pts + t.shift
	ours := mediaTime
	if track == messages.Audio {
		ours += t.apart
	}
	late := since - ours
	t.least[track] = min(t.least[track], late)
	t.offset = min(t.offset, late) // nothing arrives before it was captured
	if now.Sub(t.window) >= driftWindow {
		t.follow()
		t.window, t.least = now, [2]time.Duration{none, none}
	}
	return mediaTime, t.start.Add(ours + t.offset)
}

// follow ends a window.
func (t *timeline) follow() {
	t.offset += min(driftStepMax, max(0, slices.Min(t.least[:])-t.offset))
	if t.least[messages.Video] == none || t.least[messages.Audio] == none {
		return
	}
	lag := t.least[messages.Audio] - t.least[messages.Video]
	switch t.lags++; t.lags {
	case 1: // the program warms up
	case 2:
		t.lag = lag
	default:
		t.apart += max(-apartStepMax, min(apartStepMax, lag-t.lag))
	}
}
