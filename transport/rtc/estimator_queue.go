package rtc

import (
	"math"
	"time"
)

const (
	// queueSpan is how long the quickest packet says what the path takes without a queue. A path that has
	// changed to a longer way seems to have one for up to twice that.
	queueSpan = 10 * time.Second

	// queueFull is how long a packet stands in a queue that loses what it has no room for. Queues hold
	// 200 ms as a rule; 100 ms of jitter, for each packet of a feedback, is none.
	queueFull = 100 * time.Millisecond
)

// standing tells how long packets wait before the path: how much longer the quickest of a feedback took
// than the quickest lately. The trend sees queues that grow, and one that is full does not: where a stream
// is too large from its first frame on, or is asked again for all that was lost, it may be full before the
// trend knows anything. This is ours; libwebrtc learns a path's capacity by probes. Only differences of
// the delays mean anything.
type standing struct {
	quickest, before time.Duration // of this span and of the one before
	since            time.Duration // when this span began; 0: there is none yet
	wait             time.Duration
}

// take adds what the quickest packet of a feedback took.
func (q *standing) take(delay, now time.Duration) {
	switch {
	case q.since == 0:
		q.quickest, q.before, q.since = delay, math.MaxInt64, max(now, 1)
	case now-q.since > queueSpan:
		q.quickest, q.before, q.since = delay, q.quickest, now
	}
	q.quickest = min(q.quickest, delay)
	q.wait = delay - min(q.quickest, q.before)
}
