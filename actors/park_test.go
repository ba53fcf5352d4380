package actors

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/asynkron/protoactor-go/actor"
)

// parking launches an actor with one edge that parks before rest, and tells the edge and its end.
func parking(t *testing.T, early bool, rest func(*Edge) error) (sys *System, edge *Edge, ended chan error) {
	t.Helper()
	ended = make(chan error, 1)
	opened := make(chan *Edge, 1)
	sys = launch(t, Lanes{Control: 4}, func(sys *System, ctx actor.Context) {
		switch msg := ctx.Message().(type) {
		case *actor.Started:
			opened <- NewEdges(sys, ctx).Open("parked", func(e *Edge) error {
				if early {
					e.Wake()
				}
				return e.Park(rest)
			})
		case *EdgeEnded:
			ended <- msg.Err
		}
	})
	return sys, <-opened, ended
}

func TestParkedEdgeGoesOnWhenWoken(t *testing.T) {
	for _, early := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			done := errors.New("done")
			var runs atomic.Int64
			var again func(*Edge) error
			again = func(e *Edge) error {
				if runs.Add(1) < 3 {
					return e.Park(again)
				}
				return done
			}
			sys, edge, ended := parking(t, early, again)
			for want := range int64(3) {
				synctest.Wait()
				if early {
					want++ // the first Park did not wait
				}
				if got := runs.Load(); got != min(want, 3) {
					t.Fatalf("rest ran %d times, want %d", got, want)
				}
				edge.Wake()
			}
			if err := await(t, "end of the edge", ended); err != done {
				t.Errorf("ended with %v", err)
			}
			edge.Wake() // of an edge that has ended
			halt(t, sys)
			if runs.Load() != 3 {
				t.Errorf("rest ran %d times", runs.Load())
			}
		})
	}
}

// An owner that stops wakes its parked edges, and waits until they have tidied up.
func TestStopWaitsForTheRestOfAParkedEdge(t *testing.T) {
	var tidied atomic.Bool
	sys, _, _ := parking(t, false, func(e *Edge) error {
		tidied.Store(errors.Is(e.Context().Err(), context.Canceled))
		return nil
	})
	halt(t, sys)
	if !tidied.Load() {
		t.Error("the rest did not run, or before the cancellation")
	}
}

func TestPanicInTheRestOfAParkedEdgeIsItsEnd(t *testing.T) {
	sys, edge, ended := parking(t, false, func(*Edge) error { panic("rest") })
	edge.Wake()
	if err := await(t, "end of the edge", ended); err == nil {
		t.Error("ended well")
	}
	halt(t, sys)
}

// A sleeping edge has no context; what runs when it wakes has one of its own.
func TestContextEndsWhenAnEdgeFallsAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		contexts := make(chan context.Context, 1)
		sys, edge, ended := parking(t, false, func(e *Edge) error {
			contexts <- e.Context()
			return e.Park(func(e *Edge) error { return e.Context().Err() })
		})
		synctest.Wait()
		edge.Wake()
		synctest.Wait()
		if before := <-contexts; before.Err() == nil {
			t.Error("the context of before lives on")
		}
		edge.Wake()
		if err := await(t, "end of the edge", ended); err != nil {
			t.Errorf("the rest ran with a context that had ended: %v", err)
		}
		halt(t, sys)
	})
}
