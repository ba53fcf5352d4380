package actors

import (
	"context"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of the tests; none of them depends on how long something takes.
const patience = 20 * time.Second

// frame travels in the frame lane.
type frame int

func (frame) FrameLane() {}

// launch starts a tree with one root actor "root" and stops it when the test is over.
func launch(t *testing.T, lanes Lanes, receive func(sys *System, ctx actor.Context)) *System {
	t.Helper()
	return launchLogged(t, zap.NewNop(), lanes, receive)
}

func launchLogged(t *testing.T, log *zap.Logger, lanes Lanes, receive func(sys *System, ctx actor.Context)) *System {
	t.Helper()
	sys := NewSystem("test", log)
	root := func() actor.Actor {
		return actor.ReceiveFunc(func(ctx actor.Context) { receive(sys, ctx) })
	}
	if err := sys.Start(Spec{Name: "root", Lanes: lanes, New: root}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { halt(t, sys) })
	return sys
}

func halt(t *testing.T, sys *System) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := sys.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// await receives one value or fails the test.
func await[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s within %v", what, patience)
		panic("unreachable")
	}
}

// eventually polls for what no channel can tell.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !met(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// statsOf gives the row of one kind.
func statsOf(t *testing.T, sys *System, kind string) MailboxStats {
	t.Helper()
	for _, m := range sys.Mailboxes() {
		if m.Kind == kind {
			return m
		}
	}
	t.Fatalf("no statistics of kind %s", kind)
	panic("unreachable")
}

// boxOf gives the mailbox of ctx's actor.
func boxOf(ctx actor.Context) *mailbox { return ctx.Actor().(*shell).box }
