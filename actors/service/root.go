package service

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
)

// arrivalsMax bounds the admissions that wait for a channel's former actor to end.
const arrivalsMax = 256

// root is the actor "service". It keeps relay and registry alive, serves the listeners in edges
// of its own, and lodges channels: it spawns a channel's actor on the first admission and ends it
// when it is empty. A channel's place among lodgings goes none -> lodged -> leaving -> none.
type root struct {
	*world
	listeners *listeners
	keeper    *actors.Keeper
	edges     *actors.Edges
	lodgings  map[string]*lodging // by channel id
}

// lodging is one channel's actor.
type lodging struct {
	pid      *actor.PID
	admits   uint64    // sent to it
	leaving  bool      // it was told to stop; its name is not free yet
	arrivals []arrival // that came meanwhile
}

type arrival struct {
	msg   *messages.Admit
	asker *actor.PID
}

func newRoot(w *world, l *listeners) *root {
	r := &root{world: w, listeners: l, lodgings: map[string]*lodging{}}
	specs := []actors.Spec{
		actors.Spec{Name: "relay", Lanes: actors.Lanes{Control: 256}, New: func() actor.Actor { return newRelay(w) }},
		actors.Spec{Name: "registry", Lanes: actors.Lanes{Control: 1024}, New: func() actor.Actor { return newRegistry(w) }},
	}
	if w.cfg.Faults != "" {
		specs = append(specs, actors.Spec{Name: "faults", Lanes: actors.Lanes{Control: 64}, New: func() actor.Actor { return newFaults(w) }})
	}
	if w.keys.watched() {
		specs = append(specs, actors.Spec{Name: "keywatch", Lanes: actors.Lanes{Control: 16}, New: func() actor.Actor { return newKeywatch(w) }})
	}
	r.keeper = actors.NewKeeper(w.sys, specs...)
	return r
}

func (r *root) Receive(ctx actor.Context) {
	if r.keeper.Receive(ctx) {
		return
	}
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		r.onStarted(ctx)
	case *messages.Admit:
		r.onAdmit(ctx, msg)
	case *messages.TurnWanted:
		ctx.RequestWithCustomSender(r.sys.PID(relayPath), msg, ctx.Sender())
	case *messages.ChannelEmpty:
		r.onChannelEmpty(ctx, msg)
	case *messages.Disturb:
		r.onDisturb(ctx, msg)
	case *actor.Terminated:
		r.onTerminated(ctx, msg)
	case *actors.EdgeEnded:
		r.sys.Fail(fmt.Errorf("door %s closed: %w", msg.Edge.Name(), errors.Join(msg.Err, errors.New("restart the process"))))
	}
}

// onStarted opens the doors last: whoever comes in finds the tree complete.
func (r *root) onStarted(ctx actor.Context) {
	r.edges = actors.NewEdges(r.sys, ctx)
	r.edges.Open("public", func(e *actors.Edge) error { return r.listeners.public.Serve(e.Context()) })
	r.edges.Open("local", func(e *actors.Edge) error { return r.listeners.local.Serve(e.Context()) })
	if iot := r.listeners.iot; iot != nil {
		r.edges.Open("iot", func(e *actors.Edge) error { return iot.Serve(e.Context()) })
	}
	if faults := r.listeners.faults; faults != nil {
		r.edges.Open("faults", func(e *actors.Edge) error { return faults.Serve(e.Context()) })
	}
}

func (r *root) onAdmit(ctx actor.Context, msg *messages.Admit) {
	r.admit(ctx, arrival{msg, ctx.Sender()})
}

func (r *root) admit(ctx actor.Context, a arrival) {
	id := a.msg.Channel.ID
	l := r.lodgings[id]
	switch {
	case l == nil:
		pid, err := r.sys.Spawn(ctx, channelSpec(r.world, id))
		if err != nil {
			ctx.Send(a.asker, refuse("ServiceUnavailableException", "The channel cannot be opened"))
			return
		}
		l = &lodging{pid: pid}
		r.lodgings[id] = l
	case l.leaving && len(l.arrivals) >= arrivalsMax:
		ctx.Send(a.asker, refuse("ClientLimitExceededException", "Too many connections at once"))
		return
	case l.leaving:
		l.arrivals = append(l.arrivals, a)
		return
	}
	l.admits++
	ctx.RequestWithCustomSender(l.pid, a.msg, a.asker)
}

// onChannelEmpty ends a channel's actor, unless an admission is on its way to it.
func (r *root) onChannelEmpty(ctx actor.Context, msg *messages.ChannelEmpty) {
	if l := r.lodgings[msg.ID]; l != nil && l.admits == msg.Admits && !l.leaving {
		l.leaving = true
		ctx.Stop(l.pid)
	}
}

func (r *root) onDisturb(ctx actor.Context, msg *messages.Disturb) {
	for _, l := range r.lodgings {
		ctx.Send(l.pid, msg)
	}
}

// onTerminated frees a channel's name, also after a panic, and lets in who waited for it.
func (r *root) onTerminated(ctx actor.Context, msg *actor.Terminated) {
	for id, l := range r.lodgings {
		if l.pid.Equal(msg.Who) {
			delete(r.lodgings, id)
			for _, a := range l.arrivals {
				r.admit(ctx, a)
			}
			return
		}
	}
}
