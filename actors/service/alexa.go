package service

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// alexa is the actor "connection-<id>" of one SendAlexaOfferToMaster (kvs-protocol.md 2.2): a viewer
// for as long as the master takes to answer. It holds a viewer's seat under the sender's id, so that
// the master's answer finds it. States: seating -> offering -> ending.
type alexa struct {
	*world
	admit *messages.Admit
	asker *actor.PID // at the door, until it is answered

	state func(actor.Context)
	edges *actors.Edges
	place *place
}

// offerExpired is its timer's message.
type offerExpired struct{}

func newAlexa(w *world, admit *messages.Admit, asker *actor.PID) *alexa {
	a := &alexa{world: w, admit: admit, asker: asker}
	a.state = a.seating
	return a
}

func (a *alexa) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *actor.Started:
		a.onStarted(ctx)
	case *actor.Stopping:
		a.answer(ctx, refuse("ServiceUnavailableException", "The session has ended"))
	default:
		a.state(ctx)
	}
}

func (a *alexa) onStarted(ctx actor.Context) {
	self := ctx.Self().Id
	a.edges = actors.NewEdges(a.sys, ctx)
	a.place = newPlace(a.world, a.admit, func(_ context.Context, e backplane.Envelope) error {
		a.sys.Tell(self, &messages.Delivered{Kind: e.Kind, Text: e.Data})
		return nil
	})
	a.place.sit(a.edges)
}

// answer replies to the door, once.
func (a *alexa) answer(ctx actor.Context, reply any) {
	if a.asker != nil {
		ctx.Send(a.asker, reply)
		a.asker = nil
	}
}

// seating waits for the seat. Next: offering, or the end.
func (a *alexa) seating(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *seated:
		a.onSeated(ctx, msg)
	case *actors.EdgeEnded:
		a.answer(ctx, refusal(msg.Err))
		ctx.Stop(ctx.Self())
	}
}

func (a *alexa) onSeated(ctx actor.Context, msg *seated) {
	a.place.open()
	a.edges.After(a.admit.Channel.MessageTTL, &offerExpired{})
	a.state = a.offering
	if msg.stores {
		a.end(ctx, refuse("InvalidArgumentException", "The channel's media is stored: viewers do not reach the master"), "refused")
		return
	}
	frame, err := signaling.EncodeInbound(signaling.Inbound{MessageType: signaling.SDPOffer, SenderClientID: a.admit.ClientID, Payload: a.admit.AlexaOffer})
	if err == nil {
		err = a.back.Send(backplane.Envelope{
			Channel: a.admit.Channel.ID, From: a.admit.ClientID, Kind: signaling.SDPOffer, TTL: a.admit.Channel.MessageTTL, Data: frame,
		})
	}
	if err != nil {
		a.sys.Log().Warn("alexa offer not sent", zap.Error(err))
		a.end(ctx, refuse("ServiceUnavailableException", "The offer cannot be passed on"), "refused")
	}
}

// offering waits for the master's answer; its candidates have no way back. Next: ending.
func (a *alexa) offering(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *messages.Delivered:
		a.onDelivered(ctx, msg)
	case *offerExpired:
		a.end(ctx, &messages.AlexaAnswered{}, "unanswered")
	case *actors.EdgeEnded:
		a.end(ctx, refuse("ResourceNotFoundException", "The sender's id is in use elsewhere, or the channel is gone"), "replaced")
		ctx.Stop(ctx.Self())
	}
}

func (a *alexa) onDelivered(ctx actor.Context, msg *messages.Delivered) {
	if msg.Kind != signaling.SDPAnswer {
		return
	}
	m, err := signaling.DecodeInbound(msg.Text)
	if err != nil {
		a.metrics.malformed.Inc()
		return
	}
	a.end(ctx, &messages.AlexaAnswered{Payload: m.Payload}, "closed")
}

// end answers and gives the seat back.
func (a *alexa) end(ctx actor.Context, reply any, reason string) {
	a.answer(ctx, reply)
	a.metrics.ended.WithLabelValues(reason).Inc()
	a.place.quit()
	a.state = a.ending
}

// ending waits for the seat to be free. Next: the end.
func (a *alexa) ending(ctx actor.Context) {
	if _, ok := ctx.Message().(*actors.EdgeEnded); ok {
		ctx.Stop(ctx.Self())
	}
}
