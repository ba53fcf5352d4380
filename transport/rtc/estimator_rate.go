package rtc

import (
	"math"
	"time"
)

const (
	// backOff of the acknowledged bitrate on overuse: draft 5.5 and table 1, beta.
	backOff = 0.85

	// growth a second while the capacity is not known, and the longest time between two feedbacks that
	// counts: draft 5.5, eta.
	growth        = 0.08
	growthStepMax = time.Second

	// Every second of such growth without overuse adds growth to its pace, up to growthMax. This is
	// ours, in place of the probes of libwebrtc, which double the rate at once: at 8 % a second a path
	// that carries 4 Mbit/s again after 800 kbit/s would be full after 20 s. Overuse is seen within
	// half a second, so that the rate is at most a sixth over the capacity by then.
	growthMax = 0.32

	// growthMinBits a second is what the rate grows by at least. libwebrtc, aimd_rate_control: 4000.
	growthMinBits = 4000

	// The rate does not grow over headroom times what is acknowledged and headroomBits: draft 5.5;
	// libwebrtc added the bits. So the target of a stream that sends less than it may is bounded too.
	headroom     = 1.5
	headroomBits = 10_000

	// Additive growth is half a packet for every response time, which is detectionTime and the round
	// trip; packetBits and framesPerSecond say how large packets are at a rate: draft 5.5.
	detectionTime   = 100 * time.Millisecond
	packetBits      = 1200 * 8
	framesPerSecond = 30

	// What was lowered is lowered again after a round trip within these bounds, or at once when not
	// half of it comes through. libwebrtc, aimd_rate_control: 10 to 200 ms.
	reduceIntervalMin = 10 * time.Millisecond
	reduceIntervalMax = 200 * time.Millisecond

	// A capacity is believed for as long as additive growth needs to win back what was taken, within
	// these bounds, and recoveryMargin. libwebrtc, aimd_rate_control, expects the next overuse after
	// the same period, and has the bounds.
	recoveryMin    = 2 * time.Second
	recoveryMax    = 50 * time.Second
	recoveryMargin = 1 * time.Second
)

// delayRate is the rate that the delays allow (draft 5.5). It decreases on overuse, is held while
// queues empty, and grows otherwise.
type delayRate struct {
	rate float64 // bit/s

	held     bool
	changed  time.Duration // when the rate changed, or was free to
	calm     time.Duration // how long growth has met no overuse while the capacity is unknown
	reduced  bool          // overuse was seen at least once
	expires  time.Duration // when the capacity is not believed any longer
	capacity capacity
}

// update takes in one feedback.
func (r *delayRate) update(state delayState, t *throughput, roundTrip, now time.Duration) {
	switch acknowledged := t.rate(); {
	case state == overuse:
		if r.mayReduce(acknowledged, roundTrip, now) {
			r.reduce(t.peak(), roundTrip, now)
		}
	case state == underuse:
		r.held = true
	case r.held:
		r.held, r.changed = false, now
	case acknowledged > 0:
		r.grow(acknowledged, roundTrip, min(max(now-r.changed, 0), growthStepMax), now)
	}
}

// mayReduce keeps reductions apart. acknowledged is 0 while it is unknown.
func (r *delayRate) mayReduce(acknowledged float64, roundTrip, now time.Duration) bool {
	if acknowledged == 0 {
		return now-r.changed >= reduceIntervalMax
	}
	return now-r.changed >= min(max(roundTrip, reduceIntervalMin), reduceIntervalMax) || acknowledged < r.rate/2
}

// reduce goes below what comes through, so that the queues empty; to half while that is unknown, as
// libwebrtc's delay_based_bwe does. It never raises the rate.
func (r *delayRate) reduce(acknowledged float64, roundTrip, now time.Duration) {
	r.held, r.reduced, r.changed, r.calm = true, true, now, 0
	if acknowledged == 0 {
		r.rate /= 2
		return
	}
	taken := min(r.rate, acknowledged) - backOff*acknowledged
	r.rate = min(r.rate, backOff*acknowledged)
	r.capacity.met(acknowledged)

	recovery := time.Duration(taken / r.additive(roundTrip) * float64(time.Second))
	r.expires = now + min(max(recovery, recoveryMin), recoveryMax) + recoveryMargin
}

// grow adds what may be added for step: by a share while the capacity is unknown, by half a packet
// for each response time close to it.
func (r *delayRate) grow(acknowledged float64, roundTrip, step, now time.Duration) {
	r.changed = now
	if acknowledged > r.capacity.upper() || now > r.expires {
		r.capacity = capacity{}
	}
	if !r.reduced { // what came through before there ever was overuse, the path carries
		r.rate = max(r.rate, acknowledged)
	}
	limit := headroom*acknowledged + headroomBits
	if r.rate >= limit {
		return // it once was allowed, and nothing speaks against it now
	}
	more := r.additive(roundTrip) * step.Seconds()
	if !r.capacity.known {
		pace := min(growth*(1+r.calm.Seconds()), growthMax)
		more = max(r.rate*(math.Pow(1+pace, step.Seconds())-1), growthMinBits*step.Seconds())
		r.calm += step
	}
	r.rate = min(r.rate+more, limit)
}

// additive is what the rate grows by in a second when it is close to the capacity.
func (r *delayRate) additive(roundTrip time.Duration) float64 {
	frame := r.rate / framesPerSecond
	packet := frame / max(1, math.Ceil(frame/packetBits))
	return max(packet/2/(detectionTime+roundTrip).Seconds(), growthMinBits)
}

const (
	// capacityWeight of a new sample: draft 5.5, 0.05.
	capacityWeight = 0.05

	// The variance is kept as a share of the mean, within bounds that are in kbit/s; capacityDeviations
	// of its root are close. libwebrtc, link_capacity_estimator: 0.4 and 2.5, which is 14 and 35
	// kbit/s at 500 kbit/s; draft 5.5, three standard deviations.
	capacityVarianceMin = 0.4
	capacityVarianceMax = 2.5
	capacityDeviations  = 3
)

// capacity is what came through when overuse was met. The zero value knows nothing.
type capacity struct {
	known    bool
	mean     float64 // kbit/s
	variance float64 // kbit/s, over the mean
}

// met takes in what came through at an overuse. One that is far below is a path that has changed.
func (c *capacity) met(acknowledged float64) {
	sample := acknowledged / 1000
	if !c.known || sample < c.mean-c.deviation() {
		*c = capacity{known: true, mean: sample, variance: capacityVarianceMin}
		return
	}
	c.mean += capacityWeight * (sample - c.mean)
	off := (sample - c.mean) * (sample - c.mean) / max(c.mean, 1)
	c.variance += capacityWeight * (off - c.variance)
	c.variance = min(max(c.variance, capacityVarianceMin), capacityVarianceMax)
}

func (c *capacity) deviation() float64 { return capacityDeviations * math.Sqrt(c.variance*c.mean) }

// upper is the bitrate from which on the path must have changed.
func (c *capacity) upper() float64 {
	if !c.known {
		return math.Inf(1)
	}
	return (c.mean + c.deviation()) * 1000
}
