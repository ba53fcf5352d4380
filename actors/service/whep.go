package service

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/api"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// whep is the actor "connection-<id>" of one WHEP session: a viewer without a socket. It holds a
// seat like any viewer and speaks KVS to the device for the player. Media is between player and
// device and goes on when the session has ended. States: seating -> offering -> playing -> ending.
type whep struct {
	*world
	admit *messages.Admit
	asker *actor.PID // at the door, until it is answered

	state  func(actor.Context)
	edges  *actors.Edges
	place  *place
	timer  *actors.Timer // of the answer, then of the player's next sign of life
	counts bool          // among the connections of the metrics
	leaver *actor.PID    // who asked for the end, and is told when the seat is free
}

// Timer messages to itself.
type (
	answerLate   struct{}
	playerUnseen struct{}
)

func newWhep(w *world, admit *messages.Admit, asker *actor.PID) *whep {
	p := &whep{world: w, admit: admit, asker: asker}
	p.state = p.seating
	return p
}

func (p *whep) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *actor.Started:
		p.onStarted(ctx)
	case *actor.Stopping:
		p.onStopping(ctx)
	default:
		p.state(ctx)
	}
}

func (p *whep) onStarted(ctx actor.Context) {
	self := ctx.Self().Id
	p.edges = actors.NewEdges(p.sys, ctx)
	p.place = newPlace(p.world, p.admit, func(_ context.Context, e backplane.Envelope) error {
		p.sys.Tell(self, &messages.Delivered{Kind: e.Kind, Text: e.Data})
		return nil
	})
	p.place.sit(p.edges)
}

func (p *whep) onStopping(ctx actor.Context) {
	p.answer(ctx, refuse("ServiceUnavailableException", "The session has ended"))
	if p.leaver != nil {
		ctx.Send(p.leaver, &messages.WhepAlive{})
	}
	if p.counts {
		p.metrics.connections.WithLabelValues("whep").Dec()
	}
}

// answer replies to the door, once.
func (p *whep) answer(ctx actor.Context, reply any) {
	if p.asker != nil {
		ctx.Send(p.asker, reply)
		p.asker = nil
	}
}

// seating waits for the seat. Next: offering, or the end.
func (p *whep) seating(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *seated:
		p.onSeated(ctx, msg)
	case *actors.EdgeEnded:
		p.answer(ctx, refusal(msg.Err))
		ctx.Stop(ctx.Self())
	}
}

func (p *whep) onSeated(ctx actor.Context, msg *seated) {
	p.place.open()
	p.timer = p.edges.After(p.limits.WhepAnswerMax, &answerLate{})
	p.state = p.offering
	if msg.stores {
		p.answer(ctx, refuse(api.RefusedStored, "The channel's media is stored"))
		p.end("refused")
		return
	}
	payload, err := signaling.EncodeDescription("offer", p.admit.WhepSDP)
	if err == nil {
		err = p.offer(payload)
	}
	if err != nil {
		p.sys.Log().Warn("whep offer not sent", zap.Error(err))
		p.answer(ctx, refuse("ServiceUnavailableException", "The offer cannot be passed on"))
		p.end("refused")
	}
}

func (p *whep) offer(payload string) error {
	frame, err := signaling.EncodeInbound(signaling.Inbound{MessageType: signaling.SDPOffer, SenderClientID: p.admit.ClientID, Payload: payload})
	if err != nil {
		return err
	}
	return p.back.Send(backplane.Envelope{
		Channel: p.admit.Channel.ID, From: p.admit.ClientID, Kind: signaling.SDPOffer, TTL: p.limits.WhepAnswerMax, Data: frame,
	})
}

// offering waits for the device's answer. Next: playing, or ending.
func (p *whep) offering(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *messages.Delivered:
		p.onDelivered(ctx, msg)
	case *answerLate:
		p.answer(ctx, refuse(api.RefusedNoAnswer, "The device did not answer in time"))
		p.end("unanswered")
	case *actors.EdgeEnded:
		p.end("replaced")
		ctx.Stop(ctx.Self())
	}
}

func (p *whep) onDelivered(ctx actor.Context, msg *messages.Delivered) {
	if msg.Kind != signaling.SDPAnswer {
		p.metrics.forwarded.WithLabelValues("whep_dropped").Inc() // WHEP has no way for candidates
		return
	}
	sdp, err := answerOf(msg.Text)
	if err != nil {
		p.metrics.malformed.Inc()
		p.answer(ctx, refuse(api.RefusedNoAnswer, "The device's answer cannot be used"))
		p.end("refused")
		return
	}
	p.timer.Stop()
	p.timer = p.edges.After(p.limits.WhepUnseenMax, &playerUnseen{})
	p.counts = true
	p.metrics.connections.WithLabelValues("whep").Inc()
	p.answer(ctx, &messages.WhepAnswered{Session: sessionName(p.admit.Channel.ID, p.admit.Connection), SDP: sdp})
	p.state = p.playing
}

func answerOf(frame []byte) (string, error) {
	m, err := signaling.DecodeInbound(frame)
	if err != nil {
		return "", err
	}
	_, sdp, err := signaling.DecodeDescription(m.Payload)
	return sdp, err
}

// playing lasts as long as the player shows signs of life. Next: ending.
func (p *whep) playing(ctx actor.Context) {
	switch ctx.Message().(type) {
	case *messages.WhepTouched:
		p.onTouched(ctx)
	case *messages.WhepEnded:
		p.leaver = ctx.Sender()
		p.end("closed")
	case *playerUnseen:
		p.end("unseen")
	case *messages.Delivered:
		p.metrics.forwarded.WithLabelValues("whep_dropped").Inc()
	case *actors.EdgeEnded:
		p.end("replaced")
		ctx.Stop(ctx.Self())
	}
}

func (p *whep) onTouched(ctx actor.Context) {
	p.timer.Stop()
	p.timer = p.edges.After(p.limits.WhepUnseenMax, &playerUnseen{})
	ctx.Respond(&messages.WhepAlive{})
}

// end gives the seat back.
func (p *whep) end(reason string) {
	p.metrics.ended.WithLabelValues(reason).Inc()
	p.timer.Stop()
	p.place.quit()
	p.state = p.ending
}

// ending waits for the seat to be free. Next: the end.
func (p *whep) ending(ctx actor.Context) {
	if _, ok := ctx.Message().(*actors.EdgeEnded); ok {
		ctx.Stop(ctx.Self())
	}
}
