package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestAsk(t *testing.T) {
	sys := launch(t, Lanes{Control: 4}, func(_ *System, ctx actor.Context) {
		switch msg := ctx.Message().(type) {
		case string:
			ctx.Respond(strings.ToUpper(msg))
			ctx.Respond("a second reply is nobody's")
		case int: // never answers
		}
	})
	got, err := sys.Ask(t.Context(), "root", "hello")
	if err != nil || got != "HELLO" {
		t.Errorf("got %v, %v; want HELLO", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := sys.Ask(ctx, "root", 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's end", err)
	}
	if _, err := sys.Ask(t.Context(), "root/nobody", "hello"); !errors.Is(err, ErrDeadLetter) {
		t.Errorf("got %v, want a dead letter: nobody holds the name", err)
	}
	if n := sys.Undelivered(); n != 1 {
		t.Errorf("%d undelivered, want 1", n)
	}
}

// The context of these questions never ends: only the dead letter can end the wait.
func TestRefusedAskFailsAtOnce(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{})
	sys := launch(t, Lanes{Control: 1}, func(_ *System, ctx actor.Context) {
		if ctx.Message() == "block" {
			close(entered)
			<-gate
		}
	})
	sys.Tell("root", "block")
	await(t, "blocked actor", entered)
	queued := make(chan error, 1)
	var asking Group
	asking.Go("queued", func() error {
		_, err := sys.Ask(context.Background(), "root", "waits in the lane")
		queued <- err
		return nil
	})
	eventually(t, "message in the lane", func() bool { return statsOf(t, sys, "root").Depth == 1 })
	if _, err := sys.Ask(context.Background(), "root", "does not fit"); !errors.Is(err, ErrDeadLetter) {
		t.Errorf("overflow: got %v, want a dead letter", err)
	}
	future := sys.proto.Root.RequestFuture(sys.PID("root"), "a future of proto.actor", time.Hour)
	if err := future.Wait(); !errors.Is(err, actor.ErrDeadLetter) {
		t.Errorf("future: got %v, want a dead letter", err)
	}
	sys.proto.Root.Stop(sys.PID("root"))
	close(gate)
	if err := await(t, "answer for what was left at the stop", queued); !errors.Is(err, ErrDeadLetter) {
		t.Errorf("stop: got %v, want a dead letter", err)
	}
	_ = asking.Wait()
	halt(t, sys)
	if _, err := sys.Ask(context.Background(), "root", "too late"); !errors.Is(err, ErrDeadLetter) {
		t.Errorf("after the stop: got %v, want a dead letter", err)
	}
}

// Watching an actor that is gone tells at once that it is gone, whether the name or only the mailbox
// still knows it.
func TestWatchOfTheDead(t *testing.T) {
	gone := make(chan string, 2)
	sys := launch(t, Lanes{Control: 4}, func(_ *System, ctx actor.Context) {
		switch msg := ctx.Message().(type) {
		case string:
			ctx.Watch(actor.NewPID("nonhost", "root/nobody"))
		case *actor.Terminated:
			gone <- msg.Who.Id
		}
	})
	sys.Tell("root", "watch")
	if who := await(t, "Terminated", gone); who != "root/nobody" {
		t.Errorf("%s is gone, want root/nobody", who)
	}
	box := newMailbox(sys, "root/ended", sys.kindOf("ended"), Lanes{Control: 1})
	box.end()
	box.PostSystemMessage(&actor.Watch{Watcher: sys.PID("root")})
	if who := await(t, "Terminated", gone); who != "root/ended" {
		t.Errorf("%s is gone, want root/ended", who)
	}
}

func TestSpecsThatCannotBe(t *testing.T) {
	fine := func() actor.Actor { return actor.ReceiveFunc(func(actor.Context) {}) }
	for name, spec := range map[string]Spec{
		"no name":         {Lanes: Lanes{Control: 1}, New: fine},
		"slash in name":   {Name: "a/b", Lanes: Lanes{Control: 1}, New: fine},
		"no bound":        {Name: "a", New: fine},
		"negative frames": {Name: "a", Lanes: Lanes{Control: 1, Frames: -1}, New: fine},
		"no constructor":  {Name: "a", Lanes: Lanes{Control: 1}},
		"nil actor":       {Name: "a", Lanes: Lanes{Control: 1}, New: func() actor.Actor { return nil }},
		"panic in New":    {Name: "a", Lanes: Lanes{Control: 1}, New: func() actor.Actor { panic("secret") }},
	} {
		sys := NewSystem("test", nil)
		if err := sys.Start(spec); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want an error without contents", name, err)
		}
		if err := sys.Stop(t.Context()); err != nil {
			t.Errorf("%s: stop of a system that never started: %v", name, err)
		}
	}
}

func TestSpawnRefusesTakenName(t *testing.T) {
	errs := make(chan error, 2)
	launch(t, Lanes{Control: 4}, func(sys *System, ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Started); !ok {
			return
		}
		for range 2 {
			_, err := sys.Spawn(ctx, Spec{Name: "twin", Lanes: Lanes{Control: 1}, New: func() actor.Actor {
				return actor.ReceiveFunc(func(actor.Context) {})
			}})
			errs <- err
		}
	})
	if err := await(t, "first spawn", errs); err != nil {
		t.Error(err)
	}
	if err := await(t, "second spawn", errs); !errors.Is(err, actor.ErrNameExists) {
		t.Errorf("got %v, want that the name exists", err)
	}
}

