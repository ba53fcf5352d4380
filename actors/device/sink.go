package device

import (
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

// sink gives what viewers say to the owner's sink, one viewer at a time: who speaks first is heard
// until nothing has come from that viewer for talkSilence; what others say meanwhile is dropped and
// counted. It owns the talk that is open, whose edge does the writing.
//
// States: idle -> talking -> closing (the file is being ended, or the program plays what it holds) ->
// idle; a sink that fails rests before the next talk.
type sink struct {
	*parts
	edges    *actors.Edges
	talk     *talk     // nil: idle
	failures int       // in a row
	restEnds time.Time // after a failure
}

// talk is one viewer's turn.
type talk struct {
	clientID string
	epoch    uint64
	edge     *actors.Edge
	packets  chan messages.Sound // closed in the state closing
	closing  bool
	pace     *rate.Limiter
	heard    time.Time
}

const (
	talkSilence = 2 * time.Second
	// talkLane bounds the packets that wait for a sink that is slow: a second of them, mostly.
	talkLane = 64
	// talkPacketsPerS is twice what the shortest usual packets of 10 ms make.
	talkPacketsPerS = 200
	talkRestFirst   = time.Second
	talkRestMax     = time.Minute
)

func newSink(p *parts) *sink { return &sink{parts: p} }

// Receive implements actor.Actor.
func (s *sink) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		s.edges = actors.NewEdges(s.sys, ctx)
	case *messages.Spoken:
		s.onSpoken(msg)
	case *silenceDue:
		s.onSilenceDue(msg)
	case *actors.EdgeEnded:
		s.onTalkEnded(msg)
	}
}

func (s *sink) onSpoken(msg *messages.Spoken) {
	now := time.Now()
	switch {
	case s.talk == nil && now.Before(s.restEnds):
		s.metrics.sound("failed")
		return
	case s.talk == nil:
		s.begin(msg)
	case s.talk.closing || s.talk.clientID != msg.ClientID || s.talk.epoch != msg.Epoch:
		s.metrics.sound("busy")
		return
	}
	s.talk.heard = now
	if !s.talk.pace.AllowN(now, 1) {
		s.metrics.sound("rate")
		return
	}
	select {
	case s.talk.packets <- msg.Sound:
	default:
		s.metrics.sound("full")
	}
}

func (s *sink) begin(msg *messages.Spoken) {
	s.talk = &talk{clientID: msg.ClientID, epoch: msg.Epoch, packets: make(chan messages.Sound, talkLane), pace: rate.NewLimiter(talkPacketsPerS, talkPacketsPerS)}
	s.sys.Log().Info("viewer talks", zap.String("viewer", msg.ClientID), zap.String("sink", s.cfg.Sink.Name()))
	s.metrics.talks.Inc()
	clientID, packets := msg.ClientID, s.talk.packets
	s.talk.edge = s.edges.Open("talk", func(e *actors.Edge) error { return s.write(e, clientID, packets) })
	s.edges.After(talkSilence, &silenceDue{s.talk})
}

// write runs in the edge: it uses the parts alone, which nobody writes.
func (s *sink) write(e *actors.Edge, clientID string, packets <-chan messages.Sound) error {
	out, err := s.cfg.Sink.Open(e.Context(), clientID)
	if err != nil {
		return err
	}
	for {
		select {
		case p, more := <-packets:
			if !more {
				return out.Close()
			}
			taken, err := out.Write(p)
			if err != nil {
				return errors.Join(err, out.Close())
			}
			if taken {
				s.metrics.sound("written")
			} else {
				s.metrics.sound("late")
			}
		case <-e.Context().Done():
			return out.Close()
		}
	}
}

// onSilenceDue ends a talk in which nothing was said for a while, or comes back when that may be.
func (s *sink) onSilenceDue(msg *silenceDue) {
	if s.talk != msg.talk || s.talk.closing {
		return
	}
	if quiet := time.Since(s.talk.heard); quiet < talkSilence {
		s.edges.After(talkSilence-quiet, msg)
		return
	}
	s.talk.closing = true
	close(s.talk.packets)
}

func (s *sink) onTalkEnded(msg *actors.EdgeEnded) {
	viewer := zap.String("viewer", s.talk.clientID)
	s.talk = nil
	if msg.Err == nil || errors.Is(msg.Err, media.ErrTalkTooLong) {
		s.failures = 0
		s.sys.Log().Info("talk ends", viewer, zap.Error(msg.Err))
		return
	}
	rest := min(talkRestFirst<<min(s.failures, 10), talkRestMax)
	s.failures++
	s.restEnds = time.Now().Add(rest)
	s.metrics.talkFailures.Inc()
	s.sys.Log().Warn("audio sink failed", viewer, zap.Duration("rests", rest), zap.Error(msg.Err))
}

// silenceDue looks whether the talk goes on.
type silenceDue struct{ talk *talk }
