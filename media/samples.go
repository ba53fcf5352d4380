package media

import (
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// samples counts the media time of sound by its samples, as RTP does: a player takes a packet whose time is
// a little beside the end of the last one for a gap, and conceals it. A source's times are made even so, by
// what the packets last. They tell of gaps, and they alone say when a packet was captured.
type samples struct {
	begun bool
	next  time.Duration // media time at which the last packet ends
	apart time.Duration // the source's time less that, evened out: the sound card's clock is not the source's
}

const (
	// soundGapMin is how much later than expected a packet is that others are missing before.
	soundGapMin = 40 * time.Millisecond
	// soundEven is over how many packets the difference of the clocks is evened out.
	soundEven = 100
)

// count returns the media time of a packet.
func (s *samples) count(codec messages.Codec, packet []byte, pts time.Duration) time.Duration {
	at := pts
	if s.begun {
		at = s.next
		switch late := pts - s.next - s.apart; {
		case late > soundGapMin:
			at += late
		case late < -soundGapMin: // it came too early before: no time goes back
			s.apart += late
		default:
			s.apart += late / soundEven
		}
	}
	s.begun, s.next = true, at+soundLasts(codec, packet)
	return at
}

// soundLasts is the duration of a packet; G.711 has 8000 bytes a second (RFC 3551 4.5.14).
func soundLasts(codec messages.Codec, packet []byte) time.Duration {
	if codec == messages.Opus {
		return time.Duration(opusSamples(packet)) * time.Second / opusClockHz
	}
	return time.Duration(len(packet)) * time.Second / g711ClockHz
}

const g711ClockHz = 8000
