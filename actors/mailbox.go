package actors

// The flow of a message, in order of execution:
//
//	any sender     PostUserMessage   counts it, admits it to a lane or refuses it; never waits
//	any sender     wake              starts the drain when it does not run and there is work
//	the dispatcher drain             takes and delivers, one message at a time, until nothing is left:
//	                                 system messages, then the control lane, then the frame lane
//	the sender     drainFrames       instead, where Lanes.Inline says so: a frame that finds the actor idle
//	                                 is delivered on the sender's thread
//	the dispatcher deliver           unwraps what came from an edge or a timer, drops it when stale
//	the owner      close             at Stopping: everything left and everything later is refused
//	any of them    dropped           a refused message becomes a dead letter: counted, logged, answered
//
// The mailbox belongs to one incarnation of one actor. At every moment
//
//	sent = processed + overflow + stopped + stale + depth
//
// and that conservation is what the tests hold it to.

import (
	"runtime"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// Lanes are the bounds of a mailbox, in messages.
//
// Control holds everything that is not a frame; full, it refuses the newest message. Frames holds
// the messages that have a method FrameLane(); full, it drops the oldest. With Frames at 0 there is
// no frame lane and frames travel as control messages. Control is served first.
//
// With Inline whoever posts a frame to an idle actor runs the actor for as long as only frames wait:
// from the source to the socket a frame then costs no hand-over between threads, which on a quiet
// device costs more than the work itself (performance.md). It is for actors whose handling of a frame
// cannot block, because it is the sender's time.
//
// Some messages are admitted beyond the bound, because there are few of them and they must arrive:
// PoisonPill, what an edge posts with Post (at most one per edge), EdgeEnded, and timer messages.
type Lanes struct {
	Control int  // at least 1
	Frames  int  // 0: no frame lane
	Inline  bool // frames are handled on the thread that posts them
}

// framed marks the messages of the frame lane.
type framed interface{ FrameLane() }

// reason says why a message was not processed.
type reason string

const (
	overflow reason = "overflow" // its lane was full
	stopped  reason = "stopped"  // the actor has stopped or is stopping
	stale    reason = "stale"    // the owner had cancelled the edge or stopped the timer
	absent   reason = "absent"   // nobody held the name; such a message meets no mailbox
)

// mailbox implements proto.actor's Mailbox. Its own bounded mailboxes spin, lose silently or block
// (actors.md), hence this one.
type mailbox struct {
	// never changes
	sys   *System
	path  string
	kind  *kind
	lanes Lanes
	work  func() // m.process, bound once so that scheduling allocates nothing

	mu         sync.Mutex // guards the rest; taken before System.mu, never after
	dispatcher actor.Dispatcher
	invoker    actor.MessageInvoker // nil until the spawn is complete
	system     ring
	control    ring
	frames     ring
	schedules  uint64 // times a drain began
	running    bool   // the drain runs or is about to
	closed     bool   // no user message is admitted any more
	ended      bool   // Stopped was delivered
	released   bool   // the system was told that nothing runs here any more
}

var _ actor.Mailbox = (*mailbox)(nil)

func newMailbox(sys *System, path string, kind *kind, lanes Lanes) *mailbox {
	m := &mailbox{sys: sys, path: path, kind: kind, lanes: lanes}
	m.work = m.process
	return m
}

// RegisterHandlers completes the spawn. The name is registered before that, so messages may already
// wait; they are served after Started, which proto.actor posts next and which wakes the mailbox.
func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.mu.Lock()
	m.invoker, m.dispatcher = invoker, dispatcher
	m.mu.Unlock()
	m.sys.enter(m)
}

// self is made where it is needed, which is seldom.
func (m *mailbox) self() *actor.PID { return m.sys.PID(m.path) }

// Start does nothing: the Started message wakes the mailbox.
func (m *mailbox) Start() {}

// UserMessageCount is the number of messages that wait in both lanes.
func (m *mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.depth()
}

func (m *mailbox) depth() int { return m.control.n + m.frames.n }

