package service

import (
	"cmp"
	"fmt"
	"time"

	"golang.org/x/time/rate"
)

// Limits are the service's limits (kvs-protocol.md 3.8, 4.5). The zero value is AWS's. Rates are token
// buckets that hold one second's worth; AWS does not publish the depth of its own.
type Limits struct {
	Unlimited             bool    // lifts the rates and the number of viewers, not the times
	ViewersMax            int     // default 10
	DescriptionsPerSecond float64 // offers, and answers, per socket; default 5
	CandidatesPerSecond   float64 // per socket; default 20
	ConnectsPerSecond     float64 // masters, and viewers, per channel; default 3
	RequestRates          float64 // REST requests, as a multiple of AWS's rates (quota.go); default 1
	ChannelsMax           int     // default 5000
	StreamsMax            int     // default 5000

	TimeScale     float64       // divides the defaults of AWS's times, and the life of sessions; default 1
	IdleMax       time.Duration // a client that sends nothing, not even a ping; default 10 min
	ConnectionMax time.Duration // default 1 h
	GoAwayGrace   time.Duration // from GO_AWAY to the end; default 1 min, a tenth of ConnectionMax at most
	TurnTTL       time.Duration // of TURN credentials; default 300 s
	SkewMax       time.Duration // how far a signer's clock may be off; default 5 min
	PresignMax    time.Duration // a presigned URL is good for no longer, whatever it says; default a week
	SessionMax    time.Duration // session credentials are good for no longer, whatever the alias says; default 12 h
	Transition    time.Duration // in CREATING, UPDATING and DELETING; default none

	IngestMax        time.Duration // of a participant in a storage session; default 1 h
	IngestIdleMax    time.Duration // without media of the master; default 3 min
	IngestSlotMax    time.Duration // that a storage viewer's slot waits for its return; default 1 min
	IngestViewersMax int           // in a storage session; default 3

	// Ours, which TimeScale leaves alone.
	WhepAnswerMax time.Duration // for the device to answer a player; default 10 s
	WhepUnseenMax time.Duration // a player that does not touch its session loses its slot; default 30 s
}

// What TimeScale does not go below: the C clients take no TTL of 30 s (kvs-protocol.md 7.4), and
// signatures tell whole seconds.
const (
	turnTTLMin = 31 * time.Second
	skewMin    = 5 * time.Second
)

// connectBurst lets a full channel come back at once after a restart of the service.
const connectBurst = 20

// timeScaleMax makes an hour 3.6 s; what is shorter is no limit to test against.
const timeScaleMax = 1000

// resourcesMax is an account's number of channels, and of streams, in most regions (kvs-protocol.md 1.6).
const resourcesMax = 5000

// unlimitedViewers is no bound that a channel meets.
const unlimitedViewers = 1 << 20

func (l Limits) withDefaults() Limits {
	number := func(p *float64, value float64) {
		if *p == 0 {
			*p = value
		}
	}
	number(&l.DescriptionsPerSecond, 5)
	number(&l.CandidatesPerSecond, 20)
	number(&l.ConnectsPerSecond, 3)
	number(&l.RequestRates, 1)
	number(&l.TimeScale, 1)
	l.defaultTimes()
	l.IngestViewersMax = cmp.Or(l.IngestViewersMax, 3)
	l.ChannelsMax, l.StreamsMax = cmp.Or(l.ChannelsMax, resourcesMax), cmp.Or(l.StreamsMax, resourcesMax)
	switch {
	case l.Unlimited:
		l.ViewersMax = unlimitedViewers
	case l.ViewersMax == 0:
		l.ViewersMax = 10
	}
	return l
}

func (l *Limits) defaultTimes() {
	span := func(p *time.Duration, value time.Duration) {
		if *p == 0 {
			*p = value
		}
	}
	span(&l.IdleMax, l.scaled(10*time.Minute))
	span(&l.ConnectionMax, l.scaled(time.Hour))
	span(&l.GoAwayGrace, min(l.scaled(time.Minute), l.ConnectionMax/10))
	span(&l.TurnTTL, max(l.scaled(5*time.Minute), turnTTLMin))
	span(&l.SkewMax, max(l.scaled(5*time.Minute), skewMin))
	span(&l.PresignMax, l.scaled(7*24*time.Hour))
	span(&l.SessionMax, l.scaled(sessionSecondsMax*time.Second))
	span(&l.IngestMax, l.scaled(time.Hour))
	span(&l.IngestIdleMax, l.scaled(3*time.Minute))
	span(&l.IngestSlotMax, l.scaled(time.Minute))
	span(&l.WhepAnswerMax, 10*time.Second)
	span(&l.WhepUnseenMax, 30*time.Second)
}

func (l Limits) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / cmp.Or(l.TimeScale, 1))
}

// sessionLife is how long credentials are good for that an alias makes for that time.
func (l Limits) sessionLife(d time.Duration) time.Duration {
	if d = l.scaled(d); l.SessionMax > 0 {
		d = min(d, l.SessionMax)
	}
	return d
}

// check finds what no service can keep to.
func (l Limits) check() error {
	if l.TimeScale < 0 || l.TimeScale > timeScaleMax {
		return fmt.Errorf("--time-scale must lie between 0 and %d, not %v", timeScaleMax, l.TimeScale)
	}
	for flag, d := range map[string]time.Duration{
		"--idle-max": l.IdleMax, "--connection-max": l.ConnectionMax, "--go-away-grace": l.GoAwayGrace,
		"--turn-ttl": l.TurnTTL, "--skew-max": l.SkewMax, "--presign-max": l.PresignMax, "--session-max": l.SessionMax,
		"--transition": l.Transition, "--whep-answer-max": l.WhepAnswerMax, "--whep-unseen-max": l.WhepUnseenMax,
	} {
		if d < 0 {
			return fmt.Errorf("%s must not be negative", flag)
		}
	}
	for flag, d := range map[string]time.Duration{"--turn-ttl": l.TurnTTL, "--skew-max": l.SkewMax, "--presign-max": l.PresignMax, "--session-max": l.SessionMax} {
		if d > 0 && d < time.Second {
			return fmt.Errorf("%s must be a second or more: it is told or kept in whole seconds", flag)
		}
	}
	for flag, n := range map[string]float64{
		"--descriptions-rate": l.DescriptionsPerSecond, "--candidates-rate": l.CandidatesPerSecond,
		"--connects-rate": l.ConnectsPerSecond, "--requests-scale": l.RequestRates,
	} {
		if n < 0 {
			return fmt.Errorf("%s must not be negative", flag)
		}
	}
	return nil
}

func (l Limits) bucket(perSecond float64, burst int) *rate.Limiter {
	if l.Unlimited {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), max(1, burst))
}
