// Package actors is the kernel under the device's and the service's actors: a tree of actors on
// proto.actor with a mailbox that never blocks a sender, edges for blocking calls, and supervision.
//
// Read in this order:
//
//	system.go      a tree: how it is started, spoken to and stopped
//	mailbox.go     the way of a message, and what happens when there is no room for it
//	edge.go        blocking calls and timers
//	keeper.go      panics, the end of an actor, and how it comes back
//	deadletter.go  messages that nobody processed
//
// An actor looks like this:
//
//	func (s *session) Receive(ctx actor.Context) {
//		switch msg := ctx.Message().(type) {
//		case *actor.Started:
//			s.edges = actors.NewEdges(s.sys, ctx)
//		case *messages.Offer:
//			s.onOffer(ctx, msg)
//		case *actors.EdgeEnded:
//			s.onEdgeEnded(ctx, msg)
//		}
//	}
//
// Receive never blocks. Stopping is the last chance to act; afterwards no message but the lifecycle's
// is delivered. An actor is not restarted in place: it ends, and its parent spawns the next one.
package actors

// A tree's life, in order of execution:
//
//	the program   NewSystem   joins proto.actor's log to zap, takes over its dead letters
//	the program   Start       spawns the root actor, which spawns the rest
//	anybody       Tell, Ask   from outside the tree; inside, actors use their context and PID
//	the tree      Fail        a singleton cannot be kept alive: Failed tells the program
//	the program   Stop        stops the root actor, children first, and waits for the last mailbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"
	cmap "github.com/orcaman/concurrent-map"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
)

// smallTable: proto.actor's table of processes is 1024 maps, each of them made of 32, 3 MB for nothing on
// a camera with a hundred actors. Maps of one part each are table enough.
var smallTable = sync.OnceFunc(func() { cmap.SHARD_COUNT = 1 })

// System is one tree of actors (the device's or the service's) with its counters and its log. Its
// methods may be called from anywhere.
type System struct {
	name   string
	log    *zap.Logger
	proto  *actor.ActorSystem
	failed chan error
	dead   deadLetters
	absent atomic.Uint64 // messages to a name that nobody held
	empty  chan struct{} // closed when the last mailbox has run for the last time

	starting sync.Mutex // held by Start, so that Stop finds a root that lives
	root     *actor.PID // guarded by starting

	mu       sync.Mutex // guards the rest
	stopping bool
	kinds    map[string]*kind
	live     int // mailboxes that may still run
}

// kind counts what the mailboxes of all actors of one kind have seen, dead and alive.
type kind struct {
	name   string
	actors atomic.Int64

	sent, processed, overflow, stopped, stale, panics atomic.Uint64
}

// Spec says how to make an actor.
type Spec struct {
	Name  string // the last part of its path; unique among the children of its parent
	Kind  string // groups actors in logs and statistics; Name when empty. Set it where names vary
	Lanes Lanes
	New   func() actor.Actor // called once for every incarnation
}

// MailboxStats sums up the mailboxes of all actors of a kind, those that have ended included.
// Sent = Processed + Overflow + Stopped + Stale + Depth.
type MailboxStats struct {
	Kind      string
	Actors    int    // alive now
	Sent      uint64 // messages that reached a mailbox, admitted or not
	Processed uint64 // delivered to an actor
	Overflow  uint64 // dead letters: the lane was full
	Stopped   uint64 // dead letters: the actor had stopped
	Stale     uint64 // dropped: the owner had cancelled the edge or stopped the timer
	Panics    uint64 // messages at which the actor panicked
	Depth     int    // waiting now
}

// NewSystem makes a tree without actors. The name appears in the log; log may be nil.
func NewSystem(name string, log *zap.Logger) *System {
	smallTable()
	if log == nil {
		log = zap.NewNop()
	}
	s := &System{
		name:   name,
		log:    log.Named(name),
		failed: make(chan error, 1),
		kinds:  map[string]*kind{},
		empty:  make(chan struct{}),
	}
	s.proto = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		warnings := s.log.WithOptions(zap.IncreaseLevel(max(zap.WarnLevel, s.log.Level()))) // below that it talks of itself
		return slog.New(zapslog.NewHandler(warnings.Core(), zapslog.WithName(s.log.Name()+".proto")))
	}))
	// proto.actor's own subscribers log the contents of dead letters and start goroutines to throttle
	// that. Nobody else listens at this point, so a fresh stream is the whole change.
	s.proto.EventStream = eventstream.NewEventStream()
	s.proto.EventStream.Subscribe(s.onEvent)
	return s
}

// Log is the logger of the tree.
func (s *System) Log() *zap.Logger { return s.log }

// Start spawns the root actor under spec.Name and returns once it has handled Started: what it spawns
// there can be told and asked from now on. A System is started once.
func (s *System) Start(spec Spec) error {
	s.starting.Lock()
	defer s.starting.Unlock()
	if s.root != nil || s.isStopping() {
		return fmt.Errorf("start %s: the system was started or stopped before", spec.Name)
	}
	up := make(chan struct{})
	pid, err := s.spawn(s.proto.Root, spec.Name, spec, func() { close(up) })
	if err != nil {
		return fmt.Errorf("start %s: %w", spec.Name, err)
	}
	s.root = pid
	<-up
	return nil
}

// Spawn makes a child of ctx's actor. It is the only way to make one: it gives the actor its bounded
// mailbox, its place in the statistics, and the supervision of keeper.go.
func (s *System) Spawn(ctx actor.Context, spec Spec) (*actor.PID, error) {
	pid, err := s.spawn(ctx, ctx.Self().Id+"/"+spec.Name, spec, nil)
	if err != nil {
		return nil, fmt.Errorf("spawn %s: %w", spec.Name, err)
	}
	return pid, nil
}

// spawner is what proto.actor's root context and an actor's context have in common.
type spawner interface {
	SpawnNamed(props *actor.Props, name string) (*actor.PID, error)
}

// spawn makes an actor; up, when not nil, is called once it has handled Started.
func (s *System) spawn(in spawner, path string, spec Spec, up func()) (*actor.PID, error) {
	switch {
	case spec.Name == "" || strings.Contains(spec.Name, "/"):
		return nil, fmt.Errorf("name %q: want a name without slash", spec.Name)
	case spec.Lanes.Control < 1 || spec.Lanes.Frames < 0:
		return nil, fmt.Errorf("lanes %+v: the control lane needs a bound of at least 1", spec.Lanes)
	}
	if spec.Kind == "" {
		spec.Kind = spec.Name
	}
	inner, err := s.incarnate(spec)
	if err != nil {
		return nil, err
	}
	box := newMailbox(s, path, s.kindOf(spec.Kind), spec.Lanes)
	around := &shell{inner: inner, box: box, up: up} // made once: proto.actor never restarts what does not panic
	props := actor.PropsFromProducer(
		func() actor.Actor { return around },
		actor.WithMailbox(func() actor.Mailbox { return box }))
	return in.SpawnNamed(props, spec.Name)
}

// incarnate calls spec.New; a panic there must not end the parent.
func (s *System) incarnate(spec Spec) (made actor.Actor, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			s.logPanic("constructor of an actor panicked", spec.Kind, spec.Name, fault, nil)
			err = fmt.Errorf("make actor: panic: %s", faultText(fault))
		}
	}()
	if spec.New == nil {
		return nil, errors.New("Spec.New is missing")
	}
	if made = spec.New(); made == nil {
		return nil, errors.New("Spec.New gave no actor")
	}
	return made, nil
}

// PID addresses whoever holds the path ("device/session") now or later.
func (s *System) PID(path string) *actor.PID { return s.proto.NewLocalPID(path) }

// Tell sends a message from outside the tree and does not wait.
func (s *System) Tell(path string, msg any) { s.proto.Root.Send(s.PID(path), msg) }

// Fail reports that the tree cannot go on. The first error counts, later ones are only logged.
func (s *System) Fail(err error) {
	s.log.Error("the actor system fails", zap.Error(err))
	select {
	case s.failed <- err:
	default:
	}
}

// Failed receives once when the tree cannot go on: the program should stop and exit with an error.
func (s *System) Failed() <-chan error { return s.failed }

// Stop stops the root actor with all its children and waits until the last of them has ended. When
// ctx ends first the error names the kinds that still run. Later calls wait likewise.
func (s *System) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.starting.Lock()
	root := s.root
	s.starting.Unlock()
	if root == nil {
		return nil
	}
	s.proto.Root.Stop(root)
	select {
	case <-s.empty:
		s.dead.flush(s.log)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop actors, still running %s: %w", strings.Join(s.running(), ", "), ctx.Err())
	}
}

func (s *System) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// Mailboxes gives the statistics of every kind that ever lived, sorted by kind.
func (s *System) Mailboxes() []MailboxStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]MailboxStats, 0, len(s.kinds))
	for _, name := range slices.Sorted(maps.Keys(s.kinds)) {
		all = append(all, s.kinds[name].stats())
	}
	return all
}

// stats reads sent last: what is counted as sent before it is counted as anything else cannot make
// the depth negative.
func (k *kind) stats() MailboxStats {
	m := MailboxStats{
		Kind:      k.name,
		Actors:    int(k.actors.Load()),
		Processed: k.processed.Load(),
		Overflow:  k.overflow.Load(),
		Stopped:   k.stopped.Load(),
		Stale:     k.stale.Load(),
		Panics:    k.panics.Load(),
	}
	m.Sent = k.sent.Load()
	m.Depth = int(m.Sent - m.Processed - m.Overflow - m.Stopped - m.Stale)
	return m
}

// running names the kinds that have actors.
func (s *System) running() []string {
	var names []string
	for _, m := range s.Mailboxes() {
		if m.Actors > 0 {
			names = append(names, m.Kind)
		}
	}
	return names
}

func (s *System) kindOf(name string) *kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kinds[name]
	if k == nil {
		k = &kind{name: name}
		s.kinds[name] = k
	}
	return k
}

// enter counts a mailbox in: its spawn has succeeded.
func (s *System) enter(m *mailbox) {
	m.kind.actors.Add(1)
	s.mu.Lock()
	s.live++
	s.mu.Unlock()
}

// leave counts a mailbox out: it has run for the last time. The last one is the root's, because a
// parent ends after its children.
func (s *System) leave(m *mailbox) {
	m.kind.actors.Add(-1)
	s.mu.Lock()
	s.live--
	last, expected := s.live == 0, s.stopping
	s.mu.Unlock()
	if !last {
		return
	}
	if !expected {
		s.Fail(fmt.Errorf("root actor %s ended: restart the process; the log tells why it ended", m.path))
	}
	close(s.empty)
}