// PostUserMessage takes a message or refuses one; it never waits.
func (m *mailbox) PostUserMessage(msg any) {
	m.mu.Lock()
	m.kind.sent.Add(1)
	victim, why := m.admit(msg)
	wake := m.wake()
	inline := wake && m.framesAlone()
	m.mu.Unlock()
	if why != "" {
		m.dropped(victim, why)
	}
	switch {
	case inline:
		m.drainFrames()
	case wake:
		m.dispatcher.Schedule(m.work)
	}
}

// framesAlone tells whether what waits may be delivered on the sender's thread. Caller holds mu.
func (m *mailbox) framesAlone() bool {
	return m.lanes.Inline && m.system.n+m.control.n == 0
}

// PostSystemMessage takes one of proto.actor's lifecycle messages. There are few, so their lane has
// no bound.
func (m *mailbox) PostSystemMessage(msg any) {
	m.mu.Lock()
	if m.ended {
		m.mu.Unlock()
		m.sys.answerWatch(m.self(), msg)
		return
	}
	m.system.push(msg)
	wake := m.wake()
	m.mu.Unlock()
	if wake {
		m.dispatcher.Schedule(m.work)
	}
}

// admit puts the message into its lane. When one has to give way, this one or another, it is the
// victim, and why is not empty. Caller holds mu.
func (m *mailbox) admit(msg any) (victim any, why reason) {
	inner := actor.UnwrapEnvelopeMessage(msg)
	from, _ := inner.(*parcel)
	if from != nil {
		inner = from.msg
	}
	_, frame := inner.(framed)
	switch {
	case m.closed:
		return msg, stopped
	case frame && m.lanes.Frames > 0:
		if m.frames.n >= m.lanes.Frames && !mustArrive(inner, from) {
			victim, why = m.frames.pop(), overflow
		}
		m.frames.push(msg)
	case mustArrive(inner, from):
		m.control.push(msg)
	case m.control.n >= m.lanes.Control:
		return msg, overflow
	default:
		m.control.push(msg)
	}
	return victim, why
}

// mustArrive tells what is admitted beyond the bound.
func mustArrive(msg any, from *parcel) bool {
	if from != nil && from.certain {
		return true
	}
	_, auto := msg.(actor.AutoReceiveMessage)
	return auto
}

// wake says whether the caller has to schedule the drain. Caller holds mu.
func (m *mailbox) wake() bool {
	if m.running || m.invoker == nil || m.system.n+m.depth() == 0 {
		return false
	}
	m.running = true
	m.schedules++
	return true
}

// process is what the dispatcher runs. The shell around each actor recovers panics of Receive;
// drain ends early only when proto.actor itself panicked.
func (m *mailbox) process() {
	for !m.drain() {
	}
}

// drain delivers until nothing is left; false means that it panicked and has to be called again.
func (m *mailbox) drain() (done bool) {
	var current any
	defer m.stopAfterPanic(&current)
	for i := 1; ; i++ {
		if i%m.dispatcher.Throughput() == 0 {
			runtime.Gosched()
		}
		msg, from := m.take()
		current = msg
		switch from {
		case nil:
			return true
		case &m.system:
			m.invoker.InvokeSystemMessage(msg)
		default:
			m.deliver(msg)
		}
	}
}

// drainFrames delivers frames until none is left, or until something else waits, which is not the
// sender's affair: the dispatcher goes on then.
func (m *mailbox) drainFrames() {
	var current any
	handOver := true // also after a panic
	defer func() {
		if handOver {
			m.dispatcher.Schedule(m.work)
		}
	}()
	defer m.stopAfterPanic(&current)
	for {
		m.mu.Lock()
		alone := m.framesAlone()
		if !alone || m.frames.n == 0 {
			handOver = !alone
			m.running = handOver
			if !handOver {
				m.release()
			} else {
				m.schedules++
			}
			m.mu.Unlock()
			return
		}
		current = m.frames.pop()
		m.mu.Unlock()
		m.deliver(current)
	}
}

