package media

import "time"

// timeline maps a source's times to media time, which begins with the run, and to this machine's clock.
// Media time advances as the source's clock does, so that sound and picture keep their distance and
// nothing jitters.
//
// When a unit was captured is exact where the source counts in this machine's monotonic clock. A source
// with a clock of its own does not say it. The unit that took least time to arrive tells, whatever else
// there is of difference is delay; and as the two clocks drift apart it is looked for anew in every
// driftWindow, and followed.
type timeline struct {
	start     time.Time     // of the run
	monotonic time.Duration // CLOCK_MONOTONIC at the start

	begun  bool
	shift  time.Duration // from the source's time to media time, fixed by the first unit
	offset time.Duration // from media time to the time since start
	window time.Time     // when the present window began
	least  time.Duration // the smallest offset seen in it
}

const (
	driftWindow = 5 * time.Second
	// driftStepMax is how far a window moves the offset: 400 ppm, more than any quartz is off.
	driftStepMax = 2 * time.Millisecond
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
func (t *timeline) arrived(pts time.Duration, now time.Time) (mediaTime time.Duration, captured time.Time) {
	since := now.Sub(t.start)
	if !t.begun {
		t.begun, t.shift, t.window = true, since-pts, now
	}
	mediaTime = pts + t.shift
	late := since - mediaTime
	t.least = min(t.least, late)
	t.offset = min(t.offset, late) // nothing arrives before it was captured
	if now.Sub(t.window) >= driftWindow {
		t.offset += min(driftStepMax, max(0, t.least-t.offset))
		t.window, t.least = now, late
	}
	return mediaTime, t.start.Add(mediaTime + t.offset)
}
