package device

import (
	"math"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// shedding keeps one viewer's stream within what its path carries, when the source's bitrate does not:
// the policy in bitrate.go leaves a weak viewer to itself, and not every source can go slower.
//
// What was sent beyond the path's rate is a debt that time pays off. A debt of 150 ms of the path's
// rate sheds pictures that no other refers to; one of 400 ms everything until the next key frame that
// finds less. Sound is never shed. A viewer whose path has shown no limit
// owes nothing.
//
// A path that loses much and carries less than half of what it was just sent has collapsed: to send once
// more what is lost would fill the path for seconds. The stream goes on with a key frame.
type shedding struct {
	bps  int       // what the path carries; 0: no limit is known
	debt float64   // bytes
	at   time.Time // when debt was that

	pace   float64   // bytes a second that were sent lately
	paceAt time.Time // when pace was that
}

const (
	debtSpares = 150 * time.Millisecond
	debtAll    = 400 * time.Millisecond

	collapseFactor = 2
	collapseLoss   = 0.1
	paceSpan       = 500 * time.Millisecond // how long lately is

	// paceFactor is how much faster than its rate a limited path is sent a large frame, so that the
	// frame is not late (libwebrtc paces by the same factor). Once as much is owed as sheds spares, it
	// goes at the path's own rate: whose queue, 200 ms of it as a rule, would overflow otherwise.
	paceFactor  = 2.5
	packetBytes = 1200
	burstLeast  = 2
)

// limit sets what the path carries from now on, 0 for no limit, and what share of the packets it loses. It
// tells whether the path has collapsed.
func (s *shedding) limit(bps int, loss float64, now time.Time) (collapsed bool) {
	s.pay(now)
	before := s.bps
	s.bps = bps
	if bps == 0 {
		s.debt = 0
		return false
	}
	fell := before == 0 || bps < before
	if collapsed = fell && loss > collapseLoss && s.lately(now)*8 > collapseFactor*float64(bps); collapsed {
		s.pace = 0                                                // it is told once
		s.debt = max(s.debt, debtSpares.Seconds()*float64(bps)/8) // a queue stands before the path: no hurry
	}
	return collapsed
}

// lately is how many bytes a second were sent: an average whose memory is paceSpan.
func (s *shedding) lately(now time.Time) float64 {
	if since := now.Sub(s.paceAt); !s.paceAt.IsZero() && since > 0 {
		s.pace *= math.Exp(-since.Seconds() / paceSpan.Seconds())
	}
	s.paceAt = now
	return s.pace
}

func (s *shedding) pay(now time.Time) {
	if !s.at.IsZero() {
		s.debt = max(0, s.debt-now.Sub(s.at).Seconds()*float64(s.bps)/8)
	}
	s.at = now
}

// owed is the debt as a time of the path's rate.
func (s *shedding) owed() time.Duration {
	if s.bps == 0 {
		return 0
	}
	return time.Duration(s.debt * 8 / float64(s.bps) * float64(time.Second))
}

// verdict says what becomes of a picture.
type verdict int

const (
	send     verdict = iota
	shed             // this one alone
	shedMore         // it and what follows, until a key frame
)

// judge decides on a live picture and counts what is sent.
func (s *shedding) judge(frame *messages.Frame, now time.Time) verdict {
	if s.bps == 0 {
		return send
	}
	s.pay(now)
	owed := s.owed()
	switch {
	case frame.Unit.Spare && owed > debtSpares:
		return shed
	case owed > debtAll:
		return shedMore
	}
	return send
}

// sent adds what went out, sound and all.
func (s *shedding) sent(bytes int, now time.Time) {
	s.pace = s.lately(now) + float64(bytes)/paceSpan.Seconds()
	if s.bps != 0 {
		s.debt += float64(bytes)
	}
}

// burst is how many packets go out before a rest on a path with a limit: what it carries in the time of
// one, at the pace of a large frame.
func (s *shedding) burst() int {
	packets := paceFactor * float64(s.bps) / 8 * paceEvery.Seconds() / packetBytes
	return min(max(int(packets), burstLeast), pacePackets)
}

// pause is how long to rest after so many bytes.
func (s *shedding) pause(bytes int) time.Duration {
	if s.bps == 0 {
		return paceEvery
	}
	factor := paceFactor
	if s.owed() > debtSpares {
		factor = 1
	}
	return max(paceEvery, time.Duration(float64(bytes)*8/(factor*float64(s.bps))*float64(time.Second)))
}