// stopAfterPanic, deferred, keeps a panic of proto.actor itself from the thread, and stops the actor.
func (m *mailbox) stopAfterPanic(current *any) {
	if fault := recover(); fault != nil {
		m.panicked(fault, actor.UnwrapEnvelopeMessage(*current))
		m.PostSystemMessage(&actor.Stop{})
	}
}

// take returns the next message and where it was, or no place at all: then the mailbox is idle.
func (m *mailbox) take() (msg any, from *ring) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, lane := range [...]*ring{&m.system, &m.control, &m.frames} {
		if lane.n > 0 {
			return lane.pop(), lane
		}
	}
	m.running = false
	m.release()
	return nil, nil
}

// deliver hands a message to the actor. What comes from an edge or a timer is unwrapped, and dropped
// when the owner, who runs on this same loop, has cancelled its origin.
func (m *mailbox) deliver(msg any) {
	from, ok := msg.(*parcel)
	switch {
	case !ok:
		m.kind.processed.Add(1)
		m.invoker.InvokeUserMessage(msg)
	case from.origin.cancelled():
		m.dropped(msg, stale)
	default:
		m.kind.processed.Add(1)
		defer from.settle()
		from.origin.delivered(from.msg)
		m.invoker.InvokeUserMessage(from.msg)
	}
}

// close refuses what is left in the lanes and whatever comes later. The owner's loop calls it once
// Stopping was handled; afterwards only lifecycle messages reach the actor.
func (m *mailbox) close() {
	m.mu.Lock()
	m.closed = true
	control, frames := m.control, m.frames
	m.control, m.frames = ring{}, ring{}
	m.mu.Unlock()
	for _, lane := range []ring{control, frames} {
		for lane.n > 0 {
			m.dropped(lane.pop(), stopped)
		}
	}
}

// end notes that Stopped was delivered: the name is free and may be taken by the next incarnation.
func (m *mailbox) end() {
	m.mu.Lock()
	m.ended = true
	m.mu.Unlock()
}

// release tells the system once that this mailbox has run for the last time. Caller holds mu.
func (m *mailbox) release() {
	if m.ended && !m.released {
		m.released = true
		m.sys.leave(m)
	}
}

// dropped counts a message that is not processed and makes it a dead letter. Called without mu.
func (m *mailbox) dropped(msg any, why reason) {
	if from, ok := msg.(*parcel); ok {
		if from.origin.cancelled() {
			why = stale
		}
		msg = from.msg
		from.settle()
	}
	switch why {
	case stale:
		m.kind.stale.Add(1)
		return // its owner wanted that: nothing to report
	case overflow:
		m.kind.overflow.Add(1)
	default:
		m.kind.stopped.Add(1)
	}
	_, inner, sender := actor.UnwrapEnvelope(msg)
	if _, auto := inner.(actor.AutoReceiveMessage); auto {
		return // poison: the actor has stopped anyway
	}
	m.sys.deadLetter(m.self(), inner, sender, why)
}

// panicked counts and logs a panic, with the type of the message that was in hand.
func (m *mailbox) panicked(fault, msg any) {
	m.kind.panics.Add(1)
	m.sys.logPanic("actor panicked and is stopped", m.kind.name, m.path, fault, msg)
}

// ring is a first-in first-out queue. It grows to what was needed once and allocates nothing after
// that; bounds are the caller's affair.
type ring struct {
	slots []any // length is a power of two
	head  int
	n     int
}

func (r *ring) push(v any) {
	if r.n == len(r.slots) {
		r.grow()
	}
	r.slots[(r.head+r.n)&(len(r.slots)-1)] = v
	r.n++
}

// pop takes the oldest; the ring must not be empty.
func (r *ring) pop() any {
	v := r.slots[r.head]
	r.slots[r.head] = nil
	r.head = (r.head + 1) & (len(r.slots) - 1)
	r.n--
	return v
}

func (r *ring) grow() {
	slots := make([]any, max(4, 2*len(r.slots)))
	n := copy(slots, r.slots[r.head:])
	copy(slots[n:], r.slots[:r.head])
	r.slots, r.head = slots, 0
}
