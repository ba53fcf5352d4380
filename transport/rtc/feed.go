package rtc

// What the master of a storage session sends, on its way to the session's viewers. Packets pass on
// the goroutine that received them; pion's track copies each to every viewer it is bound to. Owner:
// whoever made the feed; each lane's mutex guards its numbers.

import (
	"fmt"
	"sync"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// Feed is the media of one storage session. Masters come and go, the viewers' streams go on.
type Feed struct {
	lanes [2]*lane // by messages.Track
}

// lane is one track. A viewer sees one stream (RFC 3550 5.1): the numbers of a new master are shifted
// so that they follow on the old one's.
type lane struct {
	out *webrtc.TrackLocalStaticRTP
	gap uint32 // in the RTP time between two masters

	mu       sync.Mutex
	source   *Participant
	started  bool // the source has sent a packet
	sequence uint16
	time     uint32 // of the newest packet, as the viewers got it
	shift    uint16
	slide    uint32
}

// NewFeed makes a feed without a source.
func NewFeed() (*Feed, error) {
	f := &Feed{}
	for track, codec := range map[messages.Track]webrtc.RTPCodecCapability{
		messages.Video: {MimeType: webrtc.MimeTypeH264, ClockRate: videoClockHz},
		messages.Audio: {MimeType: webrtc.MimeTypeOpus, ClockRate: audioClockHz, Channels: 2},
	} {
		out, err := webrtc.NewTrackLocalStaticRTP(codec, track.String(), "storage")
		if err != nil {
			return nil, fmt.Errorf("make %s feed: %w", track, err)
		}
		f.lanes[track] = &lane{out: out, gap: codec.ClockRate / 30}
	}
	return f, nil
}

// From makes a master the source; what the one before still sends is dropped.
func (f *Feed) From(s *Participant) {
	for _, l := range f.lanes {
		l.mu.Lock()
		l.source, l.started = s, false
		l.mu.Unlock()
	}
}

// write passes a packet of the source on. The header's extensions stay behind: their numbers were
// negotiated with the master. A viewer that cannot be written to is found out by its own ICE agent.
func (l *lane) write(from *Participant, p *rtp.Packet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.source != from {
		return
	}
	if !l.started {
		l.started = true
		l.shift, l.slide = l.sequence+1-p.SequenceNumber, l.time+l.gap-p.Timestamp
	}
	p.SequenceNumber += l.shift
	p.Timestamp += l.slide
	if int16(p.SequenceNumber-l.sequence) > 0 {
		l.sequence, l.time = p.SequenceNumber, p.Timestamp
	}
	p.Extension, p.Extensions, p.CSRC = false, nil, nil
	_ = l.out.WriteRTP(p)
}
