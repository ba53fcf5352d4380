package actors

// Supervision knows one directive: Stop. An expected failure is a message and a state of the actor;
// a panic is a bug. In order of execution:
//
//	shell    Receive         recovers the panic, has it counted and logged, stops its own actor
//	shell    stop            Stopping: the actor cleans up, its edges are closed, its mailbox refuses
//	         Terminated      proto.actor tells the parent
//	Keeper   onTerminated    the parent spawns it again under its name, at once or after a back-off
//	Keeper   fail            it ends too often: the process must end, System.Failed says so
//
// A name is held by one incarnation at a time: the old one is gone from the registry and its mailbox
// is closed before the parent learns of it. PIDs made from the name reach whoever holds it.

import (
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"
)

// shell stands around every actor. It owns nothing but its actor's end.
type shell struct {
	inner    actor.Actor
	box      *mailbox
	edges    []*Edges // made by the actor; closed with it
	up       func()   // called after Started; may be nil
	stopping bool
}

// Receive passes the message on. Whatever the actor does with Stopping and Stopped, even panic, its
// edges are closed and its mailbox refuses what is left.
func (s *shell) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *actor.Started:
		s.guard(ctx)
		if s.up != nil {
			s.up()
		}
	case *actor.Stopping:
		s.stop(ctx)
	case *actor.Stopped:
		s.guard(ctx)
		s.box.end()
		// The parent's set of children keeps the last names it has taken out (PIDSet.Remove cuts its slice
		// and no more), and each name keeps its process.
		s.inner, s.edges, s.up = nobody{}, nil, nil
	default:
		s.guard(ctx)
	}
}

func (s *shell) stop(ctx actor.Context) {
	s.stopping = true
	s.guard(ctx)
	for _, e := range s.edges {
		e.Close()
	}
	s.box.close()
}

// nobody is the actor that has ended.
type nobody struct{}

// Receive implements actor.Actor.
func (nobody) Receive(actor.Context) {}

// guard turns a panic into the actor's end. A panic of an actor that already stops must not leave
// its Receive: proto.actor would never finish the stop.
func (s *shell) guard(ctx actor.Context) {
	defer func() {
		fault := recover()
		if fault == nil {
			return
		}
		s.box.panicked(fault, ctx.Message())
		if !s.stopping {
			ctx.Stop(ctx.Self()) // a system message: it comes before any waiting user message
		}
	}()
	s.inner.Receive(ctx)
}

// Back-off and limits of a Keeper.
const (
	backoffFirst = 100 * time.Millisecond // the first respawn is immediate, the second waits this long
	backoffMax   = 10 * time.Second
	healthyAfter = time.Minute // living this long takes the back-off back to nothing
	endsMax      = 5           // more ends than that
	endsWithin   = 10 * time.Second
)

// Keeper keeps the fixed children of an actor alive. The actor calls Receive first thing in its own.
// It is not for children that come and go, such as viewers.
type Keeper struct {
	sys      *System
	children []*kept
	edges    *Edges
	stopping bool
}

// kept is one child: alive, or waiting for its timer.
type kept struct {
	spec    Spec
	path    string // of its PID
	born    time.Time
	ends    []time.Time // the last ones, oldest first
	backoff time.Duration
}

// respawn is the Keeper's timer message to its own actor.
type respawn struct{ child *kept }

// NewKeeper lists the children in the order of their dependencies: a child may rely on those before it.
func NewKeeper(sys *System, specs ...Spec) *Keeper {
	k := &Keeper{sys: sys}
	for _, spec := range specs {
		k.children = append(k.children, &kept{spec: spec})
	}
	return k
}

// Receive handles what concerns the children and reports whether the message was the Keeper's alone.
// Started (spawns all) and Stopping (no more respawns) are the actor's as well, so they give false.
func (k *Keeper) Receive(ctx actor.Context) bool {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		k.onStarted(ctx)
	case *actor.Stopping:
		k.stopping = true
	case *actor.Terminated:
		return k.onTerminated(ctx, msg)
	case *respawn:
		return k.onRespawn(ctx, msg)
	}
	return false
}

func (k *Keeper) onStarted(ctx actor.Context) {
	k.edges = NewEdges(k.sys, ctx)
	for _, child := range k.children {
		child.path = ctx.Self().Id + "/" + child.spec.Name
		k.spawn(ctx, child)
	}
}

func (k *Keeper) onTerminated(ctx actor.Context, msg *actor.Terminated) bool {
	at := slices.IndexFunc(k.children, func(c *kept) bool { return c.path == msg.Who.GetId() })
	if at < 0 {
		return false
	}
	if !k.stopping {
		k.ended(ctx, k.children[at], nil)
	}
	return true
}

func (k *Keeper) onRespawn(ctx actor.Context, msg *respawn) bool {
	if !slices.Contains(k.children, msg.child) {
		return false
	}
	k.spawn(ctx, msg.child)
	return true
}

// spawn starts the child; not even coming to life counts as an end.
func (k *Keeper) spawn(ctx actor.Context, child *kept) {
	child.born = time.Now()
	if _, err := k.sys.Spawn(ctx, child.spec); err != nil {
		k.ended(ctx, child, err)
	}
}

// ended decides when the child comes back: at once, after the back-off, or not at all.
func (k *Keeper) ended(ctx actor.Context, child *kept, cause error) {
	now := time.Now()
	if now.Sub(child.born) >= healthyAfter {
		child.backoff = 0
	}
	child.ends = append(child.ends, now)
	if len(child.ends) > endsMax+1 {
		child.ends = child.ends[1:]
	}
	if len(child.ends) > endsMax && now.Sub(child.ends[0]) <= endsWithin {
		k.fail(child, cause)
		return
	}
	wait := child.backoff
	child.backoff = min(max(backoffFirst, 2*wait), backoffMax)
	k.sys.log.Warn("actor ended; it is spawned again", zap.String("actor", child.path), zap.Duration("after", wait), zap.Error(cause))
	if wait == 0 {
		k.spawn(ctx, child)
		return
	}
	k.edges.After(wait, &respawn{child: child})
}

func (k *Keeper) fail(child *kept, cause error) {
	err := fmt.Errorf("actor %s ended %d times within %v: restart the process; the log tells why it ended", child.path, len(child.ends), endsWithin)
	if cause != nil {
		err = fmt.Errorf("%w; last: %w", err, cause)
	}
	k.sys.Fail(err)
}
