package main

import (
	"time"

	"github.com/heliograph-rtc/heliograph/actors/service"
)

// limits are AWS's limits as settings. A time that is not set is AWS's, divided by the scale.
type limits struct {
	Unlimited bool `flag:"unlimited" env:"HELIOGRAPH_UNLIMITED" group:"limits" help:"lift AWS's limits of rates and viewers"`
	Viewers   int  `flag:"viewers" env:"HELIOGRAPH_VIEWERS" default:"10" help:"viewers per channel"`

	Scale         float64       `flag:"time-scale" env:"HELIOGRAPH_TIME_SCALE" default:"1" help:"divides AWS's times, so that 60 makes an hour a minute; a time set below is taken as it is"`
	IdleMax       time.Duration `flag:"idle-max" env:"HELIOGRAPH_IDLE_MAX" help:"a socket whose client sends nothing, not even a ping, is closed after it; default: 10m, scaled"`
	ConnectionMax time.Duration `flag:"connection-max" env:"HELIOGRAPH_CONNECTION_MAX" help:"life of a socket; default: 1h, scaled"`
	GoAwayGrace   time.Duration `flag:"go-away-grace" env:"HELIOGRAPH_GO_AWAY_GRACE" help:"from GO_AWAY to the close; default: 1m, scaled"`
	TurnTTL       time.Duration `flag:"turn-ttl" env:"HELIOGRAPH_TURN_TTL" help:"life of TURN credentials; default: 5m, scaled, but 31s at least, for the C SDK takes no less"`
	SkewMax       time.Duration `flag:"skew-max" env:"HELIOGRAPH_SKEW_MAX" help:"how far a signer's clock may be off; default: 5m, scaled, but 5s at least"`
	PresignMax    time.Duration `flag:"presign-max" env:"HELIOGRAPH_PRESIGN_MAX" help:"a presigned URL is good for no longer, whatever it says; default: 168h, scaled"`
	SessionMax    time.Duration `flag:"session-max" env:"HELIOGRAPH_SESSION_MAX" help:"session credentials of --iot are good for no longer; default: 12h, scaled, as is what the role alias says"`
	Transition    time.Duration `flag:"transition" env:"HELIOGRAPH_TRANSITION" help:"a channel or stream stays CREATING, UPDATING and DELETING for it; default: not at all"`
	WhepAnswerMax time.Duration `flag:"whep-answer-max" env:"HELIOGRAPH_WHEP_ANSWER_MAX" default:"10s" help:"for the device to answer a WHEP player"`
	WhepUnseenMax time.Duration `flag:"whep-unseen-max" env:"HELIOGRAPH_WHEP_UNSEEN_MAX" default:"30s" help:"a WHEP player that does not touch its session for it loses its slot"`

	Connects     float64 `flag:"connects-rate" env:"HELIOGRAPH_CONNECTS_RATE" default:"3" help:"masters, and viewers, that connect to a channel, per second"`
	Descriptions float64 `flag:"descriptions-rate" env:"HELIOGRAPH_DESCRIPTIONS_RATE" default:"5" help:"offers, and answers, per socket and second"`
	Candidates   float64 `flag:"candidates-rate" env:"HELIOGRAPH_CANDIDATES_RATE" default:"20" help:"ICE candidates per socket and second"`
	Requests     float64 `flag:"requests-scale" env:"HELIOGRAPH_REQUESTS_SCALE" default:"1" help:"multiplies AWS's rates of REST requests"`
}

func (l limits) config() service.Limits {
	return service.Limits{
		Unlimited: l.Unlimited, ViewersMax: l.Viewers,
		TimeScale: l.Scale, IdleMax: l.IdleMax, ConnectionMax: l.ConnectionMax, GoAwayGrace: l.GoAwayGrace,
		TurnTTL: l.TurnTTL, SkewMax: l.SkewMax, PresignMax: l.PresignMax, SessionMax: l.SessionMax, Transition: l.Transition,
		WhepAnswerMax: l.WhepAnswerMax, WhepUnseenMax: l.WhepUnseenMax,
		ConnectsPerSecond: l.Connects, DescriptionsPerSecond: l.Descriptions, CandidatesPerSecond: l.Candidates, RequestRates: l.Requests,
	}
}
