package rtc

// What the master of a storage session sends, on its way to the session's viewers and to whoever taps
// it; voice.go has the way back. Packets pass on the goroutine that received them; pion's track copies
// each to every viewer it is bound to. Owner: whoever made the feed; its mutex guards everything else. In
// order of execution:
//
//	From      a master becomes the source at once: there is no other, or it is gone
//	Succeed   a master is to become the source without a gap (handover.go)
//	write     a packet of any master: passed on, held, or dropped

import (
	"fmt"
	"sync"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// apartMost is how far the frames of two masters may be apart that are the same camera's.
const apartMost = 10 * time.Second

// opusTrack is a session's sound, each way.
var opusTrack = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: audioClockHz, Channels: 2}

// Tap takes each packet that passes, as the viewers get it, with the time it was captured; zero: not
// known. It must not wait, keep the packet, or call the feed.
type Tap func(track messages.Track, p *rtp.Packet, captured time.Time)

// Feed is the media of one storage session. Masters come and go, the viewers' streams go on.
type Feed struct {
	lanes [2]*lane // by messages.Track
	tap   Tap      // nil: nobody

	mu     sync.Mutex
	source *Participant
	heir   *handover    // nil: nobody is to succeed
	former *Participant // the source before; what it sent before the cut may still come
	cut    time.Time    // between the two; zero: not known
	floor  floor        // of the viewers (voice.go)
}

// lane is one track. A viewer sees one stream (RFC 3550 5.1): the numbers of a new master are shifted
// so that they follow on the old one's. The feed's mutex guards it.
type lane struct {
	out   *webrtc.TrackLocalStaticRTP
	clock uint32 // Hz
	gap   uint32 // at least, in the RTP time between two masters

	numbers  shift // of the source
	before   shift // of the former one
	sequence uint16
	time     uint32    // of the newest packet, as the viewers got it
	captured time.Time // likewise; zero: not known
	passed   time.Time // likewise, by our clock
	counts   TrackCount
}

// shift makes a stream's numbers of those of a packet's sender.
type shift struct {
	set      bool
	sequence uint16
	time     uint32
}

// following is the shift by which a packet follows on another, at a time.
func following(sequence uint16, time uint32, p *rtp.Packet) shift {
	return shift{true, sequence + 1 - p.SequenceNumber, time - p.Timestamp}
}

// number gives a packet the stream's numbers. The header's extensions and sources stay behind: they were
// negotiated with the packet's sender, and are its own.
func (s shift) number(p *rtp.Packet) {
	p.SequenceNumber += s.sequence
	p.Timestamp += s.time
	p.Extension, p.Extensions, p.CSRC = false, nil, nil
}

// NewFeed makes a feed without a source. tap may be nil.
func NewFeed(tap Tap) (*Feed, error) {
	f := &Feed{tap: tap, floor: newFloor()}
	for track, codec := range map[messages.Track]webrtc.RTPCodecCapability{
		messages.Video: {MimeType: webrtc.MimeTypeH264, ClockRate: videoClockHz},
		messages.Audio: opusTrack,
	} {
		out, err := webrtc.NewTrackLocalStaticRTP(codec, track.String(), "storage")
		if err != nil {
			return nil, fmt.Errorf("make %s feed: %w", track, err)
		}
		f.lanes[track] = &lane{out: out, clock: codec.ClockRate, gap: codec.ClockRate / 30}
	}
	return f, nil
}

// From makes a master the source; what others still send is dropped.
func (f *Feed) From(s *Participant) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.source, f.heir, f.former, f.cut = s, nil, nil, time.Time{}
	for _, l := range f.lanes {
		l.numbers = shift{}
	}
}

// Counts is what has passed, by messages.Track.
func (f *Feed) Counts() (counts [2]TrackCount) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, l := range f.lanes {
		counts[i] = l.counts
	}
	return counts
}

// write takes a packet of a master. The result says that this packet made the heir the source: tell it
// outside of the lock.
func (f *Feed) write(from *Participant, track messages.Track, p *rtp.Packet, now time.Time) (took *Participant) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case from == f.source && f.heir == nil:
		f.pass(track, p, now)
	case from == f.source:
		return f.fromSource(track, p, now)
	case f.heir != nil && from == f.heir.who:
		return f.fromHeir(track, p, now)
	case from == f.former && track == messages.Video:
		f.fromFormer(p)
	}
	return nil
}

// pass passes a packet of the source on.
func (f *Feed) pass(track messages.Track, p *rtp.Packet, now time.Time) {
	l, captured := f.lanes[track], f.source.captured(track, p.Timestamp)
	if !l.numbers.set && !f.begins(l, p, captured, now) {
		return
	}
	if next := p.SequenceNumber + l.numbers.sequence; int16(next-l.sequence) > 0 {
		l.sequence, l.time, l.captured, l.passed = next, p.Timestamp+l.numbers.time, captured, now
	}
	f.emit(track, p, l.numbers, captured)
}

// begins numbers the first packet of a source: its time is as far behind the newest that has passed as
// it was captured later, or came later. false: the former source's have passed already that were captured
// then.
func (f *Feed) begins(l *lane, p *rtp.Packet, captured, now time.Time) bool {
	ticks := l.gap
	apart := captured.Sub(l.captured)
	switch {
	case l.passed.IsZero():
	case f.former == nil || f.cut.IsZero() || captured.IsZero() || l.captured.IsZero() || apart.Abs() > apartMost:
		ticks = max(ticks, uint32(rtpTime(now.Sub(l.passed), int64(l.clock))))
	case apart < sameSound:
		return false
	default:
		ticks = uint32(rtpTime(apart, int64(l.clock)))
	}
	l.numbers = following(l.sequence, l.time+ticks, p)
	return true
}

// fromFormer lets through what was lost on the way and has been sent once more.
func (f *Feed) fromFormer(p *rtp.Packet) {
	captured := f.former.captured(messages.Video, p.Timestamp)
	if f.cut.IsZero() || captured.IsZero() || !captured.Before(f.cut.Add(-sameFrame)) {
		return
	}
	f.emit(messages.Video, p, f.lanes[messages.Video].before, captured)
}

// emit writes a packet under the stream's numbers. A viewer that cannot be written to is found out by its own ICE agent.
func (f *Feed) emit(track messages.Track, p *rtp.Packet, by shift, captured time.Time) {
	l := f.lanes[track]
	l.counts.add(track, p)
	by.number(p)
	if f.tap != nil {
		f.tap(track, p, captured)
	}
	_ = l.out.WriteRTP(p)
}
