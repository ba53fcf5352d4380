package service

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
)

// standingMax bounds the faults at one time.
const standingMax = 64

// faults is the actor "faults": it owns the faults that stand and publishes them as a set
// (faultset.go). The fault socket asks it. What strikes connections that there are goes down the tree
// to them. It lives only where the service was started to take faults; its end clears them all.
// States: none.
type faults struct {
	*world
	edges    *actors.Edges
	last     int // id
	standing []*standing
}

// faultOver is the timer's message: a fault has had its time.
type faultOver struct{ id int }

func newFaults(w *world) *faults { return &faults{world: w} }

func (f *faults) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		f.edges = actors.NewEdges(f.sys, ctx)
		f.publish()
	case *messages.FaultWanted:
		f.onFaultWanted(ctx, msg)
	case *messages.FaultsWanted:
		ctx.Respond(told(f.standing))
	case *messages.ClearFaults:
		f.onClearFaults(ctx, msg)
	case *faultOver:
		f.end(msg.id)
	}
}

func (f *faults) onFaultWanted(ctx actor.Context, msg *messages.FaultWanted) {
	s := &standing{Fault: msg.Fault, since: f.now(), counter: f.metrics.faults.WithLabelValues(msg.Fault.Kind)}
	if s.Probability < 1 {
		s.Seed = cmp.Or(s.Seed, rand.Uint64()>>32) // short, for people to repeat it
	}
	strikes := func(channel, clientID string) bool {
		e := event{channel: channel, client: clientID, master: clientID == ""}
		return s.covers(e) && s.strikes(e)
	}
	stands := s.ForS > 0 || !atOnce(s.Kind)
	if stands && len(f.standing) >= standingMax {
		ctx.Respond(refuse("ClientLimitExceededException", "As many faults stand as may: clear some"))
		return
	}
	if stands {
		f.stand(s)
	}
	if atOnce(s.Kind) {
		ctx.Send(ctx.Parent(), &messages.Disturb{Kind: s.Kind, Strikes: strikes})
	}
	f.sys.Log().Warn("fault set", zap.String("kind", s.Kind), zap.String("channel", s.Channel), zap.Float64("for_s", s.ForS))
	ctx.Respond(told([]*standing{s}))
}

// atOnce tells the kinds that strike connections when they are set, and then those that are made.
func atOnce(kind string) bool {
	return kind == messages.FaultGoAway || kind == messages.FaultReconnectICE || kind == messages.FaultCut
}

func (f *faults) stand(s *standing) {
	f.last++
	s.ID = f.last
	if s.ForS > 0 {
		life := seconds(s.ForS)
		s.until = time.Now().Add(life)
		f.edges.After(life, &faultOver{s.ID})
	}
	f.standing = append(f.standing, s)
	if s.Kind == messages.FaultClock {
		s.struck.Add(1)
		s.counter.Inc()
	}
	f.publish()
}

func (f *faults) onClearFaults(ctx actor.Context, msg *messages.ClearFaults) {
	ended := f.end(msg.ID)
	if msg.ID != 0 && len(ended) == 0 {
		ctx.Respond(refuse("ResourceNotFoundException", "No fault of that id stands"))
		return
	}
	ctx.Respond(told(ended))
}

// end takes the fault of that id away, or all of them for 0.
func (f *faults) end(id int) (ended []*standing) {
	var left []*standing
	for _, s := range f.standing {
		if id == 0 || s.ID == id {
			ended = append(ended, s)
		} else {
			left = append(left, s)
		}
	}
	f.standing = left
	f.publish()
	return ended
}

// publish gives everybody the faults as they are now. The clock that was set last counts.
func (f *faults) publish() {
	if len(f.standing) == 0 {
		f.faults.Store(nil)
		return
	}
	set := &faultset{standing: slices.Clone(f.standing)}
	for _, s := range f.standing {
		if s.Kind == messages.FaultClock {
			set.skew = seconds(s.ByS)
		}
	}
	f.faults.Store(set)
}

// told is the answer to the fault socket.
func told(all []*standing) *messages.Faults {
	out := &messages.Faults{Faults: []messages.Fault{}}
	for _, s := range all {
		t := s.Fault
		t.Struck = s.struck.Load()
		if !s.until.IsZero() {
			t.LeftS = max(0, time.Until(s.until).Round(time.Millisecond).Seconds())
		}
		out.Faults = append(out.Faults, t)
	}
	return out
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
