package rtc

import "time"

// An estimator says how many bits a second the path to one viewer carries: Google congestion control
// (draft-ietf-rmcat-gcc-02) on transport-wide feedback
// (draft-holmer-rmcat-transport-wide-cc-extensions-01), with the refinements that libwebrtc made.
//
//	sent      every packet's departure goes into a ring, by its transport-wide number
//	feedback  statuses (estimator_feedback.go) meet their departures
//	          -> throughput: what the viewer acknowledges      (estimator_throughput.go)
//	          -> arrivals and trend: do queues grow?           (estimator_delay.go)
//	          -> standing: how long do packets wait in one?    (estimator_queue.go)
//	          -> delayRate: bits a second by delay             (estimator_rate.go)
//	          -> lossRate: bits a second by loss               (estimator_loss.go)
//	target    the lower of the two rates, within floor and ceiling
//
// It has no clock, no goroutine and no lock: it belongs to whoever holds the caller's lock.
// Time inside is what has passed since the first packet; arrivals are on the viewer's clock, of
// which only differences mean anything.
//
// A packet counts once. It is arrived or missing when a feedback says so for the first time; missing
// turns to arrived when a later one corrects it, as after reordering; it counts as lost when the next
// one does not. What no feedback speaks of, because the feedback itself was lost, is neither.
type estimator struct {
	floor, ceiling float64 // bit/s

	begun      bool
	epoch      time.Time // departure of the first packet
	departures [departuresMax]departure

	reference  referenceClock
	next       uint16        // the number after the last that a feedback spoke of
	heard      time.Duration // when the last feedback of use came; 0 before the first
	throughput throughput
	arrivals   arrivals
	trend      trend
	standing   standing
	delay      delayRate
	loss       lossRate
	roundTrip  time.Duration // smoothed; 0 before the first measurement
}

const (
	// departuresMax is how many packets a feedback can reach back: about 5 s of a 4 Mbit/s stream.
	// A power of two, so that a number's slot stays when the numbers wrap around.
	departuresMax = 2048

	// silenceMax is how long the viewer may say nothing before the history of delays is void, and
	// before the numbers of its feedback may mean anything. libwebrtc, delay_based_bwe: 2 s.
	silenceMax = 2 * time.Second

	// roundTripWeight of a new measurement: RFC 6298 2.3.
	roundTripWeight = 8
)

// departure is a packet sent. Its slot is its number modulo departuresMax.
type departure struct {
	at    time.Duration
	seq   uint16
	bytes uint16
	fate  fate
}

type fate uint8

const (
	nobody   fate = iota // the slot was never used
	underway             // no feedback has spoken of it
	missing
	arrived
)

// newEstimator makes an estimator whose target begins at start and stays within floor and ceiling,
// all in bits per second.
func newEstimator(start, floor, ceiling int) *estimator {
	e := &estimator{floor: float64(floor), ceiling: float64(max(floor, ceiling)), trend: newTrend()}
	e.delay.rate = e.clamp(float64(start))
	e.loss.rate = e.ceiling
	return e
}

func (e *estimator) clamp(rate float64) float64 { return min(max(rate, e.floor), e.ceiling) }

// target is what may be sent now, in bits per second.
func (e *estimator) target() int { return int(e.clamp(min(e.delay.rate, e.loss.rate))) }

// limited tells whether the path has ever shown that it carries no more than so much.
func (e *estimator) limited() bool { return e.delay.reduced || e.loss.rate < e.delay.rate }

// sent notes that the packet with this transport-wide number leaves now.
func (e *estimator) sent(seq uint16, bytes int, at time.Time) {
	if !e.begun {
		e.begun, e.epoch = true, at
	}
	e.departures[seq%departuresMax] = departure{at: at.Sub(e.epoch), seq: seq, bytes: uint16(bytes), fate: underway}
}

// departure returns the packet with this number, nil when it was never sent or is long gone.
func (e *estimator) departure(seq uint16) *departure {
	d := &e.departures[seq%departuresMax]
	if d.fate == nobody || d.seq != seq {
		return nil
	}
	return d
}

// feedback takes in what the viewer says, and tells whether the target has changed. A feedback that
// says nothing new changes nothing.
func (e *estimator) feedback(fb feedback, now time.Time) (changed bool) {
	if !e.begun {
		return false
	}
	before, at := e.target(), now.Sub(e.epoch)
	if e.heard != 0 && at-e.heard > silenceMax {
		e.arrivals, e.trend, e.standing = arrivals{}, newTrend(), standing{}
	}
	news := e.read(fb, e.reference.at(fb.reference))
	if news.arrived == 0 && news.missing == 0 {
		return false
	}
	e.loss.confirm()
	e.acknowledge(fb, &news, at)
	e.delay.update(e.queues(), &e.throughput, e.roundTrip, at)
	e.delay.rate = e.clamp(e.delay.rate)
	e.loss.update(e.delay.rate, e.roundTrip, at)
	e.loss.rate = e.clamp(e.loss.rate)
	return e.target() != before
}

// queues says what the queues on the path do. One that loses much is full: it cannot grow.
func (e *estimator) queues() delayState {
	if e.loss.share > lossHigh && e.standing.wait > queueFull {
		return overuse
	}
	return e.trend.state
}

// news sums up what a feedback says for the first time.
type news struct {
	arrived, missing int
	bytes            int           // of all that arrived
	quickest         time.Duration // on its way, by a clock that is off by we do not know what
	first, last      time.Duration // arrivals, on the viewer's clock
	firstBytes       int           // of the packet that arrived first
	lastDeparture    time.Duration // of the packet that arrived last
}

// read decides the fates that the feedback knows of, and feeds the delays to the trend.
func (e *estimator) read(fb feedback, reference time.Duration) news {
	var n news
	for seq, s := range fb.statuses(reference) {
		d := e.departure(seq)
		switch {
		case d == nil || d.fate == arrived:
		case s.received:
			e.loss.arrived(d.fate == missing)
			d.fate = arrived
			n.arrival(d, s.at)
			e.trend.take(e.arrivals.take(d.at, s.at))
		case d.fate == underway:
			e.loss.missing()
			d.fate = missing
			n.missing++
		}
	}
	return n
}

func (n *news) arrival(d *departure, at time.Duration) {
	if n.arrived == 0 || at-d.at < n.quickest {
		n.quickest = at - d.at
	}
	if n.arrived == 0 || at < n.first {
		n.first, n.firstBytes = at, int(d.bytes)
	}
	if n.arrived == 0 || at >= n.last {
		n.last, n.lastDeparture = at, d.at
	}
	n.arrived++
	n.bytes += int(d.bytes)
}

// acknowledge measures throughput and round trip. A feedback that was overtaken by another measures
// neither: its time is accounted for.
func (e *estimator) acknowledge(fb feedback, n *news, at time.Duration) {
	known := e.heard != 0 && at-e.heard <= silenceMax
	end := fb.base + fb.count
	late := known && int16(end-e.next) <= 0
	if n.arrived == 0 || late {
		return
	}
	e.throughput.add(n, known && int16(fb.base-e.next) <= 0)
	e.standing.take(n.quickest, at)
	e.next, e.heard = end, max(at, 1)

	// The time since the viewer got its last packet is within; it is at most a feedback's interval.
	measured := max(at-n.lastDeparture, 0)
	if e.roundTrip == 0 {
		e.roundTrip = measured
	} else {
		e.roundTrip += (measured - e.roundTrip) / roundTripWeight
	}
}
