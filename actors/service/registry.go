package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/api"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
)

const (
	storeCallsMax     = 32   // in flight
	storeCallsWaiting = 1024 // behind them; more are refused
	storeWait         = 5 * time.Second
	messageTTLDefault = time.Minute
)

// registry is the actor "registry": the control plane's rules over the backplane's store. Every
// question is one call in an edge; its result is the answer, or goes on to the actor that gives it.
// The doors ask it. It has one state and keeps nothing but the calls in flight.
type registry struct {
	*world
	edges    *actors.Edges
	inFlight int
	waiting  []question
}

// question is a store call to be made for an asker.
type question struct {
	asker *actor.PID
	call  func(ctx context.Context) (any, error)
}

// settled is an edge's message: the result of a store call.
type settled struct {
	asker *actor.PID
	reply any
}

func newRegistry(w *world) *registry { return &registry{world: w} }

func (g *registry) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		g.edges = actors.NewEdges(g.sys, ctx)
	case *messages.CreateChannel:
		g.settle(ctx, func(c context.Context) (any, error) { return g.create(c, msg) })
	case *messages.DescribeChannel:
		g.settle(ctx, func(c context.Context) (any, error) { return g.describe(c, msg) })
	case *messages.ListChannels:
		g.settle(ctx, func(c context.Context) (any, error) { return g.list(c, msg) })
	case *messages.DeleteChannel:
		g.settle(ctx, func(c context.Context) (any, error) { return g.delete(c, msg) })
	case *messages.TurnWanted:
		g.settle(ctx, func(c context.Context) (any, error) { return g.turn(c, msg) })
	case *messages.ConnectWanted:
		g.settle(ctx, func(c context.Context) (any, error) { return g.connect(c, msg) })
	case *messages.WhepWanted:
		g.settle(ctx, func(c context.Context) (any, error) { return g.play(c, msg) })
	case *messages.OverviewWanted:
		g.settle(ctx, func(c context.Context) (any, error) { return g.overview(c) })
	case *settled:
		g.onSettled(ctx, msg)
	case *actors.EdgeEnded:
		g.onEdgeEnded()
	}
}

// settle makes the call now, later, or not at all.
func (g *registry) settle(ctx actor.Context, call func(context.Context) (any, error)) {
	q := question{ctx.Sender(), call}
	switch {
	case g.inFlight < storeCallsMax:
		g.open(q)
	case len(g.waiting) < storeCallsWaiting:
		g.waiting = append(g.waiting, q)
	default:
		g.metrics.limited.WithLabelValues("store").Inc()
		ctx.Respond(refuse("ClientLimitExceededException", "Too many requests at once"))
	}
}

func (g *registry) open(q question) {
	g.inFlight++
	g.edges.Open("store", func(e *actors.Edge) error {
		ctx, cancel := context.WithTimeout(e.Context(), storeWait)
		defer cancel()
		reply, err := q.call(ctx)
		if err != nil {
			reply = g.refusal(err)
		}
		return e.Post(&settled{q.asker, reply})
	})
}

func (g *registry) onEdgeEnded() {
	g.inFlight--
	if len(g.waiting) > 0 {
		next := g.waiting[0]
		g.waiting = g.waiting[1:]
		g.open(next)
	}
}

// onSettled answers, or sends on with the asker as the sender.
func (g *registry) onSettled(ctx actor.Context, msg *settled) {
	if msg.asker == nil {
		return
	}
	switch reply := msg.reply.(type) {
	case *messages.Admit:
		ctx.RequestWithCustomSender(ctx.Parent(), reply, msg.asker)
	case *messages.TurnWanted:
		ctx.RequestWithCustomSender(g.sys.PID(relayPath), reply, msg.asker)
	default:
		ctx.Send(msg.asker, reply)
	}
}

// refusal gives a store's error AWS's name (kvs-protocol.md 1.4).
func (g *registry) refusal(err error) *messages.Refused {
	var refused *messages.Refused
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, backplane.ErrNotFound):
		return refuse("ResourceNotFoundException", "The requested channel is not found or not active")
	case errors.Is(err, backplane.ErrExists):
		return refuse("ResourceInUseException", "A channel of that name exists")
	case errors.Is(err, backplane.ErrVersion):
		return refuse("VersionMismatchException", "The version is not the channel's current one")
	}
	g.sys.Log().Warn("store call failed", zap.Error(err))
	return refuse("ServiceUnavailableException", "The store does not answer")
}

// The calls. They run in edges and touch nothing of the actor but what never changes.

