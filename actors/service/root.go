package service

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
)

// arrivalsMax bounds the admissions that wait for a channel's former actor to end.
const arrivalsMax = 256

// root is the actor "service". It keeps relay and registry alive, serves the listeners in edges
// of its own, and lodges channels and storage sessions: it spawns such an actor on the first
// admission and ends it when it is empty. Its place among lodgings goes none -> lodged -> leaving ->
// none.
type root struct {
	*world
	listeners *listeners
	keeper    *actors.Keeper
	edges     *actors.Edges
	lodgings  map[string]*lodging // by name
}

// lodging is the actor of one channel or of its storage session.
type lodging struct {
	pid      *actor.PID
	admits   uint64                 // sent to it
	leaving  bool                   // it was told to stop; its name is not free yet
	arrivals []arrival              // that came meanwhile
	status   *messages.IngestStatus // newest of a storage session
}

// arrival is an admission, and the actor that it is for.
type arrival struct {
	spec  actors.Spec
	msg   any
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
		r.vacate(ctx, channelName(msg.ID), msg.Admits)
	case *messages.StorageJoin:
		r.onStorageJoin(ctx, msg)
	case *messages.IngestEmpty:
		r.vacate(ctx, ingestName(msg.ID), msg.Joins)
	case *messages.IngestStatus:
		r.onIngestStatus(msg)
	case *messages.IngestsWanted:
		r.onIngestsWanted(ctx)
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
	r.admit(ctx, arrival{channelSpec(r.world, msg.Channel.ID), msg, ctx.Sender()})
}

func (r *root) onStorageJoin(ctx actor.Context, msg *messages.StorageJoin) {
	r.admit(ctx, arrival{ingestSpec(r.world, msg), msg, ctx.Sender()})
}

func (r *root) admit(ctx actor.Context, a arrival) {
	l := r.lodgings[a.spec.Name]
	switch {
	case l == nil:
		pid, err := r.sys.Spawn(ctx, a.spec)
		if err != nil {
			ctx.Send(a.asker, refuse("ServiceUnavailableException", "The channel cannot be opened"))
			return
		}
		l = &lodging{pid: pid}
		r.lodgings[a.spec.Name] = l
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

// vacate ends an actor that is empty, unless an admission is on its way to it.
func (r *root) vacate(ctx actor.Context, name string, admits uint64) {
	if l := r.lodgings[name]; l != nil && l.admits == admits && !l.leaving {
		l.leaving = true
		ctx.Stop(l.pid)
	}
}

func (r *root) onDisturb(ctx actor.Context, msg *messages.Disturb) {
	for _, l := range r.lodgings {
		ctx.Send(l.pid, msg)
	}
}

func (r *root) onIngestStatus(msg *messages.IngestStatus) {
	if l := r.lodgings[ingestName(msg.ID)]; l != nil {
		l.status = msg
	}
}

func (r *root) onIngestsWanted(ctx actor.Context) {
	all := &messages.Ingests{Sessions: []messages.IngestStatus{}}
	for _, l := range r.lodgings {
		if l.status != nil {
			all.Sessions = append(all.Sessions, *l.status)
		}
	}
	slices.SortFunc(all.Sessions, func(a, b messages.IngestStatus) int { return strings.Compare(a.Channel, b.Channel) })
	ctx.Respond(all)
}

// onTerminated frees an actor's name, also after a panic, and lets in who waited for it.
func (r *root) onTerminated(ctx actor.Context, msg *actor.Terminated) {
	for name, l := range r.lodgings {
		if l.pid.Equal(msg.Who) {
			delete(r.lodgings, name)
			for _, a := range l.arrivals {
				r.admit(ctx, a)
			}
			return
		}
	}
}
