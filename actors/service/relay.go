package service

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	transport "github.com/heliograph-rtc/heliograph/transport/relay"
)

// relayAgain is how long it waits after the relay has failed.
const relayAgain = 5 * time.Second

// relay is the actor "relay": it owns the STUN/TURN listeners in an edge and makes credentials for
// them. The registry asks it, and Start. States: off; opening, where questions wait; serving;
// failed, until a timer opens it again.
type relay struct {
	*world
	edges   *actors.Edges
	off     bool
	serving *transport.Relay // nil unless serving
	fault   error            // nil unless failed
	waiting []turnQuestion   // while opening
}

type turnQuestion struct {
	msg   *messages.TurnWanted
	asker *actor.PID
}

type (
	relayOpened struct{ relay *transport.Relay } // the edge's: the sockets are bound
	relayRetry  struct{}                         // the timer's
)

func newRelay(w *world) *relay { return &relay{world: w} }

func (r *relay) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		r.onStarted(ctx)
	case *relayOpened:
		r.onOpened(ctx, msg)
	case *messages.TurnWanted:
		r.onTurnWanted(ctx, msg)
	case *messages.TurnStream:
		r.onTurnStream(ctx, msg)
	case *actors.EdgeEnded:
		r.onEdgeEnded(ctx, msg)
	case *relayRetry:
		r.listen()
	}
}

func (r *relay) onStarted(ctx actor.Context) {
	r.edges = actors.NewEdges(r.sys, ctx)
	r.off = r.cfg.RelayUDP == Off && r.cfg.RelayTCP == Off
	if !r.off {
		r.listen()
	}
}

func (r *relay) listen() {
	r.fault = nil
	cfg := r.relayConfig()
	r.edges.Open("relay", func(e *actors.Edge) error {
		open, err := transport.Listen(cfg)
		if err != nil {
			return fmt.Errorf("listen for STUN and TURN: %w", err)
		}
		if e.Post(&relayOpened{open}) == nil {
			<-e.Context().Done()
		}
		return open.Close()
	})
}

// address turns the word for none into what the transport takes for it.
func address(s string) string {
	if s == Off {
		return ""
	}
	return s
}

func (r *relay) onOpened(ctx actor.Context, msg *relayOpened) {
	r.serving = msg.relay
	r.metrics.relay.serving.Store(msg.relay)
	for _, a := range r.waiting {
		ctx.Send(a.asker, r.servers(a.msg))
	}
	r.waiting = nil
}

func (r *relay) onTurnWanted(ctx actor.Context, msg *messages.TurnWanted) {
	switch {
	case r.off:
		ctx.Respond(&messages.TurnServers{TTL: r.limits.TurnTTL})
	case r.serving != nil:
		ctx.Respond(r.servers(msg))
	case r.fault != nil:
		ctx.Respond(refuse("ServiceUnavailableException", r.fault.Error()))
	case len(r.waiting) < arrivalsMax:
		r.waiting = append(r.waiting, turnQuestion{msg, ctx.Sender()})
	default:
		ctx.Respond(refuse("ClientLimitExceededException", "The relay is starting"))
	}
}

// servers are AWS's two servers of three URLs each, by name where AWS's names are on, as far as the
// listeners serve all of them; otherwise the one list there is (kvs-protocol.md 2.1).
func (r *relay) servers(msg *messages.TurnWanted) *messages.TurnServers {
	issue := func(client string, urls []string) messages.IceServer {
		username, password := r.serving.Credentials(msg.ChannelARN, client, time.Now(), r.limits.TurnTTL)
		return messages.IceServer{URLs: urls, Username: username, Password: password}
	}
	out := &messages.TurnServers{Direct: issue(msg.ClientID, r.serving.URLs()), StunURL: r.serving.StunURL(), TTL: r.limits.TurnTTL}
	hosts := []string{"", ""}
	if r.names.On() {
		v4, v6 := r.serving.Addresses()
		hosts = r.names.Turn(v4, v6, msg.DualStack)
	}
	for i, host := range hosts {
		if urls := r.serving.AWSForm(host); urls != nil {
			out.Turn = append(out.Turn, issue(turnNames(msg.ClientID)[1+i], urls))
		}
	}
	if len(out.Turn) == 0 && len(out.Direct.URLs) > 0 {
		out.Turn = []messages.IceServer{out.Direct}
	}
	return out
}

// turnNames are what a client's credentials are made for: all URLs, and each of AWS's two servers.
func turnNames(clientID string) []string { return []string{clientID, clientID + "/0", clientID + "/1"} }

// onTurnStream passes on what the public door found to be TURN.
func (r *relay) onTurnStream(ctx actor.Context, msg *messages.TurnStream) {
	if r.serving == nil {
		ctx.Respond(refuse("ServiceUnavailableException", "The relay does not serve"))
		return
	}
	if err := r.serving.Take(msg.Conn); err != nil {
		ctx.Respond(refuse("ClientLimitExceededException", err.Error()))
		return
	}
	ctx.Respond(&messages.TurnStreamTaken{})
}

func (r *relay) onEdgeEnded(ctx actor.Context, msg *actors.EdgeEnded) {
	r.metrics.relay.serving.Store(nil)
	r.serving, r.fault = nil, fmt.Errorf("relay ended: %w", msg.Err)
	r.sys.Log().Error("no STUN and TURN; trying again", zap.Error(msg.Err), zap.Duration("after", relayAgain))
	for _, q := range r.waiting {
		ctx.Send(q.asker, refuse("ServiceUnavailableException", r.fault.Error()))
	}
	r.waiting = nil
	r.edges.After(relayAgain, &relayRetry{})
}
