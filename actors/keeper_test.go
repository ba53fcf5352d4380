package actors

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// keep launches a root whose Keeper has the given children; saw hears what the Keeper did not handle fully.
func keep(t *testing.T, saw func(any), specs ...Spec) *System {
	t.Helper()
	var keeper *Keeper
	return launch(t, Lanes{Control: 8}, func(sys *System, ctx actor.Context) {
		if keeper == nil {
			keeper = NewKeeper(sys, specs...)
		}
		if !keeper.Receive(ctx) && saw != nil {
			saw(ctx.Message())
		}
	})
}

// mortal panics when it is told to die and reports its births and what else it is told.
func mortal(name string, births chan<- string, heard chan<- any) Spec {
	return Spec{Name: name, Lanes: Lanes{Control: 8}, New: func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) {
			switch msg := ctx.Message().(type) {
			case *actor.Started:
				births <- name
			case int:
				heard <- msg
			case string:
				panic(msg)
			}
		})
	}}
}

func TestKeeperRespawnsAloneUnderTheName(t *testing.T) {
	births, heard := make(chan string, 8), make(chan any, 8)
	sys := keep(t, nil, mortal("a", births, heard), mortal("b", births, heard))
	await(t, "birth", births)
	await(t, "birth", births)
	pid := sys.PID("root/b") // one PID over both incarnations
	sys.proto.Root.Send(pid, 1)
	await(t, "message to the first incarnation", heard)
	sys.proto.Root.Send(pid, "die")
	if got := await(t, "second birth", births); got != "b" {
		t.Fatalf("%s came back, want b", got)
	}
	sys.proto.Root.Send(pid, 2)
	if got := await(t, "message to the second incarnation", heard); got != 2 {
		t.Errorf("heard %v, want 2", got)
	}
	halt(t, sys)
	if len(births) != 0 {
		t.Errorf("%s was respawned while the tree stopped", <-births)
	}
}

// The order of the list is the order of the dependencies, and Start returns when all are there.
func TestKeeperSpawnsInOrder(t *testing.T) {
	var order []string
	ordered := func(name string) Spec {
		return Spec{Name: name, Lanes: Lanes{Control: 1}, New: func() actor.Actor {
			order = append(order, name)
			return actor.ReceiveFunc(func(ctx actor.Context) {
				if ctx.Sender() != nil {
					ctx.Respond(name)
				}
			})
		}}
	}
	sys := keep(t, nil, ordered("c"), ordered("a"), ordered("b"))
	if want := []string{"c", "a", "b"}; !slices.Equal(order, want) {
		t.Errorf("spawned in the order %v, want %v", order, want)
	}
	if got, err := sys.Ask(t.Context(), "root/b", "who"); got != "b" {
		t.Errorf("asked right after Start: %v, %v", got, err)
	}
}

func TestKeeperFailsOnCrashLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		births := 0
		spec := Spec{Name: "session", Lanes: Lanes{Control: 1}, New: func() actor.Actor {
			births++
			return actor.ReceiveFunc(func(ctx actor.Context) {
				if _, ok := ctx.Message().(*actor.Started); ok {
					panic("bug")
				}
			})
		}}
		start := time.Now()
		sys := keep(t, nil, spec)
		err := <-sys.Failed()
		if err == nil || !strings.Contains(err.Error(), "root/session ended 6 times within 10s") {
			t.Errorf("failed with %v, want the actor's path and the rule", err)
		}
		// Respawned after 0, 100, 200, 400 and 800 ms.
		if took := time.Since(start); births != 6 || took != 1500*time.Millisecond {
			t.Errorf("%d births within %v, want 6 within 1.5s", births, took)
		}
		time.Sleep(time.Hour)
		if births != 6 || len(sys.Failed()) != 0 {
			t.Errorf("%d births after the failure, want no more", births)
		}
		halt(t, sys)
	})
}

// A child that ends every three seconds is bad but no crash loop: it comes back ever later, ten
// seconds at most, and at once when it had lived for a minute.
func TestKeeperBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		births, heard := make(chan string, 1), make(chan any)
		sys := keep(t, nil, mortal("a", births, heard))
		<-births
		gap := func(life time.Duration) time.Duration {
			time.Sleep(life)
			sys.Tell("root/a", "die")
			died := time.Now()
			<-births
			return time.Since(died)
		}
		var got []time.Duration
		for range 10 {
			got = append(got, gap(3*time.Second)/time.Millisecond)
		}
		if want := []time.Duration{0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000}; !slices.Equal(got, want) {
			t.Errorf("came back after %d ms, want %d", got, want)
		}
		if got := gap(time.Minute); got != 0 {
			t.Errorf("after a healthy minute it came back after %v, want at once", got)
		}
		if len(sys.Failed()) != 0 {
			t.Errorf("the system failed: %v", <-sys.Failed())
		}
		halt(t, sys)
	})
}

func TestKeeperFailsWhenTheChildCannotBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := keep(t, nil, Spec{Name: "a", Lanes: Lanes{Control: 1}, New: func() actor.Actor { panic("bug") }})
		if err := <-sys.Failed(); !strings.Contains(err.Error(), "root/a") || !strings.Contains(err.Error(), "make actor") {
			t.Errorf("failed with %v, want the path and the cause", err)
		}
		halt(t, sys)
	})
}

func TestKeeperStopsWhileBackingOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		births, heard := make(chan string, 8), make(chan any)
		sys := keep(t, nil, mortal("a", births, heard))
		for range 3 { // the third death is followed by 200 ms of waiting
			<-births
			sys.Tell("root/a", "die")
		}
		halt(t, sys)
		time.Sleep(time.Hour)
		if len(births) != 0 {
			t.Error("the child came back after the stop")
		}
	})
}

// Messages of the root's own, and the end of children that are not the Keeper's, stay the root's.
func TestKeeperLeavesTheRestToTheRoot(t *testing.T) {
	births, heard := make(chan string, 8), make(chan any)
	saw := make(chan any, 16)
	sys := keep(t, func(msg any) { saw <- msg }, mortal("a", births, heard))
	sys.Tell("root", "own")
	if _, ok := await(t, "Started", saw).(*actor.Started); !ok {
		t.Error("the root did not see Started")
	}
	if msg := await(t, "own message", saw); msg != "own" {
		t.Errorf("the root saw %v, want its own message", msg)
	}
	await(t, "birth", births)
	sys.Tell("root/a", "die")
	await(t, "rebirth", births)
	sys.proto.Root.Send(sys.PID("root"), &respawn{child: &kept{}})
	if _, ok := await(t, "another Keeper's timer", saw).(*respawn); !ok {
		t.Error("the Keeper took a timer that is not its own, or let Terminated of its child through")
	}
	halt(t, sys)
	if _, ok := await(t, "Stopping", saw).(*actor.Stopping); !ok {
		t.Error("the root did not see Stopping")
	}
}

// An actor that panics even while it stops does end: children, edges and mailbox included.
func TestPanicWhileStopping(t *testing.T) {
	edgeEnded := make(chan struct{})
	sys := launch(t, Lanes{Control: 4}, func(sys *System, ctx actor.Context) {
		switch ctx.Message().(type) {
		case *actor.Started:
			NewEdges(sys, ctx).Open("edge", func(e *Edge) error {
				defer close(edgeEnded)
				<-e.Context().Done()
				return nil
			})
			silent := func() actor.Actor { return actor.ReceiveFunc(func(actor.Context) {}) }
			if _, err := sys.Spawn(ctx, Spec{Name: "child", Lanes: Lanes{Control: 1}, New: silent}); err != nil {
				t.Error(err)
			}
		case *actor.Stopping, *actor.Stopped, *actor.Terminated:
			panic("bug in the farewell")
		}
	})
	halt(t, sys)
	await(t, "end of the edge", edgeEnded)
	if stats := statsOf(t, sys, "root"); stats.Panics != 3 || stats.Actors != 0 {
		t.Errorf("got %+v, want 3 panics and no actor", stats)
	}
}

// After a panic nothing that waited is delivered to the broken actor: it is dead letters.
func TestNothingIsDeliveredAfterAPanic(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{})
	sys := launch(t, Lanes{Control: 4, Frames: 4}, func(_ *System, ctx actor.Context) {
		switch msg := ctx.Message().(type) {
		case string:
			close(entered)
			<-gate
			panic(errors.New("bug"))
		case int, frame:
			t.Errorf("%T delivered after the panic", msg)
		}
	})
	sys.Tell("root", "bomb")
	await(t, "blocked actor", entered)
	sys.Tell("root", 1)
	sys.Tell("root", frame(2))
	close(gate)
	if err := await(t, "failure", sys.Failed()); !strings.Contains(err.Error(), "root actor root ended") {
		t.Errorf("failed with %v, want that the root ended", err)
	}
	halt(t, sys)
	if stats := statsOf(t, sys, "root"); stats.Stopped != 2 || stats.Processed != 1 || stats.Panics != 1 {
		t.Errorf("got %+v, want 1 processed, 2 stopped, 1 panic", stats)
	}
}

// A parent that lives on keeps the names of children that have ended; what they held must go.
func TestNothingIsKeptOfTheEnded(t *testing.T) {
	const children = 8
	var gone atomic.Int32
	ended := make(chan any, children)
	sys := launch(t, Lanes{Control: 2 * children}, func(sys *System, ctx actor.Context) {
		switch ctx.Message().(type) {
		case *actor.Started:
			for i := range children {
				held := make([]byte, 1<<16)
				runtime.AddCleanup(&held[0], func(int) { gone.Add(1) }, 0)
				pid, err := sys.Spawn(ctx, Spec{Name: fmt.Sprint("child", i), Lanes: Lanes{Control: 8}, New: func() actor.Actor {
					own := held
					held = nil
					return actor.ReceiveFunc(func(actor.Context) { own[0]++ })
				}})
				if err != nil {
					t.Error(err)
				}
				ctx.Stop(pid)
			}
		case *actor.Terminated:
			ended <- nil
		}
	})
	for range children {
		await(t, "end of a child", ended)
	}
	for deadline := time.Now().Add(10 * time.Second); gone.Load() < children; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("what %d of %d ended actors held is still there", children-gone.Load(), children)
		}
		runtime.GC()
	}
	halt(t, sys)
}
