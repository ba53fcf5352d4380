package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// A reading edge posts without end into a lane of one that others keep full: none of its messages is
// lost, none overtakes another, and never more than one of them waits.
func TestPostIsNeverRefusedAndWaitsItsTurn(t *testing.T) {
	const posts = 300
	type posted int
	var edges *Edges
	var waiting, waitingMax atomic.Int64
	var order []posted
	ended := make(chan error, 1)
	sys := launch(t, Lanes{Control: 1}, func(sys *System, ctx actor.Context) {
		switch msg := ctx.Message().(type) {
		case *actor.Started:
			edges = NewEdges(sys, ctx)
			edges.Open("reader", func(e *Edge) error {
				for i := range posts {
					waitingMax.Store(max(waitingMax.Load(), waiting.Add(1)))
					if err := e.Post(posted(i)); err != nil {
						return err
					}
				}
				return nil
			})
		case posted:
			waiting.Add(-1)
			order = append(order, msg)
			ctx.Send(ctx.Self(), "filler") // the lane of one is full again
		case *EdgeEnded:
			ended <- msg.Err
		}
	})
	if err := await(t, "end of the edge", ended); err != nil {
		t.Error(err)
	}
	halt(t, sys)
	if len(order) != posts || !slices.IsSorted(order) {
		t.Errorf("delivered %d messages, sorted %v; want all %d in order", len(order), slices.IsSorted(order), posts)
	}
	if waitingMax.Load() != 1 {
		t.Errorf("up to %d messages waited, want 1", waitingMax.Load())
	}
}

// The lane is full and stays full. An edge that posts from two goroutines gets one message in, beyond
// the bound, and not the other; both arrive in the end.
func TestPostHasOneCreditBeyondTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type posted int
		begin, gate := make(chan struct{}), make(chan struct{})
		var arrived atomic.Int64
		sys := launch(t, Lanes{Control: 2}, func(sys *System, ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				NewEdges(sys, ctx).Open("reader", func(e *Edge) error {
					<-begin
					var g Group
					g.Go("one", func() error { return e.Post(posted(1)) })
					g.Go("two", func() error { return e.Post(posted(2)) })
					return g.Wait()
				})
			case string:
				<-gate
			case posted:
				arrived.Add(1)
			case *EdgeEnded:
				if err := ctx.Message().(*EdgeEnded).Err; err != nil {
					t.Error(err)
				}
			}
		})
		sys.Tell("root", "block")
		synctest.Wait()
		sys.Tell("root", 1)
		sys.Tell("root", 2)
		close(begin)
		synctest.Wait()
		if stats := statsOf(t, sys, "root"); stats.Depth != 2+1 || stats.Overflow != 0 {
			t.Errorf("got %+v, want the two of the lane and one beyond the bound", stats)
		}
		close(gate)
		synctest.Wait()
		if arrived.Load() != 2 {
			t.Errorf("%d posted messages arrived, want 2", arrived.Load())
		}
		halt(t, sys)
	})
}

func TestPostReturnsOnlyWhenProcessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		returned := false
		sys := launch(t, Lanes{Control: 4}, func(sys *System, ctx actor.Context) {
			switch ctx.Message().(type) {
			case *actor.Started:
				NewEdges(sys, ctx).Open("reader", func(e *Edge) error {
					err := e.Post("slow")
					returned = true
					return err
				})
			case string:
				<-gate
			}
		})
		synctest.Wait()
		if returned {
			t.Error("Post returned while the owner was still at the message")
		}
		close(gate)
		synctest.Wait()
		if !returned {
			t.Error("Post did not return after the owner was done")
		}
		halt(t, sys)
	})
}

// The owner is busy while an edge tells it three messages, posts a fourth and ends; then it cancels
// the edge: none of the five is delivered, and Post does not hang.
func TestCancelMakesMessagesStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var edge *Edge
		var postErr error
		begin, gate := make(chan struct{}), make(chan struct{})
		sys := launch(t, Lanes{Control: 16}, func(sys *System, ctx actor.Context) {
			switch msg := ctx.Message().(type) {
			case *actor.Started:
				edges := NewEdges(sys, ctx)
				edge = edges.Open("source", func(e *Edge) error {
					<-begin
					for i := range 3 {
						e.Tell(i)
					}
					postErr = e.Post(3)
					return postErr
				})
			case string:
				<-gate
				edge.Cancel()
			case int, *EdgeEnded:
				t.Errorf("delivered %T after Cancel", msg)
			}
		})
		sys.Tell("root", "block")
		synctest.Wait()
		close(begin)
		synctest.Wait()
		close(gate)
		synctest.Wait()
		if stats := statsOf(t, sys, "root"); stats.Stale != 5 || stats.Processed != 1 {
			t.Errorf("got %+v, want 5 stale and only the blocking message processed", stats)
		}
		if !errors.Is(postErr, context.Canceled) {
			t.Errorf("Post gave %v, want a cancelled context", postErr)
		}
		halt(t, sys)
	})
}

func TestEdgeEndedPassesFullLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := errors.New("socket closed")
		gate, got := make(chan struct{}), make(chan *EdgeEnded, 1)
		var opened *Edge
		sys := launch(t, Lanes{Control: 1}, func(sys *System, ctx actor.Context) {
			switch msg := ctx.Message().(type) {
			case *actor.Started:
				opened = NewEdges(sys, ctx).Open("reader", func(e *Edge) error {
					<-e.Context().Done()
					return errors.New("unreachable before the end")
				})
				opened.Cancel()
				opened = NewEdges(sys, ctx).Open("reader", func(*Edge) error { <-gate; return want })
			case string:
				<-gate
				time.Sleep(time.Second) // in which the edge ends, while the lane is full
			case *EdgeEnded:
				got <- msg
			}
		})
		synctest.Wait()
		sys.Tell("root", "block")
		synctest.Wait()
		sys.Tell("root", "fill")
		sys.Tell("root", "refused")
		if stats := statsOf(t, sys, "root"); stats.Overflow != 1 {
			t.Errorf("the lane is not full: %+v", stats)
		}
		close(gate)
		ended := <-got
		if ended.Edge != opened || ended.Err != want || ended.Edge.Name() != "reader" {
			t.Errorf("got %+v, want the edge's own error", ended)
		}
		halt(t, sys)
	})
}

func TestEdgePanicIsAnError(t *testing.T) {
	got := make(chan error, 1)
	launch(t, Lanes{Control: 4}, func(sys *System, ctx actor.Context) {
		switch msg := ctx.Message().(type) {
		case *actor.Started:
			NewEdges(sys, ctx).Open("reader", func(*Edge) error { panic("a=candidate secret") })
		case *EdgeEnded:
			got <- msg.Err
		}
	})
	err := await(t, "end of the edge", got)
	if err == nil || !strings.Contains(err.Error(), "reader") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error that names the edge and keeps the panic's value to itself", err)
	}
}

func TestNothingOfAnEdgeAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		late := make(chan error, 1)
		sys := launch(t, Lanes{Control: 4}, func(sys *System, ctx actor.Context) {
			switch msg := ctx.Message().(type) {
			case *actor.Started:
				NewEdges(sys, ctx).Open("library", func(e *Edge) error {
					var g Group
					g.Go("callback", func() error {
						<-release
						e.Tell("late")
						late <- e.Post("later")
						return nil
					})
					return nil
				})
			case string:
				t.Errorf("delivered %q after EdgeEnded", msg)
			}
		})
		synctest.Wait()
		close(release)
		if err := <-late; err == nil {
			t.Error("Post after the edge's end succeeded")
		}
		synctest.Wait()
		if stats := statsOf(t, sys, "root"); stats.Stale != 1 {
			t.Errorf("got %+v, want the late Tell counted as stale", stats)
		}
		halt(t, sys)
	})
}

// The kernel closes the edges of an actor that stops, and Stop returns only after their goroutines.
func TestStopWaitsForEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var finished atomic.Int32
		sys := launch(t, Lanes{Control: 4}, func(sys *System, ctx actor.Context) {
			if _, ok := ctx.Message().(*actor.Started); !ok {
				return
			}
			edges := NewEdges(sys, ctx)
			for i := range 3 {
				edges.Open(fmt.Sprint("edge ", i), func(e *Edge) error {
					<-e.Context().Done()
					time.Sleep(8 * time.Second) // a slow farewell, longer than slowClose
					finished.Add(1)
					return nil
				})
			}
		})
		synctest.Wait()
		halt(t, sys)
		if finished.Load() != 3 {
			t.Errorf("Stop returned with %d of 3 edges ended", finished.Load())
		}
	})
}

func TestClosedEdgesOpenNothing(t *testing.T) {
	done := make(chan struct{})
	launch(t, Lanes{Control: 4}, func(sys *System, ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Started); !ok {
			return
		}
		defer close(done)
		edges := NewEdges(sys, ctx)
		edges.Close()
		edge := edges.Open("late", func(*Edge) error { t.Error("run was called"); return nil })
		if edge.Context().Err() == nil || edge.Post("x") == nil {
			t.Error("an edge opened after Close is alive")
		}
		edges.After(0, "late").Stop()
		edges.Close()
	})
	await(t, "end of the test", done)
}

func TestTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		type tick string
		var got []tick
		sys := launch(t, Lanes{Control: 1}, func(sys *System, ctx actor.Context) {
			switch msg := ctx.Message().(type) {
			case *actor.Started:
				edges := NewEdges(sys, ctx)
				edges.After(time.Hour, tick("kept"))
				edges.After(2*time.Hour, tick("stopped before")).Stop()
				edges.After(1000*time.Hour, tick("never: the tree stops first"))
				var none *Timer
				none.Stop()
				// Fired and waiting in the mailbox when it is stopped:
				due := edges.After(0, tick("stopped after it fired"))
				time.Sleep(time.Second)
				due.Stop()
				// Two that fire while the lane of one is full:
				edges.After(0, tick("first"))
				edges.After(0, tick("second"))
				ctx.Send(ctx.Self(), "filler")
				time.Sleep(time.Second)
			case tick:
				got = append(got, msg)
				if msg == "kept" && time.Since(start) != time.Hour {
					t.Errorf("kept came after %v", time.Since(start))
				}
			}
		})
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		slices.Sort(got)
		if want := []tick{"first", "kept", "second"}; !slices.Equal(got, want) {
			t.Errorf("delivered %q, want %q", got, want)
		}
		if stats := statsOf(t, sys, "root"); stats.Stale != 1 {
			t.Errorf("got %+v, want the one that was stopped after it fired counted as stale", stats)
		}
		halt(t, sys)
	})
}

// With edges that tell and post in flight, owners that panic, and the tree stopped under fire: what
// the mailboxes count agrees with what the actors saw and what the edges sent.
func TestConservationOfEdges(t *testing.T) {
	for _, inline := range []bool{false, true} {
		conserveEdges(t, inline)
	}
}

func conserveEdges(t *testing.T, inline bool) {
	var seen, told, acknowledged, attempts, opened atomic.Uint64
	var generations atomic.Int64
	worker := Spec{Name: "worker", Lanes: Lanes{Control: 4, Frames: 2, Inline: inline}, New: func() actor.Actor {
		var edges *Edges
		count := 0
		open := func(sys *System) {
			opened.Add(1)
			edges.Open("noisy", func(e *Edge) error {
				for i := 0; e.Context().Err() == nil && i < 40; i++ {
					told.Add(2)
					e.Tell(i)
					e.Tell(frame(i))
					for _, msg := range []any{"posted", frame(-i)} {
						attempts.Add(1)
						if e.Post(msg) == nil {
							acknowledged.Add(1)
						}
					}
				}
				return nil
			})
		}
		return actor.ReceiveFunc(func(ctx actor.Context) {
			sys := ctx.Actor().(*shell).box.sys
			switch ctx.Message().(type) {
			case *actor.Started:
				edges = NewEdges(sys, ctx)
				open(sys)
				open(sys)
			case int, frame, string, *EdgeEnded:
				seen.Add(1)
				if _, ended := ctx.Message().(*EdgeEnded); ended {
					open(sys)
				}
				if count++; count == 700 {
					panic("bomb")
				}
			}
		})
	}}
	sys := launch(t, Lanes{Control: 8}, respawner(worker, &generations))
	eventually(t, "ten generations", func() bool { return generations.Load() > 10 })
	halt(t, sys)

	stats := statsOf(t, sys, "worker")
	if stats.Depth != 0 || stats.Processed != seen.Load() {
		t.Errorf("actors saw %d: %+v", seen.Load(), stats)
	}
	// Every opened edge has ended and said so. A Post that failed may or may not have been sent.
	atMost := told.Load() + attempts.Load() + opened.Load()
	atLeast := told.Load() + acknowledged.Load() + opened.Load()
	if stats.Sent < atLeast || stats.Sent > atMost {
		t.Errorf("sent %d, want between %d and %d", stats.Sent, atLeast, atMost)
	}
	if stats.Stale == 0 || stats.Panics < 10 {
		t.Errorf("%+v: the test exercised too little", stats)
	}
}

func TestNewEdgesWantsAnActorOfOurs(t *testing.T) {
	sys := NewSystem("test", nil)
	got := make(chan any, 1)
	pid := sys.proto.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Started); ok {
			defer func() { got <- recover() }()
			NewEdges(sys, ctx)
		}
	}))
	if fault := await(t, "panic", got); fault == nil {
		t.Error("no panic for an actor that the kernel did not spawn")
	}
	if err := sys.proto.Root.StopFuture(pid).Wait(); err != nil {
		t.Error(err)
	}
}

func TestGroup(t *testing.T) {
	var g Group
	if err := g.Wait(); err != nil {
		t.Errorf("an empty group gave %v", err)
	}
	first := errors.New("first")
	failed := make(chan struct{})
	g.Go("failing", func() error { defer close(failed); return first })
	if err := g.Wait(); err != first {
		t.Errorf("got %v, want the first error", err)
	}
	var panicking Group
	panicking.Go("fine", func() error { return nil })
	panicking.Go("viewer 3", func() error { panic("secret") })
	if err := panicking.Wait(); err == nil || !strings.Contains(err.Error(), "viewer 3") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error that names the call", err)
	}
}