func TestStartOnceStopOften(t *testing.T) {
	sys := launch(t, Lanes{Control: 4}, func(*System, actor.Context) {})
	spec := Spec{Name: "second", Lanes: Lanes{Control: 1}, New: func() actor.Actor { return actor.ReceiveFunc(func(actor.Context) {}) }}
	if err := sys.Start(spec); err == nil {
		t.Error("a second Start succeeded")
	}
	var stopping Group
	for i := range 4 {
		stopping.Go(fmt.Sprint("stop ", i), func() error { return sys.Stop(context.Background()) })
	}
	if err := stopping.Wait(); err != nil {
		t.Error(err)
	}
	halt(t, sys)
	if err := sys.Start(spec); err == nil {
		t.Error("Start after Stop succeeded")
	}
	if len(sys.Failed()) != 0 {
		t.Errorf("a wanted stop counts as failure: %v", <-sys.Failed())
	}
}

func TestStopThatTakesTooLongNamesTheKind(t *testing.T) {
	gate := make(chan struct{})
	sys := launch(t, Lanes{Control: 4}, func(_ *System, ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Stopping); ok {
			<-gate
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := sys.Stop(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "root") {
		t.Errorf("got %v, want the deadline and the kind that still runs", err)
	}
	close(gate)
}

func TestFirstFailureCounts(t *testing.T) {
	sys := NewSystem("test", nil)
	first := errors.New("first")
	sys.Fail(first)
	sys.Fail(errors.New("second"))
	if err := <-sys.Failed(); err != first || len(sys.Failed()) != 0 {
		t.Errorf("got %v, want the first failure only", err)
	}
}

// offer stands for a message whose contents must not be logged.
type offer struct{ SDP string }

// Whatever happens to a message, the log says its type and its target, never what is in it; and a
// flood of dead letters is a first line of each kind and a sum every ten seconds.
func TestLogIsSeldomAndWithoutContents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		gate := make(chan struct{})
		sys := launchLogged(t, zap.New(core), Lanes{Control: 1}, func(_ *System, ctx actor.Context) {
			switch msg := ctx.Message().(type) {
			case string:
				<-gate
			case *offer:
				panic(msg)
			}
		})
		sys.Tell("root", "block")
		synctest.Wait()
		secret := &offer{SDP: "a=ice-pwd:secret"}
		for range 100 {
			sys.Tell("root", secret)        // one fits, 99 overflow
			sys.Tell("root/nobody", secret) // 100 find nobody
		}
		letters := logs.FilterMessage("dead letter").All()
		if len(letters) != 2 || logs.FilterMessage("more dead letters").Len() != 0 {
			t.Errorf("%d lines for 199 dead letters of two kinds within a moment, want 2", logs.Len())
		}
		fields := letters[0].ContextMap()
		if fields["message"] != "*actors.offer" || fields["target"] == "" || fields["reason"] == "" {
			t.Errorf("logged %v, want type, target and reason", fields)
		}
		time.Sleep(summaryEvery)
		sys.Tell("root/nobody", secret)
		sums := logs.FilterMessage("more dead letters").All()
		if len(sums) != 1 || sums[0].ContextMap()["count"] != int64(98+99+1) {
			t.Errorf("summaries %v, want one of 198", sums)
		}
		close(gate) // the actor meets the offer that fitted, and panics
		<-sys.Failed()
		halt(t, sys)
		panics := logs.FilterMessage("actor panicked and is stopped").All()
		if len(panics) != 1 {
			t.Fatalf("%d panics logged, want 1", len(panics))
		}
		if fields := panics[0].ContextMap(); fields["message"] != "*actors.offer" || fields["kind"] != "root" || !strings.Contains(fmt.Sprint(fields["stack"]), "system_test.go") {
			t.Errorf("logged %v, want kind, type and the stack of the panic", fields)
		}
		for _, line := range logs.All() {
			if text := fmt.Sprint(line.Message, line.ContextMap()); strings.Contains(text, "secret") {
				t.Errorf("the log tells the contents of a message: %s", text)
			}
		}
	})
}

func TestProtoActorWarnsThroughZap(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	sys := NewSystem("camera", zap.New(core)) // it greets at the level info
	sys.proto.Logger().Warn("beware")
	if lines := logs.All(); len(lines) != 1 || lines[0].Message != "beware" || lines[0].LoggerName != "camera.proto" {
		t.Errorf("got %v, want the warning alone, under the name camera.proto", lines)
	}
}

func TestMailboxesAreSortedByKind(t *testing.T) {
	silent := func() actor.Actor { return actor.ReceiveFunc(func(actor.Context) {}) }
	spec := func(name string) Spec {
		return Spec{Name: name, Kind: "viewer", Lanes: Lanes{Control: 1}, New: silent}
	}
	other := Spec{Name: "encoder", Lanes: Lanes{Control: 1}, New: silent}
	sys := keep(t, nil, spec("viewer-1"), other, spec("viewer-2"))
	var got []string
	for _, m := range sys.Mailboxes() {
		got = append(got, fmt.Sprint(m.Kind, m.Actors))
	}
	if want := "[encoder1 root1 viewer2]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
