package rtc

// A master's second peer takes the place of its first (kvs-protocol.md 4.5: a session lasts an hour) so
// that no frame is lost and none comes twice. Both peers send the same frames for a while. Their RTP
// numbers have nothing to do with each other; their sender reports say when each frame was captured,
// and the stream changes from one peer to the other in front of a key frame, the cut:
//
//	the source   what was captured before the cut passes; from it on it is held
//	the heir     what was captured before the cut is dropped; from it on it is held
//	takeOver     once the heir's key frame is whole: its frames pass, those held of the source do not
//
// Sound changes over at any packet: behind the newest one that has passed.

import (
	"slices"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtp"
)

const (
	// Two packets captured less than sameFrame apart are of one frame: less than half of a frame at 60 a
	// second; sound has 20 ms.
	sameFrame = 6 * time.Millisecond
	sameSound = 8 * time.Millisecond

	keyWait    = time.Second             // for the packets of the heir's key frame, lost ones sent once more
	reportWait = 2500 * time.Millisecond // for the sender reports of both, which clients send each second
	sourceWait = 400 * time.Millisecond  // for the source to come to the cut, or the heir
	heldMax    = 4096                    // packets of one track
	cutsMax    = 4                       // that fail: these masters' clocks are not one, any key frame will do
)

// handover is the heir and what is held until it takes over.
type handover struct {
	who   *Participant
	cut   time.Time // zero: none
	since time.Time // when it was made, or the heir's first key frame came without the time of its capture

	held    [2][]*rtp.Packet // of the heir; of video from a key frame on
	key     uint32           // RTP time of that
	sourced []*rtp.Packet    // video of the source
	failed  int              // cuts that came to nothing
}

// comparable tells whether the times of both masters' frames are known and go by one clock.
func (f *Feed) comparable() bool {
	return f.heir.failed < cutsMax && f.source.reported(messages.Video) && f.heir.who.reported(messages.Video)
}

// Succeed lets a master take the source's place without a gap; the master's Read tells when it has, by a
// *messages.PeerTookOver. The one to succeed before is forgotten.
func (f *Feed) Succeed(s *Participant) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.heir != nil {
		f.release(time.Now())
	}
	f.heir = &handover{who: s}
}

// Forget gives up on a master that is to succeed.
func (f *Feed) Forget(s *Participant) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.heir != nil && f.heir.who == s {
		f.release(time.Now())
		f.heir = nil
	}
}

func (f *Feed) fromSource(track messages.Track, p *rtp.Packet, now time.Time) *Participant {
	h, captured := f.heir, f.source.captured(track, p.Timestamp)
	if track == messages.Audio {
		f.pass(track, p, now)
		return f.advance(now)
	}
	if h.cut.IsZero() && len(h.held[messages.Video]) == 0 && f.comparable() && beginsKeyFrame(p.Payload) {
		h.cut, h.since = captured, now
	}
	if h.cut.IsZero() || captured.IsZero() || captured.Before(h.cut.Add(-sameFrame)) {
		f.pass(track, p, now)
	} else {
		h.sourced = append(h.sourced, p)
	}
	return f.advance(now)
}

func (f *Feed) fromHeir(track messages.Track, p *rtp.Packet, now time.Time) *Participant {
	h := f.heir
	switch {
	case track == messages.Audio:
		h.held[track] = append(h.held[track], p)
		if excess := len(h.held[track]) - heldMax/8; excess > 0 {
			h.held[track] = slices.Delete(h.held[track], 0, excess)
		}
	case len(h.held[track]) > 0:
		h.held[track] = append(h.held[track], p)
	case beginsKeyFrame(p.Payload):
		f.begin(p, now)
	}
	return f.advance(now)
}

// begin takes the heir's key frame for its first, unless it comes too late for the cut.
func (f *Feed) begin(p *rtp.Packet, now time.Time) {
	h, captured := f.heir, f.heir.who.captured(messages.Video, p.Timestamp)
	if f.comparable() {
		if !f.cutAt(captured, now) {
			return
		}
	} else {
		h.since = now
	}
	h.held[messages.Video], h.key = append(h.held[messages.Video], p), p.Timestamp
}

// cutAt moves the cut to the heir's key frame; false: the source's has passed already.
func (f *Feed) cutAt(captured time.Time, now time.Time) bool {
	h, newest := f.heir, f.lanes[messages.Video].captured
	if !newest.IsZero() && captured.Before(newest.Add(sameFrame)) {
		return false
	}
	if h.cut.IsZero() || !captured.Before(h.cut.Add(sameFrame)) {
		held := h.sourced
		h.cut, h.since, h.sourced = captured, now, nil
		for _, p := range held {
			if f.source.captured(messages.Video, p.Timestamp).Before(captured.Add(-sameFrame)) {
				f.pass(messages.Video, p, now)
			} else {
				h.sourced = append(h.sourced, p)
			}
		}
	}
	return true
}

