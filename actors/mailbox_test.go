package actors

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// hammer sends to the path from several goroutines, control messages and frames in turn, until quit
// is closed. Every 50th message is a bomb.
func hammer(sys *System, path string, senders int, quit <-chan struct{}) (sent *atomic.Uint64, done *sync.WaitGroup) {
	sent, done = new(atomic.Uint64), new(sync.WaitGroup)
	send := func() {
		pid := sys.PID(path)
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			default:
			}
			sent.Add(1)
			switch {
			case i%50 == 0:
				runtime.Gosched() // on one processor: the actors make room for the bomb
				sys.proto.Root.Send(pid, "bomb")
			case i%2 == 0:
				sys.proto.Root.Send(pid, i)
			default:
				sys.proto.Root.Send(pid, frame(i))
			}
		}
	}
	for range senders {
		done.Go(send)
	}
	return sent, done
}

// counter counts the user messages that an actor really saw, independently of the mailbox.
func counter(seen *atomic.Uint64) func() actor.Actor {
	return func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			switch msg := ctx.Message().(type) {
			case int, frame:
				seen.Add(1)
			case string:
				seen.Add(1)
				panic(msg)
			}
		})
	}
}

// respawner is a root that replaces its only child at once, whenever it ends.
func respawner(child Spec, generations *atomic.Int64) func(*System, actor.Context) {
	stopping := false
	return func(sys *System, ctx actor.Context) {
		switch ctx.Message().(type) {
		case *actor.Stopping:
			stopping = true
		case *actor.Started, *actor.Terminated:
			if !stopping {
				generations.Add(1)
				_, _ = sys.Spawn(ctx, child)
			}
		}
	}
}

// Everything that was sent was processed or became a dead letter, while the actor panics and is
// replaced all the time, and the tree is stopped under fire.
func TestConservationWithPanicsAndStops(t *testing.T) {
	for i := range 6 {
		var seen atomic.Uint64
		var generations atomic.Int64
		worker := Spec{Name: "worker", Lanes: Lanes{Control: 16, Frames: 4, Inline: i%2 == 1}, New: counter(&seen)}
		sys := launch(t, Lanes{Control: 8}, respawner(worker, &generations))
		quit := make(chan struct{})
		sent, senders := hammer(sys, "root/worker", 4, quit)
		eventually(t, "twenty generations", func() bool { return generations.Load() > 20 })
		halt(t, sys)
		before := sent.Load()
		eventually(t, "messages after the stop", func() bool { return sent.Load() > before+100 })
		close(quit)
		senders.Wait()

		stats := statsOf(t, sys, "worker")
		if stats.Depth != 0 || stats.Actors != 0 {
			t.Errorf("after the stop: %+v", stats)
		}
		if stats.Processed != seen.Load() {
			t.Errorf("the mailboxes say %d were processed, the actors saw %d", stats.Processed, seen.Load())
		}
		dead := stats.Overflow + stats.Stopped + stats.Stale + sys.Undelivered()
		if seen.Load()+dead != sent.Load() {
			t.Errorf("processed %d + dead letters %d is not sent %d: %+v", seen.Load(), dead, sent.Load(), stats)
		}
		if stats.Panics < 20 || stats.Overflow == 0 || stats.Stopped+sys.Undelivered() == 0 {
			t.Errorf("%+v, undelivered %d: the test exercised too little", stats, sys.Undelivered())
		}
	}
}

func TestSlowConsumerDelaysNoSender(t *testing.T) {
	const sent = 50_000
	gate, entered := make(chan struct{}), make(chan struct{})
	sys := launch(t, Lanes{Control: 8, Frames: 4}, func(_ *System, ctx actor.Context) {
		if ctx.Message() == "block" {
			close(entered)
			<-gate
		}
	})
	sys.Tell("root", "block")
	await(t, "blocked actor", entered)
	// The actor moves only after the gate opens below: a sender that waited for it would hang here.
	for i := range sent {
		sys.Tell("root", i)
		sys.Tell("root", frame(i))
	}
	got := statsOf(t, sys, "root")
	if got.Depth != 8+4 || got.Overflow != 2*sent-12 {
		t.Errorf("got %+v, want depth 12 and all others counted as overflow", got)
	}
	close(gate)
}

func TestLanes(t *testing.T) {
	gate, entered, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var order []any
	sys := launch(t, Lanes{Control: 2, Frames: 2}, func(_ *System, ctx actor.Context) {
		switch msg := ctx.Message().(type) {
		case string:
			close(entered)
			<-gate
		case int, frame:
			order = append(order, msg)
			if len(order) == 4 {
				close(done)
			}
		}
	})
	sys.Tell("root", "block")
	await(t, "blocked actor", entered)
	for i := range 4 {
		sys.Tell("root", frame(i))
		sys.Tell("root", i)
	}
	close(gate)
	await(t, "four messages", done)
	halt(t, sys)
	if want := []any{0, 1, frame(2), frame(3)}; !slices.Equal(order, want) {
		t.Errorf("delivered %v, want %v: control first and its newest refused, the oldest frames dropped", order, want)
	}
}

