package rtc

import "time"

const (
	// throughputWindow is how much of the viewer's time the acknowledged bitrate covers: draft 5.5, 0.5
	// to 1 s.
	throughputWindow = 500 * time.Millisecond

	// throughputLatest is its latest part. libwebrtc, bitrate_estimator, measures over 150 ms.
	throughputLatest = 150 * time.Millisecond

	// throughputSamplesMax is a power of two, and more than a viewer's feedback in the window.
	throughputSamplesMax = 64
)

// throughput is the bitrate that the viewer acknowledges, over the latest spans of its time that its
// feedback covers without a gap. What a lost feedback would have told is thereby left out of bytes
// and time both, and so are pauses of the sender.
type throughput struct {
	samples     [throughputSamplesMax]span
	oldest, end uint // count up; the ring's indices are their low bits
	sum         span
	last        time.Duration // arrival of the last packet counted
}

// span is a piece of the viewer's time and what arrived in it.
type span struct {
	time    time.Duration
	bytes   int
	arrived int // packets
	missing int
}

func (s *span) add(o span) {
	s.time += o.time
	s.bytes += o.bytes
	s.arrived += o.arrived
	s.missing += o.missing
}

func (s *span) sub(o span) { s.add(span{-o.time, -o.bytes, -o.arrived, -o.missing}) }

// add takes in a feedback that goes on where the one before ended, or does not.
func (t *throughput) add(n *news, goesOn bool) {
	s := span{n.last - t.last, n.bytes, n.arrived, n.missing}
	if !goesOn || s.time < 0 || s.time > throughputWindow {
		// The first packet's time is where the span begins, so its bytes are not within.
		s.time, s.bytes = n.last-n.first, n.bytes-n.firstBytes
	}
	t.last = n.last
	if s.time < 0 || s.time > throughputWindow || s.bytes == 0 {
		return
	}
	t.push(s)
	for t.end-t.oldest > 1 && t.sum.time-t.samples[t.oldest%throughputSamplesMax].time >= throughputWindow {
		t.pop()
	}
}

func (t *throughput) push(s span) {
	if t.end-t.oldest == throughputSamplesMax {
		t.pop()
	}
	t.samples[t.end%throughputSamplesMax] = s
	t.end++
	t.sum.add(s)
}

func (t *throughput) pop() {
	s := t.samples[t.oldest%throughputSamplesMax]
	t.oldest++
	t.sum.sub(s)
}

// rate is in bits per second; 0 while less than half a window is known.
func (t *throughput) rate() float64 {
	if t.sum.time < throughputWindow/2 {
		return 0
	}
	return t.sum.rate()
}

// peak is the rate over the window or over its latest part, whichever is higher: what came through
// while a queue stood. When that queue is a key frame's, the window begins before it and says less
// than the path carries. When it overflows, it has stood for the whole of the latest part, and the window
// may begin before the path became narrow: the latest part alone counts.
func (t *throughput) peak() float64 {
	var latest span
	for i := t.end; i != t.oldest && latest.time < throughputLatest; i-- {
		s := t.samples[(i-1)%throughputSamplesMax]
		latest.add(s)
	}
	whole := t.rate()
	if whole == 0 || latest.time < throughputLatest {
		return whole
	}
	if latest.loss() > lossHigh {
		return latest.rate()
	}
	return max(whole, latest.rate())
}

func (s span) loss() float64 { return float64(s.missing) / float64(max(s.arrived+s.missing, 1)) }

func (s span) rate() float64 { return float64(s.bytes) * 8 / s.time.Seconds() }
