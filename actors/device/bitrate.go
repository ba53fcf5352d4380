package device

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// bitrate is the encoder's policy: which bitrate to ask of the source, from what the viewers' paths
// carry. The worst viewer does not decide for all:
//
//   - Who has never shown a limit does not count.
//   - A viewer whose path carries less than half of what the median viewer's does is left to itself: its
//     stream sheds frames (shedding.go), and nobody else's picture suffers for it.
//   - The source is asked for what the weakest of the others carries, less the share of sound and
//     headers, and no less than a floor below which a picture is none.
//   - It is asked for no more than the lowest ceiling that a viewer has asked for.
//   - It goes down at once and up slowly, so that a path that was just full is not filled again.
//
// The encoder owns it. A viewer that leaves is forgotten when its estimates stop.
type bitrate struct {
	limits    BitrateLimits
	steps     steps
	estimates map[string]estimate // by client id
	ceilings  map[string]*messages.BitrateCeiling
	asked     int // bit/s of video, 0: nothing
	askedAt   time.Time
}

// BitrateLimits are the owner's bounds of what the source is asked for; the zero value has the defaults.
type BitrateLimits struct {
	Min         int // bit/s of a full picture; below it pictures become fewer and smaller (steps.go); default 150000
	Max         int // bit/s; 0: what the source makes by itself
	SlewPercent int // how much more a second; default 40. Less is asked for at once
}

func (l BitrateLimits) withDefaults() BitrateLimits {
	l.Min, l.SlewPercent = cmp.Or(l.Min, bitrateFloorBps), cmp.Or(l.SlewPercent, bitrateSlewPercent)
	return l
}

func (l BitrateLimits) check() error {
	switch {
	case l.Min < 0 || l.Max < 0 || l.SlewPercent < 0:
		return errors.New("a bound of the bitrate is negative")
	case l.Max != 0 && l.Max < l.Min:
		return fmt.Errorf("the ceiling of the bitrate, %d bit/s, is below its floor, %d", l.Max, l.Min)
	}
	return nil
}

type estimate struct {
	messages.ViewerEstimate
	at time.Time
}

const (
	estimateFreshMax = 3 * time.Second
	bitrateFloorBps  = 150_000
	bitrateUpEvery   = time.Second

	bitrateSlewPercent = 40

	bitrateStepLeast = 0.05 // share; smaller changes are not worth an encoder's while
	overheadShare    = 0.08 // of RTP, SRTP, UDP and IP headers, and of packets sent once more
	soundBps         = 80_000
)

func newBitrate(limits BitrateLimits) *bitrate {
	return &bitrate{limits: limits, estimates: map[string]estimate{}, ceilings: map[string]*messages.BitrateCeiling{}}
}

// heard takes in an estimate and returns what to ask of the source now, if anything.
func (b *bitrate) heard(msg *messages.ViewerEstimate, now time.Time) (bps int, ask bool) {
	if known, ok := b.estimates[msg.ClientID]; ok && known.Epoch > msg.Epoch {
		return 0, false // of a viewer that was replaced
	}
	b.estimates[msg.ClientID] = estimate{*msg, now}
	for id, e := range b.estimates {
		if now.Sub(e.at) > estimateFreshMax {
			delete(b.estimates, id)
		}
	}
	b.steps.heard(b.carried(), b.limits.Min, now)
	return b.ask(b.wanted(), now)
}

// capped takes in a ceiling and returns what to ask of the source now, if anything. It is somebody's
// wish and holds at once, upwards too.
func (b *bitrate) capped(msg *messages.BitrateCeiling, now time.Time) (bps int, ask bool) {
	known := b.ceilings[msg.ClientID]
	switch {
	case known != nil && known.Epoch > msg.Epoch: // of a viewer that was replaced
		return 0, false
	case msg.Bps == 0:
		delete(b.ceilings, msg.ClientID)
	default:
		b.ceilings[msg.ClientID] = msg
	}
	return b.now(now)
}

// bound takes over other limits and returns what to ask of the source now, if anything.
func (b *bitrate) bound(limits BitrateLimits, now time.Time) (bps int, ask bool) {
	b.limits = limits
	return b.now(now)
}

// now asks for what is wanted, whatever was asked for before.
func (b *bitrate) now(now time.Time) (bps int, ask bool) {
	wanted := b.wanted()
	if wanted == b.asked {
		return 0, false
	}
	b.asked, b.askedAt = wanted, now
	return wanted, true
}

// wanted is the lower of what the viewers that count can take, what they ask for and the owner's ceiling,
// no less than the floor; 0 when nothing limits it.
func (b *bitrate) wanted() int {
	wanted := b.carried()
	lower := func(bps int) {
		if wanted == 0 || bps < wanted {
			wanted = bps
		}
	}
	for _, c := range b.ceilings {
		lower(c.Bps)
	}
	if b.limits.Max != 0 {
		lower(b.limits.Max)
	}
	if wanted == 0 {
		return 0
	}
	return max(wanted, b.steps.floor(b.limits.Min))
}

// carried is the video that the paths of the viewers that count can take, 0 when nothing limits them.
func (b *bitrate) carried() int {
	var all, limited []int
	for _, e := range b.estimates {
		all = append(all, e.Bps)
	}
	slices.Sort(all)
	for _, e := range b.estimates {
		if e.Limited && 2*e.Bps >= all[len(all)/2] {
			limited = append(limited, e.Bps)
		}
	}
	if len(limited) == 0 {
		return 0
	}
	return max(int(float64(slices.Min(limited))*(1-overheadShare))-soundBps, 1)
}

// ask turns what is wanted into a step.
func (b *bitrate) ask(wanted int, now time.Time) (bps int, ask bool) {
	switch up := b.asked != 0 && (wanted == 0 || wanted > b.asked); {
	case wanted == b.asked:
		return 0, false
	case up && now.Sub(b.askedAt) < bitrateUpEvery:
		return 0, false
	case up && wanted != 0:
		wanted = min(wanted, b.asked+b.asked*b.limits.SlewPercent/100)
	}
	if b.asked != 0 && wanted != 0 && abs(wanted-b.asked) < int(float64(b.asked)*bitrateStepLeast) {
		return 0, false
	}
	b.asked, b.askedAt = wanted, now
	return wanted, true
}

func abs(n int) int { return max(n, -n) }
