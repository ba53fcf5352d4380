// Package impair puts a bad network under a simulated viewer: delay, loss and a rate with a bounded
// queue on the viewer's packet sockets, in both directions. The kernels that tests run on often have
// no netem, and a run has to be repeatable: every decision follows from a seed and the number of the
// packet, never from the wall clock. Signaling passes untouched, and TURN over TCP does not pass at all.
// Three things come when the run orders them, whatever the profile: Outage, Stall and SetRate.
//
// Flow: pion asks Net for a socket -> Conn wraps it -> each direction asks its line when a packet is
// due -> it waits its time in order -> it goes on.
package impair

import "time"

// Profile says what the network does to packets. The zero value does nothing.
type Profile struct {
	RTT        time.Duration // half of it delays each direction
	Loss       float64       // share of the packets that each direction loses, 0 to 1
	LossIn     float64       // the same of incoming packets alone; the greater of the two counts for them
	RateBps    int           // bits per second that each direction carries, headers included; 0: any
	QueueBytes int           // bound of the queue before the rate; 0: what the rate carries in 200 ms
	Seed       uint64        // the same seed loses the same packets
}

// IsZero tells whether the profile leaves packets alone.
func (p Profile) IsZero() bool { return p.RTT == 0 && p.Loss == 0 && p.LossIn == 0 && p.RateBps == 0 }

const (
	headerBytes      = 28   // IPv4 and UDP, which the rate carries too
	queueBytesMin    = 3000 // two full packets: a shorter queue could never pass one
	flightPacketsMax = 8192 // packets on their way in one direction of one socket
	queueTime        = 200 * time.Millisecond
)

// fate is what becomes of a packet.
type fate uint8

const (
	delivered fate = iota
	lost           // by chance
	overflown      // the queue before the rate was full
)

// line is one direction of one socket. It keeps no time of its own, so that its schedule is a pure
// function of the packets' sizes and times.
type line struct {
	delay      time.Duration
	loss       uint64 // a random number below this loses the packet
	always     bool   // loss of 1 and above
	rateBps    int
	queueBytes int
	seed       uint64
	packets    uint64    // packets so far, the counter of the random numbers
	free       time.Time // when the rate's link has sent all that it took
}

func newLine(p Profile, seed uint64) line {
	l := line{
		delay: p.RTT / 2, rateBps: p.RateBps, queueBytes: p.QueueBytes,
		seed: mix(p.Seed ^ mix(seed)), always: p.Loss >= 1,
	}
	if p.Loss > 0 && p.Loss < 1 {
		l.loss = uint64(p.Loss*(1<<32)) << 32
	}
	if l.rateBps > 0 && l.queueBytes == 0 {
		l.queueBytes = int(float64(l.rateBps) / 8 * queueTime.Seconds())
	}
	l.queueBytes = max(l.queueBytes, queueBytesMin)
	return l
}

// change takes over a rate that the run has ordered; 0: none.
func (l *line) change(bps int) {
	if bps != 0 && bps != l.rateBps {
		l.rateBps, l.queueBytes = bps, max(int(float64(bps)/8*queueTime.Seconds()), queueBytesMin)
	}
}

// admit decides about a packet of size bytes that comes at now. Due times never go back.
func (l *line) admit(now time.Time, size int) (due time.Time, f fate) {
	l.packets++
	if l.always || mix(l.seed+l.packets) < l.loss {
		return time.Time{}, lost
	}
	if l.rateBps == 0 {
		return now.Add(l.delay), delivered
	}
	size += headerBytes
	start := now
	if l.free.After(now) {
		start = l.free
	}
	waiting := start.Sub(now).Seconds() * float64(l.rateBps) / 8
	if int(waiting)+size > l.queueBytes {
		return time.Time{}, overflown
	}
	l.free = start.Add(time.Duration(float64(size*8) / float64(l.rateBps) * float64(time.Second)))
	return l.free.Add(l.delay), delivered
}

// mix is the finaliser of SplitMix64: the random number that belongs to a counter.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}
