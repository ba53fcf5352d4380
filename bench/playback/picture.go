package playback

import "time"

// picture is one that a decoder could show: complete, and everything it refers to was complete.
type picture struct {
	time  uint32
	key   bool
	stamp time.Time // when it was taken; zero: not stamped
}

// assembler makes pictures of packets in order. It takes H.264 as the engine's sources make it: every
// picture may refer to the one before, so that a gap breaks the chain until the next key frame.
type assembler struct {
	synced   bool // the next packet begins a picture
	open     bool // cur has packets
	chain    bool // every picture since the last key frame was complete
	sps, pps bool // known since some picture

	cur     picture
	parts   nalParts
	inside  bool // a fragmented NAL unit is not finished
	damaged bool
}

// add takes the next packet in order and emits the pictures that it ends.
func (s *assembler) add(p Packet, gap bool, emit func(picture)) {
	if gap {
		s.synced, s.open, s.chain = false, false, false
	}
	if !s.synced && !p.nal.begin {
		s.synced = p.marker // the rest of a picture that began in the gap
		return
	}
	s.synced = true
	if s.open && s.cur.time != p.time {
		s.finish(emit) // the sender set no marker
	}
	if !s.open {
		s.open, s.cur, s.parts, s.inside, s.damaged = true, picture{time: p.time}, nalParts{}, false, false
	}
	s.take(p)
	if p.marker {
		s.finish(emit)
	}
}

func (s *assembler) take(p Packet) {
	n := p.nal
	s.parts.sps, s.parts.pps = s.parts.sps || n.sps, s.parts.pps || n.pps
	s.parts.idr, s.parts.slice = s.parts.idr || n.idr, s.parts.slice || n.slice
	// A fragmented unit begins with its first fragment and nothing comes between (RFC 6184 section 5.8).
	begins := !n.fragment || n.first
	s.damaged = s.damaged || n.bad || begins == s.inside
	s.inside = n.fragment && !n.last
	if !p.stamp.IsZero() {
		s.cur.stamp = p.stamp
	}
}

func (s *assembler) finish(emit func(picture)) {
	s.open = false
	if s.damaged || s.inside {
		s.chain = false
		return
	}
	s.sps, s.pps = s.sps || s.parts.sps, s.pps || s.parts.pps
	switch {
	case s.parts.idr:
		s.chain = s.sps && s.pps
		s.cur.key = true
	case !s.parts.slice:
		return // parameter sets alone
	}
	if s.chain {
		emit(s.cur)
	}
}
