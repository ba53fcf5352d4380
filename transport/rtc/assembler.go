package rtc

// What a recorder gets: access units made of the packets that came in. In order of execution:
//
//	Push      a packet, as it came
//	          pion's sample builder puts the packets of a track in order and waits for lost ones
//	take      a whole unit
//	release   with the time of its capture, once that is known
//
// Units that come before the sender has said what its clock shows wait for that; where it says nothing,
// their arrival is what is known of their time.

import (
	"slices"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4/pkg/media/samplebuilder"

	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	resentWithin = time.Second     // a lost packet that comes later is of no use any more
	orderMax     = 2048            // packets of a track that wait behind a lost one
	clockWithin  = 3 * time.Second // without a report for so long, arrival counts
)

// Assembler makes the access units of one stream. It has one owner.
type Assembler struct {
	emit  func(unit *messages.AccessUnit, gap bool)
	lanes [2]*assembly // by messages.Track
	first time.Time    // arrival of the first packet
}

// assembly is one track.
type assembly struct {
	track   messages.Track
	codec   messages.Codec
	hz      int64
	builder *samplebuilder.SampleBuilder

	known    bool // when the newest packet was captured
	captured time.Time
	stamp    uint32 // its RTP time

	arrived      time.Time // of the first packet
	arrivedStamp uint32
	waiting      []waitingUnit
}

type waitingUnit struct {
	data  []byte
	stamp uint32
	gap   bool
}

func (u waitingUnit) sameTime(other waitingUnit) bool { return u.stamp == other.stamp }

// NewAssembler calls emit with each unit of a track in order; gap says that units were lost before it.
// Data and Captured are set, and what the track says; KeyFrame, numbers and PTS are not.
func NewAssembler(video messages.Codec, emit func(unit *messages.AccessUnit, gap bool)) *Assembler {
	a := &Assembler{emit: emit}
	var depacketizer rtp.Depacketizer = &codecs.H264Packet{}
	if video == messages.H265 {
		depacketizer = &codecs.H265Depacketizer{}
	}
	a.lanes[messages.Video] = newAssembly(messages.Video, video, videoClockHz, depacketizer)
	a.lanes[messages.Audio] = newAssembly(messages.Audio, messages.Opus, audioClockHz, &codecs.OpusPacket{})
	return a
}

func newAssembly(track messages.Track, codec messages.Codec, hz int64, depacketizer rtp.Depacketizer) *assembly {
	builder := samplebuilder.New(orderMax, depacketizer, uint32(hz), samplebuilder.WithMaxTimeDelay(resentWithin))
	return &assembly{track: track, codec: codec, hz: hz, builder: builder}
}

// Push takes a packet, which it keeps. captured is when it was captured, by the sender's clock; zero: the
// sender has not said yet.
func (a *Assembler) Push(track messages.Track, p *rtp.Packet, captured, now time.Time) {
	l := a.lanes[track]
	if a.first.IsZero() {
		a.first = now
	}
	if l.arrived.IsZero() {
		l.arrived, l.arrivedStamp = now, p.Timestamp
	}
	if !captured.IsZero() {
		l.known, l.captured, l.stamp = true, captured, p.Timestamp
	}
	l.builder.Push(p)
	a.collect(l)
	if now.Sub(a.first) > clockWithin {
		for _, l := range a.lanes {
			l.byArrival()
		}
	}
	a.release(l)
}

// Flush emits what is whole and waits.
func (a *Assembler) Flush() {
	for _, l := range a.lanes {
		before := len(l.waiting)
		l.builder.Flush()
		a.collect(l)
		// pion's sample builder makes another of the slices behind a picture's first packet, under the time
		// that both share (RFC 6184 5.1).
		l.waiting = append(l.waiting[:before], slices.CompactFunc(l.waiting[before:], waitingUnit.sameTime)...)
		l.byArrival()
		a.release(l)
	}
}

func (a *Assembler) collect(l *assembly) {
	for sample := l.builder.Pop(); sample != nil; sample = l.builder.Pop() {
		l.waiting = append(l.waiting, waitingUnit{sample.Data, sample.PacketTimestamp, sample.PrevDroppedPackets > 0})
	}
}

// byArrival takes the first packet's arrival for the time of its capture.
func (l *assembly) byArrival() {
	if !l.known && !l.arrived.IsZero() {
		l.known, l.captured, l.stamp = true, l.arrived, l.arrivedStamp
	}
}

func (a *Assembler) release(l *assembly) {
	if !l.known {
		return
	}
	for _, u := range l.waiting {
		since := time.Duration(int64(int32(u.stamp-l.stamp)) * int64(time.Second) / l.hz)
		a.emit(&messages.AccessUnit{Track: l.track, Codec: l.codec, Data: u.data, Captured: l.captured.Add(since)}, u.gap)
	}
	clear(l.waiting)
	l.waiting = l.waiting[:0]
}
