package queue

import (
	"context"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/heliograph-rtc/heliograph/actors"
)

const stopWithin = 10 * time.Second

// openMailbox makes an actor of ours, each sender an edge of it, as the websocket's reader is one: Post
// waits until the message was taken.
func openMailbox(depth int, t *tray, senders []sender) (func() error, error) {
	sys := actors.NewSystem("bench", nil)
	err := sys.Start(actors.Spec{
		Name: "receiver", Lanes: actors.Lanes{Control: depth},
		New: func() actor.Actor { return &receiver{sys: sys, tray: t, senders: senders} },
	})
	if err != nil {
		return nil, err
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()
		return sys.Stop(ctx)
	}, nil
}

// receiver owns the senders.
type receiver struct {
	sys     *actors.System
	tray    *tray
	senders []sender
	edges   *actors.Edges
}

func (r *receiver) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *actor.Started:
		r.edges = actors.NewEdges(r.sys, ctx)
		for _, s := range r.senders {
			r.edges.Open("sender", func(e *actors.Edge) error {
				return s.run(func(c *candidate) (bool, error) { return true, e.Post(c) })
			})
		}
	case *candidate:
		r.tray.handle()
	}
}

// openProtoactor makes an actor with proto.actor's default mailbox, which takes everything.
func openProtoactor(_ int, t *tray, senders []sender) (func() error, error) {
	sys := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
	pid := sys.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, is := ctx.Message().(*candidate); is {
			t.handle()
		}
	}))
	var sending actors.Group
	for _, s := range senders {
		sending.Go("send", func() error {
			return s.run(func(c *candidate) (bool, error) { sys.Root.Send(pid, c); return true, nil })
		})
	}
	return func() error {
		err := sending.Wait()
		if stopped := sys.Root.StopFuture(pid).Wait(); err == nil {
			err = stopped
		}
		sys.Shutdown()
		return err
	}, nil
}