func TestWithoutFrameLaneFramesAreControl(t *testing.T) {
	got := make(chan any, 1)
	sys := launch(t, Lanes{Control: 1}, func(_ *System, ctx actor.Context) {
		if msg, ok := ctx.Message().(frame); ok {
			got <- msg
		}
	})
	sys.Tell("root", frame(1))
	await(t, "frame", got)
}

// A mailbox that has dropped must rest: in the bubble, Wait returns only when no goroutine runs, and
// an hour passes without one more dispatch.
func TestIdleAfterDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var box *mailbox
		sys := launch(t, Lanes{Control: 2, Frames: 2}, func(_ *System, ctx actor.Context) {
			if ctx.Message() == "block" {
				box = boxOf(ctx)
				<-gate
			}
		})
		sys.Tell("root", "block")
		synctest.Wait()
		for i := range 100 {
			sys.Tell("root", i)
			sys.Tell("root", frame(i))
		}
		close(gate)
		synctest.Wait()
		if stats := statsOf(t, sys, "root"); stats.Overflow != 196 || stats.Depth != 0 {
			t.Errorf("got %+v, want 196 drops and nothing left", stats)
		}
		before, running := schedulesOf(box)
		time.Sleep(time.Hour)
		synctest.Wait()
		if after, _ := schedulesOf(box); after != before || running {
			t.Errorf("dispatched %d times while idle, running %v", after-before, running)
		}
	})
}

func schedulesOf(m *mailbox) (uint64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.schedules, m.running
}

func TestSelfSendDoesNotDeadlock(t *testing.T) {
	var got atomic.Int64
	done := make(chan struct{})
	sys := launch(t, Lanes{Control: 4}, func(_ *System, ctx actor.Context) {
		switch ctx.Message().(type) {
		case string:
			for i := range 10 {
				ctx.Send(ctx.Self(), i)
			}
		case int:
			if got.Add(1) == 4 {
				close(done)
			}
		}
	})
	sys.Tell("root", "go")
	await(t, "four own messages", done)
	halt(t, sys)
	if stats := statsOf(t, sys, "root"); got.Load() != 4 || stats.Overflow != 6 {
		t.Errorf("got %d messages, %+v; want 4 and 6 refused", got.Load(), stats)
	}
}

func TestPoisonOnFullMailbox(t *testing.T) {
	gate, entered, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var before atomic.Int64
	sys := launch(t, Lanes{Control: 8}, func(sys *System, ctx actor.Context) {
		switch ctx.Message().(type) {
		case *actor.Started:
			child := func() actor.Actor {
				return actor.ReceiveFunc(func(ctx actor.Context) {
					switch ctx.Message().(type) {
					case string:
						close(entered)
						<-gate
					case int:
						before.Add(1)
					}
				})
			}
			if _, err := sys.Spawn(ctx, Spec{Name: "child", Lanes: Lanes{Control: 2}, New: child}); err != nil {
				t.Error(err)
			}
		case *actor.Terminated:
			close(over)
		}
	})
	sys.Tell("root/child", "block")
	await(t, "blocked actor", entered)
	for i := range 5 {
		sys.Tell("root/child", i)
	}
	sys.proto.Root.Poison(sys.PID("root/child"))
	close(gate)
	await(t, "end of the poisoned child", over)
	if before.Load() != 2 {
		t.Errorf("%d messages before the poison, want the 2 that fitted", before.Load())
	}
}

func TestNilMessageIsAMessage(t *testing.T) {
	got := make(chan any, 1)
	sys := launch(t, Lanes{Control: 4}, func(_ *System, ctx actor.Context) {
		if s, ok := ctx.Message().(string); ok {
			got <- s
		}
	})
	sys.Tell("root", nil)
	sys.Tell("root", "after")
	await(t, "message after nil", got)
}

// A message may meet the name before the spawn is complete; it waits and comes after Started.
func TestMessageBeforeStarted(t *testing.T) {
	sys := NewSystem("test", nil)
	box := newMailbox(sys, "early", sys.kindOf("early"), Lanes{Control: 4})
	box.PostUserMessage("early")
	recorder := &recorder{}
	box.RegisterHandlers(recorder, actor.NewSynchronizedDispatcher(300))
	if len(recorder.seen) != 0 {
		t.Fatalf("delivered %v before Started", recorder.seen)
	}
	box.PostSystemMessage("started")
	if want := []any{"started", "early"}; !slices.Equal(recorder.seen, want) {
		t.Errorf("delivered %v, want %v", recorder.seen, want)
	}
}

