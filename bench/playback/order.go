package playback

import "time"

const (
	gapPatience = time.Second // how long a retransmission may take before a gap counts as lost
	waitingMax  = 2048        // packets that wait behind a gap

	// keyPatience is how long a gap delays a whole key frame behind it: a browser's buffer for late
	// packets. A decoder needs nothing before a key frame, and goes on with it.
	keyPatience = 100 * time.Millisecond
)

// order puts the packets of a track back in sequence, so that retransmissions fill gaps. A gap that
// nothing fills is given up: its packets count as lost, and the next packet comes with gap set.
type order struct {
	opens func(Packet) bool // can the track start with this packet?

	started  bool
	any      bool
	newest   uint64 // highest sequence number so far, extended past 16 bits
	next     uint64 // the one to emit next
	waiting  map[uint64]held
	gapSince time.Time // when the first packet behind the gap came

	missed uint64 // were not there when a later one came
	filled uint64 // of missed: came in time

	lost uint64
	late uint64 // of no use: twice, after they had been given up, or before the start
}

// held is a packet behind a gap.
type held struct {
	Packet
	came time.Time
}

// push takes a packet as it came and emits what is in order now.
func (o *order) push(now time.Time, p Packet, emit func(p Packet, gap bool)) {
	known, before := o.any, o.newest
	seq := o.extend(p.seq)
	if known && seq > before+1 {
		o.missed += seq - before - 1
	}
	if _, twice := o.waiting[seq]; twice || o.started && seq < o.next {
		o.late++
		return
	}
	if known && seq < before {
		o.filled++
	}
	if o.waiting == nil {
		o.waiting = make(map[uint64]held)
	}
	if len(o.waiting) == 0 {
		o.gapSince = now
	}
	o.waiting[seq] = held{p, now}
	if !o.started && !o.start() {
		return
	}
	o.release(emit)
	for len(o.waiting) > 0 && (now.Sub(o.gapSince) > gapPatience || len(o.waiting) > waitingMax) {
		first := o.lowest()
		o.lost += first - o.next
		o.next = first
		emit(o.take(), true)
		o.release(emit)
		o.since()
	}
	if first, ok := o.keyFrame(now); ok {
		o.leap(first)
		emit(o.take(), true)
		o.release(emit)
		o.since()
	}
}

// keyFrame finds a whole key frame behind a gap that has been there for keyPatience.
func (o *order) keyFrame(now time.Time) (first uint64, ok bool) {
	if len(o.waiting) == 0 || now.Sub(o.gapSince) < keyPatience {
		return 0, false
	}
	for seq, p := range o.waiting {
		if p.nal.begin && o.whole(seq) && seq >= first {
			first, ok = seq, true
		}
	}
	return first, ok
}

func (o *order) whole(seq uint64) bool {
	for {
		p, there := o.waiting[seq]
		if !there || p.marker {
			return there
		}
		seq++
	}
}

// leap goes on with a packet, and leaves what is before it.
func (o *order) leap(first uint64) {
	for ; o.next < first; o.next++ {
		if _, there := o.waiting[o.next]; !there {
			o.lost++
		}
		delete(o.waiting, o.next)
	}
}

// start finds the first packet of a picture that needs nothing before it. What came earlier belongs
// to pictures that nobody can decode.
func (o *order) start() bool {
	found := false
	for seq, p := range o.waiting {
		if o.opens(p.Packet) && (!found || seq < o.next) {
			o.next, found = seq, true
		}
	}
	if !found {
		if len(o.waiting) > waitingMax {
			delete(o.waiting, o.lowest())
		}
		return false
	}
	for seq := range o.waiting {
		if seq < o.next {
			delete(o.waiting, seq)
			o.late++
		}
	}
	o.started = true
	return true
}

func (o *order) release(emit func(p Packet, gap bool)) {
	moved := false
	for {
		if _, ok := o.waiting[o.next]; !ok {
			break
		}
		emit(o.take(), false)
		moved = true
	}
	if moved {
		o.since()
	}
}

// since finds out how long the gap that is next has been known.
func (o *order) since() {
	first := true
	for _, p := range o.waiting {
		if first || p.came.Before(o.gapSince) {
			o.gapSince, first = p.came, false
		}
	}
}

func (o *order) take() Packet {
	p := o.waiting[o.next]
	delete(o.waiting, o.next)
	o.next++
	return p.Packet
}

func (o *order) lowest() uint64 {
	first := true
	var low uint64
	for seq := range o.waiting {
		if first || seq < low {
			low, first = seq, false
		}
	}
	return low
}

// extend counts sequence numbers past their 16 bits (RFC 3550 section A.1).
func (o *order) extend(seq uint16) uint64 {
	if !o.any {
		o.any, o.newest = true, 1<<32|uint64(seq) // leaves room below for what was overtaken
		return o.newest
	}
	ext := o.newest + uint64(int64(int16(seq-uint16(o.newest))))
	o.newest = max(o.newest, ext)
	return ext
}