func (g *registry) create(ctx context.Context, m *messages.CreateChannel) (*messages.ChannelInfo, error) {
	now := time.Now()
	ttl := m.MessageTTL
	if ttl == 0 {
		ttl = messageTTLDefault
	}
	arn := fmt.Sprintf("arn:aws:kinesisvideo:%s:%s:channel/%s/%013d", g.cfg.Region, g.cfg.Account, m.Name, now.UnixMilli())
	made, err := g.back.CreateChannel(ctx, backplane.Channel{
		ARN: arn, Name: m.Name, Type: "SINGLE_MASTER", Status: "ACTIVE",
		Created: now, MessageTTL: ttl, Tags: m.Tags,
	})
	return info(made), err
}

func info(c backplane.Channel) *messages.ChannelInfo {
	return &messages.ChannelInfo{ID: c.ID, ARN: c.ARN, Name: c.Name, Status: c.Status, Type: c.Type,
		Version: c.Version, Created: c.Created, MessageTTL: c.MessageTTL}
}

// find returns a channel by its ARN, which must be that of the channel which now has the name, or by its name.
func (g *registry) find(ctx context.Context, arn, name string) (*messages.ChannelInfo, error) {
	if arn != "" {
		part := strings.Split(arn, "/")
		if len(part) != 3 {
			return nil, backplane.ErrNotFound
		}
		name = part[1]
	}
	c, err := g.back.Channel(ctx, name)
	if err == nil && arn != "" && c.ARN != arn {
		err = backplane.ErrNotFound
	}
	return info(c), err
}

func (g *registry) describe(ctx context.Context, m *messages.DescribeChannel) (*messages.ChannelInfo, error) {
	return g.find(ctx, m.ARN, m.Name)
}

func (g *registry) list(ctx context.Context, m *messages.ListChannels) (*messages.ChannelPage, error) {
	all, err := g.back.Channels(ctx)
	page := &messages.ChannelPage{}
	for _, c := range all {
		if !strings.HasPrefix(c.Name, m.Prefix) || c.Name <= m.After {
			continue
		}
		if len(page.Channels) == m.Max {
			page.More = true
			break
		}
		page.Channels = append(page.Channels, *info(c))
	}
	return page, err
}

func (g *registry) delete(ctx context.Context, m *messages.DeleteChannel) (*messages.ChannelDeleted, error) {
	c, err := g.find(ctx, m.ARN, "")
	if err != nil {
		return nil, err
	}
	// Without a version the one just read is meant: a channel made anew meanwhile must stay.
	version := m.Version
	if version == "" {
		version = c.Version
	}
	return &messages.ChannelDeleted{}, g.back.DeleteChannel(ctx, c.Name, version)
}

func (g *registry) turn(ctx context.Context, m *messages.TurnWanted) (*messages.TurnWanted, error) {
	c, err := g.find(ctx, m.ChannelARN, m.ChannelName)
	if err != nil {
		return nil, err
	}
	return &messages.TurnWanted{ChannelARN: c.ARN, ClientID: m.ClientID}, nil
}

func (g *registry) connect(ctx context.Context, m *messages.ConnectWanted) (*messages.Admit, error) {
	c, err := g.find(ctx, m.ChannelARN, "")
	if err != nil {
		return nil, err
	}
	return &messages.Admit{Channel: *c, ClientID: m.ClientID, Connection: newToken()}, nil
}

// play lets a player in only where a device can answer: WHEP has no way to wait for one.
func (g *registry) play(ctx context.Context, m *messages.WhepWanted) (*messages.Admit, error) {
	c, err := g.find(ctx, "", m.ChannelName)
	if err != nil {
		return nil, err
	}
	seats, err := g.back.Seats(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	if master, _ := count(seats); !master {
		return nil, refuse(api.RefusedOffline, "No device is connected to the channel")
	}
	token := newToken()
	return &messages.Admit{Channel: *c, ClientID: "whep-" + token[:12], Connection: token, WhepSDP: m.SDP}, nil
}

func (g *registry) overview(ctx context.Context) (*messages.Overview, error) {
	all, err := g.back.Channels(ctx)
	if err != nil {
		return nil, err
	}
	o := &messages.Overview{Channels: make([]messages.ChannelState, 0, len(all))}
	for _, c := range all {
		seats, err := g.back.Seats(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		master, viewers := count(seats)
		o.Channels = append(o.Channels, messages.ChannelState{
			Name: c.Name, ARN: c.ARN, Status: c.Status, CreatedS: float64(c.Created.UnixMilli()) / 1000,
			Master: master, Viewers: viewers, ViewersMax: g.limits.ViewersMax,
		})
	}
	return o, nil
}

func count(seats []backplane.Seat) (master bool, viewers int) {
	for _, s := range seats {
		if s.Role == backplane.RoleMaster {
			master = true
		} else {
			viewers++
		}
	}
	return master, viewers
}
