package service

import (
	"github.com/asynkron/protoactor-go/actor"
	"golang.org/x/time/rate"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
)

// channel is the actor "channel-<id>". It owns the connections of one channel on this node, and
// nothing else; who is connected elsewhere the backplane knows. The service sends it admissions and
// ends it when it is empty.
type channel struct {
	*world
	id      string
	admits  uint64 // received
	living  int    // connections
	masters *rate.Limiter
	viewers *rate.Limiter
}

func channelSpec(w *world, id string) actors.Spec {
	return actors.Spec{Name: channelName(id), Kind: "channel", Lanes: actors.Lanes{Control: 1024}, New: func() actor.Actor {
		limit := func() *rate.Limiter { return w.limits.bucket(w.limits.ConnectsPerSecond, connectBurst) }
		return &channel{world: w, id: id, masters: limit(), viewers: limit()}
	}}
}

func (c *channel) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *messages.Admit:
		c.onAdmit(ctx, msg)
	case *messages.Disturb:
		c.onDisturb(ctx, msg)
	case *actor.Terminated:
		c.onTerminated(ctx)
	}
}

func (c *channel) onAdmit(ctx actor.Context, msg *messages.Admit) {
	c.admits++
	if refused := c.spawn(ctx, msg); refused != nil {
		ctx.Respond(refused)
		c.tellEmpty(ctx)
		return
	}
	c.living++
}

func (c *channel) spawn(ctx actor.Context, msg *messages.Admit) *messages.Refused {
	limit := c.viewers
	if msg.ClientID == "" {
		limit = c.masters
	}
	if !limit.Allow() {
		return refuse("ClientLimitExceededException", "Too many connects per second on this channel")
	}
	asker := ctx.Sender()
	spec := actors.Spec{Name: connectionName(msg.Connection), Kind: "connection", Lanes: actors.Lanes{Control: connectionLane}}
	spec.New = func() actor.Actor { return newConnection(c.world, msg, asker) }
	switch {
	case msg.WhepSDP != "":
		spec.Kind = "whep"
		spec.New = func() actor.Actor { return newWhep(c.world, msg, asker) }
	case msg.AlexaOffer != "":
		spec.Kind = "alexa"
		spec.New = func() actor.Actor { return newAlexa(c.world, msg, asker) }
	}
	if _, err := c.sys.Spawn(ctx, spec); err != nil {
		return refuse("ServiceUnavailableException", "The connection cannot be opened")
	}
	return nil
}

func (c *channel) onTerminated(ctx actor.Context) {
	c.living--
	c.tellEmpty(ctx)
}

func (c *channel) onDisturb(ctx actor.Context, msg *messages.Disturb) {
	for _, pid := range ctx.Children() {
		ctx.Send(pid, msg)
	}
}

func (c *channel) tellEmpty(ctx actor.Context) {
	if c.living == 0 {
		ctx.Send(ctx.Parent(), &messages.ChannelEmpty{ID: c.id, Admits: c.admits})
	}
}
