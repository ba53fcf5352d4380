package service

// The faults that stand, as those see them who may be struck. A faultset is all of them at one moment
// and is never written; the actor "faults" publishes the next one. While none stand there is none, and
// asking costs one load of a pointer. In order of execution:
//
//	the actor       publish    a new set, or nil
//	any goroutine   strike     finds the first fault that covers an event and strikes it
//
// Whether a fault with a probability strikes is a function of its seed, of whom the event belongs to
// and of how many of these there were: it does not depend on what others do at the same time, so that
// a run with the same events per client repeats exactly.

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/api"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	transport "github.com/heliograph-rtc/heliograph/transport/relay"
)

// turnsMax bounds whose events a fault counts apart; further ones are counted together.
const turnsMax = 8192

// faultset is immutable, but for the counters in its faults.
type faultset struct {
	standing []*standing
	skew     time.Duration
}

// standing is a fault and what it has done.
type standing struct {
	messages.Fault
	since, until time.Time     // until zero: it stands until it is cleared
	struck       atomic.Uint64 // read for the answers only
	counter      prometheus.Counter

	turns   sync.Map // event's owner -> *atomic.Uint64: how many of its events there were
	owners  atomic.Int64
	strange atomic.Uint64 // events of owners beyond turnsMax
}

// event is what a fault may strike.
type event struct {
	channel string // name
	client  string // the viewer's id, or as a request tells it
	master  bool   // the master does it
	what    string // operation, or kind of message

	madeFor func(clientID string) bool // of TURN credentials, which hold a digest; nil: client says it
}

func (f *standing) covers(e event) bool {
	return (f.Channel == "" || f.Channel == e.channel) && (f.ClientID == "" || f.ClientID == e.client || e.madeFor != nil && e.madeFor(f.ClientID)) &&
		(!f.Master || e.master) && (len(f.Only) == 0 || slices.Contains(f.Only, e.what))
}

// strike returns the first fault that is meant, covers the event and strikes it; nil: none does.
func (s *faultset) strike(e event, meant func(f *standing) bool) *standing {
	if s == nil {
		return nil
	}
	for _, f := range s.standing {
		if meant(f) && f.covers(e) && f.strikes(e) {
			return f
		}
	}
	return nil
}

func oneOf(kinds ...string) func(*standing) bool {
	return func(f *standing) bool { return slices.Contains(kinds, f.Kind) }
}

func (f *standing) strikes(e event) bool {
	if f.Probability < 1 {
		owner := e.owner()
		if !drawn(&f.Fault, owner, f.turn(owner)) {
			return false
		}
	}
	f.struck.Add(1)
	f.counter.Inc()
	return true
}

func (e event) owner() string {
	return fmt.Sprintf("%s %s %t %s", e.channel, e.client, e.master, e.what)
}

// turn counts the events of an owner, from 1.
func (f *standing) turn(owner string) uint64 {
	count, known := f.turns.Load(owner)
	if !known {
		if f.owners.Add(1) > turnsMax {
			return f.strange.Add(1)
		}
		count, _ = f.turns.LoadOrStore(owner, new(atomic.Uint64))
	}
	return count.(*atomic.Uint64).Add(1)
}

// drawn draws the lot of an owner's event of that number.
func drawn(f *messages.Fault, owner string, turn uint64) bool {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s", turn, owner)
	return rand.New(rand.NewPCG(f.Seed, h.Sum64())).Float64() < f.Probability
}

// now is the service's clock, as signatures and the Date header see it.
func (w *world) now() time.Time {
	if set := w.faults.Load(); set != nil {
		return time.Now().Add(set.skew)
	}
	return time.Now()
}

// disturb is the doors' question: what is a verified request answered with instead?
func (w *world) disturb(key *aws.Key, about func() api.Attempt) error {
	set := w.faults.Load()
	if set == nil {
		return nil
	}
	a := about()
	e := event{channel: channelNameOf(a.Channel), client: a.ClientID, master: a.Connect && a.ClientID == "", what: a.Operation}
	expired := func(f *standing) bool {
		return f.Kind == messages.FaultExpire && !key.Issued.IsZero() && key.Issued.Before(f.since)
	}
	if set.strike(e, expired) != nil {
		return aws.ExpiredToken()
	}
	answering := oneOf(messages.FaultError, messages.FaultThrottle)
	if a.Connect {
		answering = oneOf(messages.FaultRefuse)
	}
	if f := set.strike(e, answering); f != nil {
		return &aws.Error{Type: f.Type, Status: f.Status, Message: "A fault of the kind " + f.Kind + " stands"}
	}
	return nil
}

// channelNameOf takes the name out of an ARN; what is none is a name.
func channelNameOf(text string) string {
	if !strings.HasPrefix(text, "arn:") {
		return text
	}
	kind, name := resourceOf(text)
	if kind != "channel" {
		return ""
	}
	return name
}

// turnDenied is the relay's question before an allocation. Its credentials do not tell names that are
// too long for them, nor clients that did not name themselves to GetIceServerConfig.
func (w *world) turnDenied(u transport.User) bool {
	set := w.faults.Load()
	if set == nil {
		return false
	}
	e := event{channel: channelNameOf(u.Channel), client: u.Client, madeFor: func(id string) bool {
		return slices.ContainsFunc(turnNames(id), func(name string) bool { return transport.ClientDigest(name) == u.Client })
	}}
	return set.strike(e, oneOf(messages.FaultRefuseTurn)) != nil
}
