package rtc

import (
	"math"
	"time"
)

const (
	// groupSpan is how much later than the first a packet may leave and belong to its group: draft
	// 5.2 (burst_time), 5 ms. Our access units leave as one batch, and key frames 16 packets to the
	// millisecond, so a frame is a group; the largest key frames are a few.
	groupSpan = 5 * time.Millisecond

	// burstGapMax and burstSpanMax: packets that arrive this close together although they left further
	// apart were held up together, and are one group. Draft 5.2; libwebrtc, inter_arrival_delta: 5 ms,
	// at most 100 ms.
	burstGapMax  = 5 * time.Millisecond
	burstSpanMax = 100 * time.Millisecond

	// variationMax is the largest step of delay between groups that a network makes; what is more is a
	// clock that was set. libwebrtc, inter_arrival_delta: 3 s.
	variationMax = 3 * time.Second

	// disorderMax groups may arrive before their predecessor in a row. libwebrtc,
	// inter_arrival_delta: 3.
	disorderMax = 3
)

// group is packets that left in one burst.
type group struct {
	departed, lastDeparted time.Duration
	arrived, lastArrived   time.Duration // on the viewer's clock
}

// arrivals sorts packets into groups. The zero value is ready.
type arrivals struct {
	groups          int // known: 0, 1 is current, 2 is previous too
	current, before group
	disorder        int
}

// variation is how two groups that follow one another differ (draft 5.1), and when the later arrived.
type variation struct {
	departure, arrival time.Duration
	at                 time.Duration
}

// take adds a packet. When it opens a group, the variation between the two groups before is known.
func (a *arrivals) take(departed, arrived time.Duration) (v variation, ok bool) {
	c := &a.current
	switch {
	case a.groups == 0:
	case departed < c.departed: // out of order: of no use to the model
		return v, false
	case !c.opens(departed, arrived):
		c.lastDeparted = max(c.lastDeparted, departed)
		c.lastArrived = max(c.lastArrived, arrived)
		return v, false
	case a.groups > 1:
		v, ok = a.compare()
		if a.groups == 0 { // compare has thrown it all away
			ok = false
		}
	}
	a.before = a.current
	a.current = group{departed, departed, arrived, arrived}
	a.groups = min(a.groups+1, 2)
	return v, ok
}

// opens tells whether the packet is the first of the next group.
func (g *group) opens(departed, arrived time.Duration) bool {
	departure, arrival := departed-g.lastDeparted, arrived-g.lastArrived
	if departure == 0 {
		return false
	}
	if arrival < departure && arrival <= burstGapMax && arrived-g.arrived < burstSpanMax {
		return false
	}
	return departed-g.departed > groupSpan
}

// compare measures the current group against the one before, and forgets both when they cannot be on
// the same clock.
func (a *arrivals) compare() (v variation, ok bool) {
	v = variation{
		departure: a.current.lastDeparted - a.before.lastDeparted,
		arrival:   a.current.lastArrived - a.before.lastArrived,
		at:        a.current.lastArrived,
	}
	if delta := v.arrival - v.departure; delta > variationMax || delta < -variationMax {
		*a = arrivals{}
		return v, false
	}
	if v.arrival >= 0 {
		a.disorder = 0
		return v, true
	}
	if a.disorder++; a.disorder >= disorderMax {
		*a = arrivals{}
	}
	return v, false
}

const (
	// trendWindow is how many groups the line is fitted to. libwebrtc, trendline_estimator.h: 20.
	trendWindow = 20

	// trendSmoothing is the weight of the past in the accumulated delay. libwebrtc,
	// trendline_estimator: 0.9.
	trendSmoothing = 0.9

	// trendGain and trendGroupsMax scale the slope to the threshold, which is from the time of a
	// filter that saw 60 groups. libwebrtc, trendline_estimator: 4.0 and 60.
	trendGain      = 4.0
	trendGroupsMax = 60

	// The threshold and how it follows the trend, up and down, for each ms: draft 5.4 (from 12.5 ms, 6 to
	// 600, what is 15 above it is an outlier). The gains are libwebrtc's, which follows for at most 100 ms
	// between two groups. The draft's, 0.01 and 0.00018, leave the threshold high for seconds after the
	// capacity has fallen, so that the next queue is not seen.
	thresholdStart   = 12.5
	thresholdMin     = 6.0
	thresholdMax     = 600.0
	thresholdUp      = 0.0087
	thresholdDown    = 0.039
	thresholdOutlier = 15.0
	thresholdStepMax = 100 * time.Millisecond

	// overuseTime is how long the trend must be over the threshold: draft 5.4, 10 ms.
	overuseTime = 10 * time.Millisecond
)

