package device

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// gatherer keeps the ICE servers fresh ahead of their TTL and publishes each set to viewers, then to
// session: viewers come first so that an offer that session lets in afterwards finds them there.
// When a fetch fails it publishes STUN alone with the error, so that nobody waits, and tries again.
// It also keeps known how the shared sockets are seen from outside, so that no viewer has to wait for
// a STUN server, and a spare peer ready, so that none has to wait for a TURN server. When the machine gets
// other addresses it finds out anew, and tells the session.
type gatherer struct {
	*parts
	edges    *actors.Edges
	creds    *messages.Credentials
	channel  *messages.ChannelReady
	current  *messages.IceServers // nil until the first fetch has ended
	fetching *actors.Edge
	refresh  *actors.Timer
	failures int

	asking    *actors.Edge // of the STUN server
	again     *actors.Timer
	reflexive messages.ReflexiveAddresses // as published

	relayOnly bool

	spare    *actors.Edge // keeps it
	watching *actors.Edge // the addresses
}

// reflexiveEvery keeps a NAT's binding, which may live no longer than 30 s (RFC 4787 4.3 has 2 min; many
// have less).
const reflexiveEvery = 20 * time.Second

func newGatherer(p *parts) *gatherer { return &gatherer{parts: p, relayOnly: p.cfg.RelayOnly} }

// Receive implements actor.Actor.
func (g *gatherer) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		g.onStarted(ctx)
	case *actor.Stopping:
		g.edges.Close()
	case *askDue:
		g.onAskDue(ctx)
	case *messages.Credentials:
		g.onCredentials(msg)
	case *messages.ChannelReady:
		g.onChannelReady(ctx, msg)
	case *messages.IceServersWanted:
		g.onWanted(ctx, msg)
	case *messages.Settings:
		g.onSettings(msg)
	case *fetchedServers:
		g.onFetched(ctx, msg)
	case *actors.EdgeEnded:
		g.onEdgeEnded(ctx, msg)
	case *refreshDue:
		g.fetch()
	case *foundReflexive:
		g.onFoundReflexive(ctx, msg)
	case *reflexiveDue:
		g.reflect()
	case *addressesChanged:
		g.onAddressesChanged(ctx, msg)
	}
}

func (g *gatherer) onStarted(ctx actor.Context) {
	g.edges = actors.NewEdges(g.sys, ctx)
	g.edges.After(askAfter, &askDue{})
	watch := g.cfg.WatchAddresses
	g.watching = g.edges.Open("watch network addresses", func(e *actors.Edge) error {
		return watch(e.Context(), func(now []netip.Addr) error { return e.Post(&addressesChanged{now}) })
	})
}

// onAddressesChanged: what was known of the old addresses is worth nothing.
func (g *gatherer) onAddressesChanged(ctx actor.Context, msg *addressesChanged) {
	g.sys.Log().Info("the network addresses have changed", zap.Int("addresses", len(msg.now)))
	ctx.Send(g.sys.PID(pathSession), &messages.NetworkChanged{Addresses: msg.now})
	if g.cfg.storesApart() {
		ctx.Send(g.sys.PID(pathStorageSession), &messages.NetworkChanged{Addresses: msg.now})
	}
	g.reflect()
	g.keepSpare()
}

func (g *gatherer) onAskDue(ctx actor.Context) {
	if g.creds == nil {
		ctx.Request(g.sys.PID(pathCredentials), &messages.CredentialsWanted{})
		g.edges.After(time.Second, &askDue{})
	}
}

func (g *gatherer) onCredentials(msg *messages.Credentials) {
	first := g.creds == nil
	g.creds = msg
	if first {
		g.fetch()
	}
}

func (g *gatherer) onChannelReady(ctx actor.Context, msg *messages.ChannelReady) {
	same := g.channel != nil && *g.channel == *msg
	g.channel = msg
	if same && g.current != nil && g.current.Err == nil && time.Until(g.current.Expires) > time.Minute {
		ctx.Send(g.sys.PID(pathSession), g.current)
		return
	}
	g.fetch()
}

func (g *gatherer) onWanted(ctx actor.Context, msg *messages.IceServersWanted) {
	switch {
	case msg.Refresh:
		g.fetch()
	case g.current != nil:
		ctx.Respond(g.current)
		reflexive := g.reflexive
		ctx.Send(g.sys.PID(pathViewers), &reflexive)
	}
}

func (g *gatherer) fetch() {
	if g.channel == nil || g.creds == nil || g.fetching != nil {
		return
	}
	channel, creds := *g.channel, *g.creds
	g.fetching = g.edges.Open("get ICE servers", func(e *actors.Edge) error {
		began := time.Now()
		servers, ttl, err := g.aws.IceServers(e.Context(), creds, channel.HTTPSEndpoint, channel.ChannelARN, g.cfg.ClientID)
		if err != nil {
			return err
		}
		return e.Post(&fetchedServers{servers: servers, ttl: ttl, took: time.Since(began)})
	})
}

