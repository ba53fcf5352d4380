package service

import (
	"context"
	"errors"
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
	quotas   *quotas
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

func newRegistry(w *world) *registry { return &registry{world: w, quotas: newQuotas(w.limits)} }

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
	case *messages.UpdateChannel:
		g.settle(ctx, func(c context.Context) (any, error) { return g.update(c, msg) })
	case *messages.EndpointWanted:
		g.settle(ctx, func(c context.Context) (any, error) { return g.endpoint(c, msg) })
	case *messages.ARNWanted:
		g.settle(ctx, func(c context.Context) (any, error) { return g.named(c, msg) })
	case *messages.ChangeTags, *messages.TagsWanted, *messages.StorageWanted, *messages.ChangeStorage, *messages.MappingWanted,
		*messages.CreateStream, *messages.DescribeStream, *messages.ListStreams, *messages.UpdateStream, *messages.DeleteStream:
		g.settle(ctx, g.resourceCall(msg))
	case *messages.DeleteChannel:
		g.settle(ctx, func(c context.Context) (any, error) { return g.delete(c, msg) })
	case *messages.TurnWanted:
		g.settle(ctx, func(c context.Context) (any, error) { return g.turn(c, msg) })
	case *messages.ConnectWanted:
		g.settle(ctx, func(c context.Context) (any, error) { return g.connect(c, msg) })
	case *messages.AlexaOfferWanted:
		g.settle(ctx, func(c context.Context) (any, error) { return g.alexa(c, msg) })
	case *messages.JoinStorageWanted:
		g.settle(ctx, func(c context.Context) (any, error) { return g.joinStorage(c, msg) })
	case *messages.WhepWanted:
		g.settle(ctx, func(c context.Context) (any, error) { return g.play(c, msg) })
	case *messages.OverviewWanted:
		g.settle(ctx, func(c context.Context) (any, error) { return g.overview(c) })
	case *settled:
		g.onSettled(ctx, msg)
	case *sweepDue:
		g.open(question{nil, g.sweep})
	case *actors.EdgeEnded:
		g.onEdgeEnded()
	}
}

