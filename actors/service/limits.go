package service

import (
	"cmp"
	"time"

	"golang.org/x/time/rate"
)

// Limits are the service's limits (kvs-protocol.md 3.8). The zero value is AWS's. Rates are token
// buckets that hold one second's worth; AWS does not publish the depth of its own.
type Limits struct {
	Unlimited             bool          // lifts the rates and the number of viewers, not the times
	ViewersMax            int           // default 10
	DescriptionsPerSecond float64       // offers, and answers, per socket; default 5
	CandidatesPerSecond   float64       // per socket; default 20
	ConnectsPerSecond     float64       // masters, and viewers, per channel; default 3
	IdleMax               time.Duration // a client that sends nothing, not even a ping; default 10 min
	ConnectionMax         time.Duration // default 1 h
	RequestRates          float64       // REST requests, as a multiple of AWS's rates (quota.go); default 1
	ChannelsMax           int           // default 5000
	StreamsMax            int           // default 5000
	Transition            time.Duration // in CREATING, UPDATING and DELETING; default none
	WhepAnswerMax         time.Duration // for the device to answer a player; default 10 s
	WhepUnseenMax         time.Duration // a player that does not touch its session loses its slot; default 30 s
}

// connectBurst lets a full channel come back at once after a restart of the service.
const connectBurst = 20

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
	span := func(p *time.Duration, value time.Duration) {
		if *p == 0 {
			*p = value
		}
	}
	number(&l.DescriptionsPerSecond, 5)
	number(&l.CandidatesPerSecond, 20)
	number(&l.ConnectsPerSecond, 3)
	number(&l.RequestRates, 1)
	span(&l.IdleMax, 10*time.Minute)
	span(&l.ConnectionMax, time.Hour)
	span(&l.WhepAnswerMax, 10*time.Second)
	span(&l.WhepUnseenMax, 30*time.Second)
	l.ChannelsMax, l.StreamsMax = cmp.Or(l.ChannelsMax, resourcesMax), cmp.Or(l.StreamsMax, resourcesMax)
	switch {
	case l.Unlimited:
		l.ViewersMax = unlimitedViewers
	case l.ViewersMax == 0:
		l.ViewersMax = 10
	}
	return l
}

func (l Limits) bucket(perSecond float64, burst int) *rate.Limiter {
	if l.Unlimited {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(perSecond), max(1, burst))
}