// advance looks whether the heir can take over now, and gives up on a cut that comes to nothing.
func (f *Feed) advance(now time.Time) *Participant {
	h := f.heir
	video := h.held[messages.Video]
	waited := now.Sub(h.since)
	full := len(video) >= heldMax || len(h.sourced) >= heldMax
	switch {
	case len(video) == 0:
		if !h.cut.IsZero() && (waited > sourceWait || full) {
			f.release(now)
		}
		return nil
	case !h.whole():
		if waited > keyWait || full {
			f.release(now)
		}
		return nil
	case h.cut.IsZero():
		captured := h.who.captured(messages.Video, h.key)
		if !f.comparable() {
			if waited > reportWait || full || h.failed >= cutsMax {
				return f.takeOver(now)
			}
			return nil
		}
		if !f.cutAt(captured, now) {
			f.release(now)
			return nil
		}
	}
	if soundless := !h.who.reported(messages.Audio) && f.source.reported(messages.Audio); soundless && waited < sourceWait && !full {
		return nil
	}
	if len(h.sourced) > 0 || waited > sourceWait || full {
		return f.takeOver(now)
	}
	return nil
}

// release gives up the cut: the source goes on, and the heir is asked for another key frame.
func (f *Feed) release(now time.Time) {
	h := f.heir
	h.failed++
	for _, p := range h.sourced {
		f.pass(messages.Video, p, now)
	}
	h.sourced, h.held[messages.Video], h.cut, h.since = nil, nil, time.Time{}, time.Time{}
	_ = h.who.RequestKeyFrame() // its peer is closing: the ingest will hear
}

// takeOver makes the heir the source and lets go what was held of it.
func (f *Feed) takeOver(now time.Time) *Participant {
	h := f.heir
	f.cut, f.former, f.source, f.heir = h.cut, f.source, h.who, nil
	for _, l := range f.lanes {
		l.before, l.numbers = l.numbers, shift{}
	}
	f.continueVideo(h)
	for _, track := range []messages.Track{messages.Video, messages.Audio} {
		for _, p := range h.held[track] {
			f.pass(track, p, now)
		}
	}
	return h.who
}

// continueVideo finds the numbers of the heir's: those that the source's key frame would have had, or
// that follow on.
func (f *Feed) continueVideo(h *handover) {
	l := f.lanes[messages.Video]
	captured := h.who.captured(messages.Video, h.key)
	first := h.first()
	switch {
	case len(h.sourced) > 0 && !h.cut.IsZero():
		was := h.sourced[0]
		at := was.Timestamp + l.before.time
		if off := captured.Sub(f.former.captured(messages.Video, was.Timestamp)); off.Abs() > sameFrame {
			at += uint32(rtpTime(off, int64(l.clock)))
		}
		l.numbers = shift{true, was.SequenceNumber + l.before.sequence - first, at - h.key}
	case !captured.IsZero() && !l.captured.IsZero() && captured.After(l.captured):
		l.numbers = shift{true, l.sequence + 1 - first, l.time + uint32(rtpTime(captured.Sub(l.captured), int64(l.clock))) - h.key}
	}
}

// first is the number of the first packet of the heir's key frame.
func (h *handover) first() uint16 {
	first := h.held[messages.Video][0].SequenceNumber
	for _, p := range h.held[messages.Video] {
		if p.Timestamp == h.key && int16(p.SequenceNumber-first) < 0 {
			first = p.SequenceNumber
		}
	}
	return first
}

// whole tells whether every packet of the heir's key frame has come.
func (h *handover) whole() bool {
	first, n := h.first(), uint16(0)
	last, marked := uint16(0), false
	for _, p := range h.held[messages.Video] {
		if p.Timestamp != h.key {
			continue
		}
		n++
		if p.Marker {
			last, marked = p.SequenceNumber, true
		}
	}
	return marked && n == last-first+1
}

// beginsKeyFrame tells whether an H.264 payload is the first of a picture to begin decoding with: a
// parameter set or an IDR slice (RFC 6184 5.4, 5.7.1, 5.8).
func beginsKeyFrame(payload []byte) bool {
	const idr, sps, aggregate, fragment = 5, 7, 24, 28
	if len(payload) < 2 {
		return false
	}
	switch payload[0] & 0x1f {
	case idr, sps:
		return true
	case aggregate:
		return len(payload) > 3 && (payload[3]&0x1f == sps || payload[3]&0x1f == idr)
	case fragment:
		return payload[1]&0x80 != 0 && payload[1]&0x1f == idr
	}
	return false
}