// recorder stands in for proto.actor behind a mailbox.
type recorder struct{ seen []any }

func (r *recorder) InvokeSystemMessage(msg any) { r.seen = append(r.seen, msg) }
func (r *recorder) InvokeUserMessage(msg any)   { r.seen = append(r.seen, msg) }
func (r *recorder) EscalateFailure(_, _ any)    {}

// discard is a recorder that forgets.
type discard struct{ recorder }

func (*discard) InvokeUserMessage(any) {}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	sys := NewSystem("test", nil)
	for _, inline := range []bool{false, true} {
		box := newMailbox(sys, "quiet", sys.kindOf("quiet"), Lanes{Control: 64, Frames: 8, Inline: inline})
		box.RegisterHandlers(&discard{}, actor.NewSynchronizedDispatcher(300))
		var control, picture any = &struct{ n int }{}, frame(1)
		if n := testing.AllocsPerRun(1000, func() {
			box.PostUserMessage(control)
			box.PostUserMessage(picture)
		}); n != 0 {
			t.Errorf("%v allocations per pair of messages, want 0", n)
		}
	}
}

// thread is a dispatcher whose work runs when the test says so.
type thread struct{ work []func() }

func (d *thread) Schedule(fn func()) { d.work = append(d.work, fn) }
func (*thread) Throughput() int      { return 300 }

func (d *thread) run() {
	for len(d.work) > 0 {
		next := d.work[0]
		d.work = d.work[1:]
		next()
	}
}

// scripted is a recorder with a say in what happens.
type scripted struct {
	discard
	user   func(any)
	system func(any)
}

func (h *scripted) InvokeUserMessage(msg any)   { h.user(msg) }
func (h *scripted) InvokeSystemMessage(msg any) { h.system(msg) }

// An idle actor with inline frames handles them before the sender goes on, and nothing else.
func TestInlineFramesRunOnTheSendersThread(t *testing.T) {
	sys := NewSystem("test", nil)
	box := newMailbox(sys, "inline", sys.kindOf("inline"), Lanes{Control: 8, Frames: 2, Inline: true})
	var seen []any
	threads := &thread{}
	h := &scripted{system: func(msg any) { seen = append(seen, msg) }}
	h.user = func(msg any) {
		seen = append(seen, msg)
		switch msg {
		case frame(2): // to itself, while it runs: it takes its turn
			box.PostUserMessage(frame(20))
			box.PostUserMessage(frame(21))
		case frame(3): // what is not a frame is the dispatcher's
			box.PostUserMessage("control")
			box.PostUserMessage(frame(30))
			box.PostSystemMessage("system")
		}
	}
	box.RegisterHandlers(h, threads)
	expect := func(what string, want ...any) {
		t.Helper()
		if !slices.Equal(seen, want) {
			t.Fatalf("%s: got %v, want %v", what, seen, want)
		}
		seen = nil
	}
	box.PostUserMessage(frame(1))
	expect("a frame", frame(1))
	box.PostUserMessage(frame(2))
	expect("frames from inside", frame(2), frame(20), frame(21))
	box.PostUserMessage(frame(3))
	expect("until something else waits", frame(3))
	box.PostUserMessage(frame(4))
	expect("and not while the dispatcher is on its way")
	threads.run()
	expect("the dispatcher", "system", "control", frame(30), frame(4))
	box.PostUserMessage("again")
	box.PostUserMessage(frame(5))
	expect("not past what waits")
	threads.run()
	expect("the dispatcher", "again", frame(5))
	if got := sys.Mailboxes()[0]; got.Sent != got.Processed || got.Depth != 0 {
		t.Fatalf("%+v", got)
	}
}

func TestRingKeepsOrder(t *testing.T) {
	var r ring
	var model []any
	for i := range 10_000 {
		if r.n == 0 || rand.N(5) < 3 && r.n < 50 {
			r.push(i)
			model = append(model, i)
			continue
		}
		if got := r.pop(); got != model[0] {
			t.Fatalf("step %d: popped %v, want %v", i, got, model[0])
		}
		model = model[1:]
	}
	if r.n != len(model) || len(r.slots) > 64 {
		t.Errorf("ring holds %d in %d slots, want %d in at most 64", r.n, len(r.slots), len(model))
	}
}

func BenchmarkTell(b *testing.B) {
	sys := NewSystem("bench", nil)
	box := newMailbox(sys, "bench", sys.kindOf("bench"), Lanes{Control: 64})
	box.RegisterHandlers(&discard{}, actor.NewSynchronizedDispatcher(300))
	var msg any = &struct{}{}
	for b.Loop() {
		box.PostUserMessage(msg)
	}
}