func (g *gatherer) onFetched(ctx actor.Context, msg *fetchedServers) {
	g.failures = 0
	g.metrics.phase(messages.PhaseGetIceServers, msg.took)
	g.publish(ctx, &messages.IceServers{
		Servers: append(g.stun(msg.servers), msg.servers...), Expires: time.Now().Add(msg.ttl), Took: msg.took,
	})
	g.refreshAfter(g.refreshIn(msg.ttl))
}

func (g *gatherer) onEdgeEnded(ctx actor.Context, msg *actors.EdgeEnded) {
	switch msg.Edge {
	case g.asking:
		g.asking = nil
		g.again = g.edges.After(reflexiveEvery, &reflexiveDue{})
		return
	case g.watching:
		g.sys.Log().Warn("changes of the network are found out by time-outs alone", zap.Error(msg.Err))
		return
	case g.spare:
		g.spare = nil
		g.sys.Log().Warn("no spare peer until the ICE servers are fetched again", zap.Error(msg.Err))
		return
	}
	g.fetching = nil
	if msg.Err == nil {
		return
	}
	g.failures++
	g.sys.Log().Warn("get ICE servers failed, will try again", zap.Error(msg.Err), zap.Int("failures", g.failures))
	if g.current == nil || time.Now().After(g.current.Expires) {
		g.publish(ctx, &messages.IceServers{Servers: g.stun(nil), Err: msg.Err})
	}
	g.refreshAfter(g.backOff(g.failures))
}

func (g *gatherer) publish(ctx actor.Context, set *messages.IceServers) {
	g.current = set
	ctx.Send(g.sys.PID(pathViewers), set)
	ctx.Send(g.sys.PID(pathSession), set)
	g.reflect()
	g.keepSpare()
}

// keepSpare has the spare peer replaced by one for what is current.
func (g *gatherer) keepSpare() {
	if g.cfg.NoSpareRelay || g.current == nil {
		return
	}
	if g.spare != nil {
		g.spare.Cancel()
	}
	config := rtc.PeerConfig{IceServers: g.current.Servers, RelayOnly: g.relayOnly, Reflexive: g.reflexive}
	g.spare = g.edges.Open("keep a spare peer", func(e *actors.Edge) error { return g.engine.KeepSpare(e.Context(), config) })
}

// reflect asks the STUN server how the shared sockets are seen.
func (g *gatherer) reflect() {
	if g.asking != nil || g.current == nil || g.relayOnly {
		return
	}
	g.again.Stop()
	servers := g.current.Servers
	g.asking = g.edges.Open("ask STUN server", func(e *actors.Edge) error {
		found, err := g.engine.Reflexive(e.Context(), servers)
		if err != nil {
			g.sys.Log().Debug("the shared sockets' reflexive addresses are not known", zap.Error(err))
		}
		return e.Post(&foundReflexive{found})
	})
}

func (g *gatherer) onFoundReflexive(ctx actor.Context, msg *foundReflexive) {
	if slices.Equal(msg.Addresses, g.reflexive.Addresses) {
		return
	}
	g.reflexive = msg.ReflexiveAddresses
	ctx.Send(g.sys.PID(pathViewers), &msg.ReflexiveAddresses)
	g.keepSpare()
}

func (g *gatherer) refreshAfter(d time.Duration) {
	if g.refresh != nil {
		g.refresh.Stop()
	}
	g.refresh = g.edges.After(d, &refreshDue{})
}

// stun is the server that GetIceServerConfig does not list (kvs-protocol.md 5): AWS's of the region,
// or, for a compatible service, its first TURN server, which answers STUN as well (RFC 8656, 3).
func (p *parts) stun(turn []messages.IceServer) []messages.IceServer {
	return StunServers(p.cfg.ControlPlane, p.cfg.Region, p.cfg.DualStack, turn)
}

// StunServers are those that a device asks, given the control plane (empty: AWS's) and its TURN servers.
func StunServers(controlPlane, region string, dualStack bool, turn []messages.IceServer) []messages.IceServer {
	if controlPlane == "" {
		return []messages.IceServer{{URLs: []string{aws.StunURL(region, dualStack)}}}
	}
	for _, server := range turn {
		for _, url := range server.URLs {
			host, isUDP := strings.CutSuffix(url, "?transport=udp")
			if host, isTURN := strings.CutPrefix(host, "turn:"); isTURN && isUDP {
				return []messages.IceServer{{URLs: []string{"stun:" + host}}}
			}
		}
	}
	return nil
}

type foundReflexive struct{ messages.ReflexiveAddresses }

type reflexiveDue struct{}

type addressesChanged struct{ now []netip.Addr }

type fetchedServers struct {
	servers []messages.IceServer
	ttl     time.Duration
	took    time.Duration
}

// askDue is the reminder, shortly after a start, to ask for what nobody has published yet: an actor
// that is respawned has missed it.
type askDue struct{}

const askAfter = 50 * time.Millisecond