// delayState is what the trend says of the queues on the path: draft 5.4.
type delayState uint8

const (
	normal   delayState = iota
	overuse             // they grow
	underuse            // they empty
)

func (s delayState) String() string {
	switch s {
	case overuse:
		return "overuse"
	case underuse:
		return "underuse"
	}
	return "normal"
}

// trend fits a line to the delay accumulated over the last groups. Its slope is (rate sent -
// capacity) / capacity.
type trend struct {
	state delayState

	groups      int // up to trendGroupsMax
	begin       time.Duration
	accumulated float64 // ms
	smoothed    float64 // ms
	points      [trendWindow]point
	slope       float64

	threshold float64
	adapted   time.Duration
	over      time.Duration // how long over the threshold
	overs     int           // groups in a row over it
}

type point struct {
	at    float64 // ms since begin
	delay float64 // ms
}

func newTrend() trend { return trend{threshold: thresholdStart} }

// take adds a group's variation; ok false says there is none.
func (t *trend) take(v variation, ok bool) {
	if !ok {
		return
	}
	if t.groups == 0 {
		t.begin, t.adapted = v.at, v.at
	}
	t.accumulated += milliseconds(v.arrival - v.departure)
	t.smoothed = trendSmoothing*t.smoothed + (1-trendSmoothing)*t.accumulated
	copy(t.points[:], t.points[1:])
	t.points[trendWindow-1] = point{milliseconds(v.at - t.begin), t.smoothed}
	t.groups = min(t.groups+1, trendGroupsMax)

	slope := t.slope
	if t.groups >= trendWindow {
		slope = t.fit()
	}
	if t.groups >= 2 {
		scaled := float64(t.groups) * slope * trendGain
		t.detect(scaled, slope >= t.slope, v.departure)
		t.slope = slope
		t.adapt(math.Abs(scaled), v.at)
	}
}

// fit returns the slope of the least squares line, the last slope when there is no line.
func (t *trend) fit() float64 {
	var at, delay float64
	for _, p := range t.points {
		at += p.at / trendWindow
		delay += p.delay / trendWindow
	}
	var rise, run float64
	for _, p := range t.points {
		rise += (p.at - at) * (p.delay - delay)
		run += (p.at - at) * (p.at - at)
	}
	if run == 0 {
		return t.slope
	}
	return rise / run
}

// detect compares the trend with the threshold. Overuse must last, and not be falling already; once
// found it stays until the trend is back under the threshold.
func (t *trend) detect(scaled float64, rising bool, step time.Duration) {
	if scaled <= t.threshold {
		t.over, t.overs = 0, 0
		t.state = normal
		if scaled < -t.threshold {
			t.state = underuse
		}
		return
	}
	if t.overs == 0 {
		step /= 2 // it went over somewhere between this group and the last
	}
	t.over += step
	t.overs++
	if t.over > overuseTime && t.overs > 1 && rising {
		t.over, t.overs = 0, 0
		t.state = overuse
	}
}

// adapt moves the threshold towards the trend, so that jitter and flows that fill queues on purpose
// do not starve us.
func (t *trend) adapt(scaled float64, at time.Duration) {
	step := min(max(at-t.adapted, 0), thresholdStepMax)
	t.adapted = at
	if scaled > t.threshold+thresholdOutlier {
		return
	}
	gain := thresholdUp
	if scaled < t.threshold {
		gain = thresholdDown
	}
	t.threshold += gain * (scaled - t.threshold) * milliseconds(step)
	t.threshold = min(max(t.threshold, thresholdMin), thresholdMax)
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }
