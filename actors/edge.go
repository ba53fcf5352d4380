package actors

// An edge is where blocking work meets an actor: one blocking call in a goroutine that the actor
// owns. In order of execution:
//
//	the owner       Open      starts the goroutine
//	the goroutine   work      runs the call and turns a panic into an error
//	the goroutine   Post      gives the owner one message and waits until it was taken, or
//	                Tell      gives it one and does not wait
//	the goroutine   Park      it has nothing to do for long: the goroutine ends, the edge goes on
//	anybody         Wake      a goroutine for the rest of a parked edge
//	the goroutine   work      the call has returned: *EdgeEnded is the edge's last message
//	the owner       Cancel    from here on nothing of this edge is delivered any more
//	the owner       Close     cancels all edges and timers and waits for the goroutines
//
// Messages of an edge go straight into the mailbox of the actor that opened it, not to its name: an
// edge never reaches the next incarnation. This is the only file of the project that starts
// goroutines, and it waits for each of them.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"
)

// slowClose is how long Close waits before it says in the log which edges it waits for.
const slowClose = 5 * time.Second

// Edges are the edges and timers of one actor. Only the actor itself, in its Receive, may call the
// methods of Edges and those of Edge and Timer that say so.
type Edges struct {
	sys *System
	box *mailbox

	// the owner's
	open   roll[*Edge]
	timers roll[*Timer]
	closed bool

	running sync.WaitGroup
}

// NewEdges makes the set of edges of ctx's actor, which must have been spawned by the System. An
// actor calls it in Started. The kernel closes the set when the actor stops; an actor that needs
// its edges gone earlier calls Close itself.
func NewEdges(sys *System, ctx actor.Context) *Edges {
	shell, ok := ctx.Actor().(*shell)
	if !ok {
		panic("actors: NewEdges for an actor that was not spawned by System.Start or System.Spawn")
	}
	e := &Edges{sys: sys, box: shell.box}
	shell.edges = append(shell.edges, e)
	return e
}

// roll is a set of few, without the memory of a map.
type roll[M interface {
	comparable
	place() *int
}] []M

func (r *roll[M]) add(m M) {
	*m.place() = len(*r)
	*r = append(*r, m)
}

// remove does nothing when m is not in the roll (any more).
func (r *roll[M]) remove(m M) {
	at, last := *m.place(), len(*r)-1
	if at > last || (*r)[at] != m {
		return
	}
	(*r)[at] = (*r)[last]
	*(*r)[at].place() = at
	clear((*r)[last:])
	*r = (*r)[:last]
}

// Edge is one blocking call in a goroutine of its own. What a sleeping edge does not need it does
// not have: there may be ten thousand of them.
type Edge struct {
	owner *Edges
	name  string
	at    int         // in owner.open
	gone  atomic.Bool // cancelled by the owner, or its EdgeEnded was delivered

	mu     sync.Mutex // guards the rest
	ctx    context.Context
	cancel context.CancelFunc // both made when they are first asked for
	post   *posting           // likewise
	parked func(*Edge) error  // what comes after Park
	over   bool               // cancelled, or run has returned
	asleep bool               // parked, and its goroutine has ended
	woken  bool               // Wake was called and no Park has taken notice
}

func (e *Edge) place() *int { return &e.at }

// EdgeEnded is an edge's last message to its owner, as a pointer: run has returned Err, or panicked.
// An edge that was cancelled does not send it.
type EdgeEnded struct {
	Edge *Edge
	Err  error // what run returned, unwrapped; nil when it ended well
}

// Open starts run in a goroutine. The name appears in logs. run must return soon after
// Edge.Context is done. After Close the edge is born cancelled and run is never called.
func (e *Edges) Open(name string, run func(*Edge) error) *Edge {
	edge := &Edge{owner: e, name: name}
	if e.closed {
		edge.Cancel()
		return edge
	}
	e.open.add(edge)
	e.running.Add(1)
	go edge.work(run)
	return edge
}

// Close cancels every edge, stops every timer and waits until the goroutines have ended.
func (e *Edges) Close() {
	e.closed = true
	names := make([]string, 0, len(e.open))
	for _, edge := range slices.Clone(e.open) {
		names = append(names, edge.name)
		edge.Cancel()
	}
	for _, timer := range slices.Clone(e.timers) {
		timer.Stop()
	}
	alarm := time.AfterFunc(slowClose, func() {
		e.sys.log.Warn("edges do not end; the actor waits for them", zap.String("kind", e.box.kind.name), zap.Strings("edges", names))
	})
	defer alarm.Stop()
	e.running.Wait()
}

func (e *Edge) work(run func(*Edge) error) {
	err := e.guard(run)
	for err == errParked { // itself, from Park
		rest := e.rest()
		if rest == nil {
			return
		}
		err = e.guard(rest)
	}
	defer e.owner.running.Done()
	e.finish()
	e.owner.box.PostUserMessage(&parcel{origin: e, msg: &EdgeEnded{Edge: e, Err: err}, certain: true})
}

// errParked is what Park returns, for run to return.
var errParked = errors.New("parked")

// Park lets an edge wait without a goroutine: run returns what Park returns, and its goroutine ends.
// Once Wake was called, also before, or the edge was cancelled, rest runs in a goroutine of its own
// as run did; it sees in Context whether it was cancelled, and may park again. Close waits for it.
// The Context of before ends when the edge falls asleep; rest has one of its own.
func (e *Edge) Park(rest func(*Edge) error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.parked = rest
	return errParked
}

// Wake makes a parked edge go on, or keeps the next Park from waiting. Anybody may call it, at any time.
func (e *Edge) Wake() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.woken = true
	if rest := e.parked; rest != nil && e.asleep {
		e.parked, e.woken, e.asleep = nil, false, false
		go e.work(rest)
	}
}

// rest returns what a parked edge goes on with at once; nil: it sleeps until Wake.
func (e *Edge) rest() func(*Edge) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.woken && !e.over {
		e.asleep = true
		if e.cancel != nil {
			e.cancel()
			e.ctx, e.cancel = nil, nil
			e.post = nil // a parcel that nobody waits for any more may lie in the mailbox
		}
		return nil
	}
	rest := e.parked
	e.parked, e.woken = nil, false
	return rest
}

func (e *Edge) guard(run func(*Edge) error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			e.owner.sys.logPanic("edge panicked", e.owner.box.kind.name, e.name, fault, nil)
			err = fmt.Errorf("edge %s: panic: %s", e.name, faultText(fault))
		}
	}()
	return run(e)
}

// Name is what Open was given.
func (e *Edge) Name() string { return e.name }

// Context ends when the owner cancels or closes the edge, and when run has returned.
func (e *Edge) Context() context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx == nil {
		e.ctx, e.cancel = context.WithCancel(context.Background())
		if e.over {
			e.cancel()
		}
	}
	return e.ctx
}

// finish ends the context.
func (e *Edge) finish() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	if e.cancel != nil {
		e.cancel()
	}
}

// posting is what the messages of Post travel in, one after the other: a source posts each frame.
type posting struct {
	turn   chan struct{} // holds a token while no message is under way
	parcel parcel
}

func (e *Edge) posting() *posting {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.post == nil {
		e.post = &posting{make(chan struct{}, 1), parcel{origin: e, certain: true, taken: make(chan struct{}, 1)}}
		e.post.turn <- struct{}{}
	}
	return e.post
}

// Post gives the owner a message and waits until the owner has processed it. A full lane does not
// refuse it; having at most one message of this edge under way is what bounds the lane, and what
// makes a slow owner slow the edge. It fails when the edge was cancelled or its owner has stopped.
// The owner itself must not call it: it would wait for itself.
func (e *Edge) Post(msg any) error {
	ctx, p := e.Context(), e.posting()
	if !tokenCame(ctx, p.turn) {
		return e.failed(ctx)
	}
	defer func() { p.turn <- struct{}{} }()
	if ctx.Err() != nil {
		return e.failed(ctx)
	}
	p.parcel.msg = msg
	e.owner.box.PostUserMessage(&p.parcel)
	tokenCame(ctx, p.parcel.taken)
	return e.failed(ctx)
}

// tokenCame waits for a token; false: the context ended before. A token is there already, as a rule: an
// actor that was idle has handled a frame when it is posted (Lanes.Inline), and looking costs less than
// a select.
func tokenCame(ctx context.Context, tokens <-chan struct{}) bool {
	select {
	case <-tokens:
		return true
	default:
	}
	select {
	case <-tokens:
		return true
	case <-ctx.Done():
		return false
	}
}

// failed says why a Post failed. A message of Post is refused only after the edge was cancelled (an
// owner that stops closes its edges before its mailbox), so a context that lives means success.
func (e *Edge) failed(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("post from edge %s: %w", e.name, err)
	}
	return nil
}

// Tell gives the owner a message and does not wait. A full lane treats it like anybody's message.
func (e *Edge) Tell(msg any) {
	e.owner.box.PostUserMessage(&parcel{origin: e, msg: msg})
}

// Cancel ends the edge's context and makes every message of the edge stale that was not yet
// delivered, EdgeEnded included. Only the owner may call it. It does not wait.
func (e *Edge) Cancel() {
	e.gone.Store(true)
	e.finish()
	e.Wake()
	e.owner.open.remove(e)
}

func (e *Edge) cancelled() bool { return e.gone.Load() }

// delivered runs in the owner: after EdgeEnded nothing more of the edge is delivered.
func (e *Edge) delivered(msg any) {
	if _, ok := msg.(*EdgeEnded); ok {
		e.gone.Store(true)
		e.owner.open.remove(e)
	}
}

// Timer is one message to its owner at a later time.
type Timer struct {
	owner *Edges
	msg   any
	clock *time.Timer
	at    int         // in owner.timers
	gone  atomic.Bool // stopped by the owner, or delivered
}

func (t *Timer) place() *int { return &t.at }

// After delivers msg to the owner once d has passed, unless the timer was stopped before. A full
// lane does not refuse it.
func (e *Edges) After(d time.Duration, msg any) *Timer {
	t := &Timer{owner: e, msg: msg}
	if e.closed {
		t.gone.Store(true)
		return t
	}
	e.timers.add(t)
	t.clock = time.AfterFunc(d, t.fire)
	return t
}

func (t *Timer) fire() {
	t.owner.box.PostUserMessage(&parcel{origin: t, msg: t.msg, certain: true})
}

// Stop makes sure that the message is not delivered any more. Only the owner may call it; on a nil
// Timer, and on one that has fired, it does nothing.
func (t *Timer) Stop() {
	if t == nil {
		return
	}
	t.gone.Store(true)
	if t.clock != nil {
		t.clock.Stop()
	}
	t.owner.timers.remove(t)
}

func (t *Timer) cancelled() bool { return t.gone.Load() }

func (t *Timer) delivered(any) {
	t.gone.Store(true)
	t.owner.timers.remove(t)
}

// parcel carries a message of an edge or a timer through the mailbox, which unwraps it.
type parcel struct {
	origin  origin
	msg     any
	certain bool          // admitted beyond the bound
	taken   chan struct{} // has room for a token; nil when nobody waits for it
}

// origin is the edge or timer that a parcel comes from. Both methods run in the owner; cancelled is
// also asked by senders, once the owner has stopped.
type origin interface {
	cancelled() bool
	delivered(msg any)
}

// settle tells who waits: the message was processed, or never will be. The parcel is his again.
func (p *parcel) settle() {
	if p.taken != nil {
		p.msg = nil
		p.taken <- struct{}{}
	}
}

// Group runs blocking calls outside actors (in mains and benchmarks) and waits for them. The zero
// value is ready.
type Group struct {
	running sync.WaitGroup
	once    sync.Once
	err     error
}

// Go runs fn in a goroutine. A panic becomes an error with the name in it.
func (g *Group) Go(name string, fn func() error) {
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		if err := guarded(name, fn); err != nil {
			g.once.Do(func() { g.err = err })
		}
	}()
}

// Wait returns once every call has returned, with the first error that any of them gave.
func (g *Group) Wait() error {
	g.running.Wait()
	return g.err
}

func guarded(name string, fn func() error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%s: panic: %s", name, faultText(fault))
		}
	}()
	return fn()
}
