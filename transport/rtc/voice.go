package rtc

// What the viewers of a storage session say, on its way to the master (kvs-protocol.md 4.4: each may send
// Opus, the master may take it). It is one stream to the master, and one viewer talks at a time, as with the
// viewers of a live channel (actors/device/sink.go): who speaks first is heard until nothing has come from
// that viewer for voiceSilence; what others say meanwhile is dropped and counted. Packets pass on the
// goroutine that received them; the feed's mutex guards everything here.

import (
	"math/rand/v2"
	"time"

	"github.com/pion/rtp"
	"golang.org/x/time/rate"
)

const (
	voiceSilence = 2 * time.Second
	// voicePacketsPerS is twice what the shortest usual packets of 10 ms make.
	voicePacketsPerS = 200
)

// VoiceCount counts the packets of sound that viewers sent, by what became of them.
type VoiceCount struct {
	Passed  uint64
	Busy    uint64 // another viewer talked
	Rate    uint64 // too many at once
	Unheard uint64 // there was no master, or it takes no sound
}

// floor is who is heard, and the numbers of the stream to the master.
type floor struct {
	speaker *Participant // nil: nobody has spoken yet
	heard   time.Time
	pace    *rate.Limiter // of the speaker

	numbers  shift
	sequence uint16 // of the newest packet, as the master got it; like its time it starts at random (RFC 3550 5.1)
	time     uint32
	counts   VoiceCount
}

func newFloor() floor {
	return floor{sequence: uint16(rand.Uint32()), time: rand.Uint32()}
}

// Voices counts what viewers have said so far.
func (f *Feed) Voices() VoiceCount {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.floor.counts
}

// speak takes a packet of a viewer. To a master that joins anew it goes from when that one has taken over:
// there it comes once, under numbers that follow on.
func (f *Feed) speak(from *Participant, p *rtp.Packet, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := &f.floor
	if !l.grant(from, p, now) {
		l.counts.Busy++
		return
	}
	l.heard = now
	switch {
	case !l.pace.AllowN(now, 1):
		l.counts.Rate++
	case f.source == nil || !f.source.listens.Load():
		l.counts.Unheard++
	default:
		l.counts.Passed++
		_ = f.source.voice.WriteRTP(l.number(p)) // a master that cannot be written to is found out by its own ICE agent
	}
}

// grant tells whether a viewer may speak. A new speaker's first packet follows on the last one of the
// speaker before, as much later as it came later.
func (l *floor) grant(from *Participant, p *rtp.Packet, now time.Time) bool {
	quiet := now.Sub(l.heard)
	switch {
	case l.speaker == from:
		return true
	case l.speaker != nil && quiet < voiceSilence:
		return false
	}
	ticks := uint32(audioClockHz / 50)
	if l.speaker != nil {
		ticks = uint32(rtpTime(min(quiet, time.Hour), audioClockHz))
	}
	l.speaker, l.pace = from, rate.NewLimiter(voicePacketsPerS, voicePacketsPerS)
	l.numbers = following(l.sequence, l.time+ticks, p)
	return true
}

// number gives a packet the stream's numbers.
func (l *floor) number(p *rtp.Packet) *rtp.Packet {
	l.numbers.number(p)
	if int16(p.SequenceNumber-l.sequence) > 0 {
		l.sequence, l.time = p.SequenceNumber, p.Timestamp
	}
	return p
}