// settle makes the call now, later, or not at all.
func (g *registry) settle(ctx actor.Context, call func(context.Context) (any, error)) {
	q := question{ctx.Sender(), call}
	switch {
	case !g.quotas.allow(g.quotaOf(ctx.Message())):
		g.metrics.limited.WithLabelValues("requests").Inc()
		ctx.Respond(refuse("ClientLimitExceededException", "Too many requests of this kind per second"))
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
	case *messages.ChannelDeleted, *messages.StreamDeleted:
		g.sweepLater()
		ctx.Send(msg.asker, reply)
	case *messages.Admit, *messages.StorageJoin:
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
		return refuse("ResourceNotFoundException", "The requested resource is not found or not active")
	case errors.Is(err, backplane.ErrExists):
		return refuse("ResourceInUseException", "A resource of that name exists")
	case errors.Is(err, backplane.ErrTaken):
		return refuse("ResourceInUseException", "The stream is mapped to another channel")
	case errors.Is(err, backplane.ErrVersion):
		return refuse("VersionMismatchException", "The version is not the resource's current one")
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
	c := backplane.Channel{Type: "SINGLE_MASTER", MessageTTL: ttl, Resource: backplane.Resource{
		ARN: g.arn("channel", m.Name, now), Name: m.Name, Status: statusCreating, Created: now, Changed: now, Tags: m.Tags,
	}}
	made, err := g.back.CreateChannel(ctx, c, g.limits.ChannelsMax)
	if errors.Is(err, backplane.ErrExists) {
		if _, gone := g.channel(ctx, "", m.Name); errors.Is(gone, backplane.ErrNotFound) {
			made, err = g.back.CreateChannel(ctx, c, g.limits.ChannelsMax)
		}
	}
	if errors.Is(err, backplane.ErrFull) {
		return nil, refuse("AccountChannelLimitExceededException", "The account has as many channels as it may have")
	}
	return g.info(made), err
}

func (g *registry) info(c backplane.Channel) *messages.ChannelInfo {
	return &messages.ChannelInfo{ID: c.ID, ARN: c.ARN, Name: c.Name, Status: g.status(c.Resource), Type: c.Type,
		Version: c.Version, Created: c.Created, MessageTTL: c.MessageTTL}
}

// channel finds a channel by its ARN, which must be that of the channel which now has the name, or by its name.
func (g *registry) channel(ctx context.Context, arn, name string) (backplane.Channel, error) {
	if arn != "" {
		kind, named := resourceOf(arn)
		if name = named; kind != "channel" {
			return backplane.Channel{}, backplane.ErrNotFound
		}
	}
	c, err := g.back.Channel(ctx, name)
	if err == nil && arn != "" && c.ARN != arn {
		return backplane.Channel{}, backplane.ErrNotFound
	}
	if err == nil && g.status(c.Resource) == statusDeleted {
		_ = g.back.DeleteChannel(ctx, c.Name, c.Version) // somebody else's success is as good
		return backplane.Channel{}, backplane.ErrNotFound
	}
	return c, err
}

// find returns a channel that can be used.
func (g *registry) find(ctx context.Context, arn, name string) (*messages.ChannelInfo, error) {
	c, err := g.channel(ctx, arn, name)
	if err == nil && g.status(c.Resource) == statusDeleting {
		err = backplane.ErrNotFound
	}
	return g.info(c), err
}

// named is the ARN by which a policy is asked. A policy for ".../channel/NAME/*" allows to create it, so
// what does not exist has one too.
func (g *registry) named(ctx context.Context, m *messages.ARNWanted) (*messages.ResourceARN, error) {
	var arn string
	var err error
	if m.Kind == "stream" {
		var s backplane.Stream
		s, err = g.stream(ctx, messages.ResourceName{Name: m.Name})
		arn = s.ARN
	} else {
		var c backplane.Channel
		c, err = g.channel(ctx, "", m.Name)
		arn = c.ARN
	}
	if errors.Is(err, backplane.ErrNotFound) {
		return &messages.ResourceARN{ARN: g.arn(m.Kind, m.Name, time.UnixMilli(0))}, nil
	}
	return &messages.ResourceARN{ARN: arn}, err
}

func (g *registry) describe(ctx context.Context, m *messages.DescribeChannel) (*messages.ChannelInfo, error) {
	c, err := g.channel(ctx, m.ARN, m.Name)
	return g.info(c), err
}

// endpoint refuses the storage session's of a channel that stores nothing; AWS's own error is not
// published (kvs-protocol.md 1.4).
func (g *registry) endpoint(ctx context.Context, m *messages.EndpointWanted) (*messages.ChannelInfo, error) {
	c, err := g.channel(ctx, m.ARN, "")
	if err != nil {
		return nil, err
	}
	if err := g.active(c.Resource); err != nil {
		return nil, err
	}
	if m.Storage {
		storage, err := g.storageOf(ctx, c)
		if err != nil {
			return nil, err
		}
		if !storage.Enabled {
			return nil, refuse("InvalidArgumentException", "WEBRTC needs a channel with media storage enabled")
		}
	}
	return g.info(c), nil
}

func (g *registry) update(ctx context.Context, m *messages.UpdateChannel) (*messages.ChannelInfo, error) {
	c, err := g.channel(ctx, m.ARN, "")
	if err != nil {
		return nil, err
	}
	c, err = g.back.UpdateChannel(ctx, c.Name, c.ARN, func(c *backplane.Channel) error {
		if m.MessageTTL > 0 {
			c.MessageTTL = m.MessageTTL
		}
		return g.begin(&c.Resource, m.Version, statusUpdating)
	})
	return g.info(c), err
}

func (g *registry) list(ctx context.Context, m *messages.ListChannels) (*messages.ChannelPage, error) {
	all, err := g.back.Channels(ctx)
	page := &messages.ChannelPage{}
	for _, c := range all {
		if !strings.HasPrefix(c.Name, m.Prefix) || c.Name <= m.After || g.status(c.Resource) == statusDeleted {
			continue
		}
		if len(page.Channels) == m.Max {
			page.More = true
			break
		}
		page.Channels = append(page.Channels, *g.info(c))
	}
	return page, err
}

func (g *registry) delete(ctx context.Context, m *messages.DeleteChannel) (*messages.ChannelDeleted, error) {
	c, err := g.channel(ctx, m.ARN, "")
	if err != nil {
		return nil, err
	}
	// By the ARN, so that a channel made anew meanwhile stays.
	c, err = g.back.UpdateChannel(ctx, c.Name, c.ARN, func(c *backplane.Channel) error {
		return g.begin(&c.Resource, m.Version, statusDeleting)
	})
	if err == nil && g.limits.Transition == 0 {
		err = g.back.DeleteChannel(ctx, c.Name, c.Version)
	}
	return &messages.ChannelDeleted{}, err
}

func (g *registry) turn(ctx context.Context, m *messages.TurnWanted) (*messages.TurnWanted, error) {
	c, err := g.find(ctx, m.ChannelARN, m.ChannelName)
	if err != nil {
		return nil, err
	}
	return &messages.TurnWanted{ChannelARN: c.ARN, ClientID: m.ClientID, DualStack: m.DualStack}, nil
}

func (g *registry) connect(ctx context.Context, m *messages.ConnectWanted) (*messages.Admit, error) {
	c, err := g.find(ctx, m.ChannelARN, "")
	if err != nil {
		return nil, err
	}
	return &messages.Admit{Channel: *c, ClientID: m.ClientID, Connection: newToken()}, nil
}

func (g *registry) alexa(ctx context.Context, m *messages.AlexaOfferWanted) (*messages.Admit, error) {
	c, err := g.find(ctx, m.ChannelARN, "")
	if err != nil {
		return nil, err
	}
	return &messages.Admit{Channel: *c, ClientID: m.ClientID, Connection: newToken(), AlexaOffer: m.Payload}, nil
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
		if g.status(c.Resource) == statusDeleted {
			continue
		}
		seats, err := g.back.Seats(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		master, viewers := count(seats)
		o.Channels = append(o.Channels, messages.ChannelState{
			Name: c.Name, ARN: c.ARN, Status: g.status(c.Resource), CreatedS: float64(c.Created.UnixMilli()) / 1000,
			Master: master, Viewers: viewers, ViewersMax: g.limits.ViewersMax,
		})
	}
	return o, nil
}

func count(seats []backplane.Seat) (master bool, viewers int) {
	for _, s := range seats {
		switch s.Role {
		case backplane.RoleMaster:
			master = true
		case backplane.RoleViewer:
			viewers++
		}
	}
	return master, viewers
}
