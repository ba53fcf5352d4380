package device

import (
	"math/rand/v2"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
)

// credentials keeps a set of AWS credentials fresh and publishes each new one to session and
// gatherer. It owns the provider; a call to it runs in an edge, one at a time. It never gives up.
type credentials struct {
	*parts
	edges    *actors.Edges
	current  *messages.Credentials
	fetching bool
	refresh  *actors.Timer
	failures int
}

func newCredentials(p *parts) *credentials { return &credentials{parts: p} }

// Receive implements actor.Actor.
func (c *credentials) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		c.edges = actors.NewEdges(c.sys, ctx)
		c.fetch()
	case *actor.Stopping:
		c.edges.Close()
	case *messages.CredentialsWanted:
		c.onWanted(ctx, msg)
	case *retrieved:
		c.onRetrieved(ctx, msg)
	case *actors.EdgeEnded:
		c.onFetchEnded(msg)
	case *refreshDue:
		c.fetch()
	}
}

func (c *credentials) onWanted(ctx actor.Context, msg *messages.CredentialsWanted) {
	switch {
	case c.current != nil && msg.Rejected == c.current.AccessKeyID:
		c.fetch() // expired or revoked: a newer set may exist, even of keys in a file
	case c.current != nil:
		ctx.Respond(c.current)
	}
}

func (c *credentials) fetch() {
	if c.fetching {
		return
	}
	c.fetching = true
	c.refresh.Stop()
	c.edges.Open("retrieve credentials", func(e *actors.Edge) error {
		began := time.Now()
		set, err := c.cfg.Credentials.Retrieve(e.Context())
		if err != nil {
			return err
		}
		set.Took = time.Since(began)
		return e.Post(&retrieved{set})
	})
}

func (c *credentials) onRetrieved(ctx actor.Context, msg *retrieved) {
	c.fetching, c.failures = false, 0
	c.current = &msg.set
	c.metrics.phase(messages.PhaseGetCredentials, msg.set.Took)
	ctx.Send(c.sys.PID(pathSession), c.current)
	ctx.Send(c.sys.PID(pathGatherer), c.current)
	if c.cfg.StorageChannel != "" {
		ctx.Send(c.sys.PID(pathStorage), c.current)
	}
	if c.cfg.storesApart() {
		ctx.Send(c.sys.PID(pathStorageSession), c.current)
	}
	if !msg.set.Expires.IsZero() {
		c.refresh = c.edges.After(c.refreshIn(msg.set.Expires.Sub(c.aws.Clock().Now())), &refreshDue{})
	}
}

func (c *credentials) onFetchEnded(msg *actors.EdgeEnded) {
	if msg.Err == nil {
		return // it has posted its set
	}
	c.fetching = false
	c.failures++
	c.sys.Log().Warn("retrieve credentials failed, will try again", zap.Error(msg.Err), zap.Int("failures", c.failures))
	c.refresh = c.edges.After(c.backOff(c.failures), &refreshDue{})
}

type retrieved struct{ set messages.Credentials }
type refreshDue struct{}

// The margin of what expires: 30 s before its end, as the C clients do, and up to a tenth of its life or a
// minute sooner, so that a fleet that started together does not ask together.
const (
	refreshMargin = 30 * time.Second
	refreshSpread = time.Minute
)

// refreshIn is how long to wait until what lives this long is fetched anew, never in its first half.
func (p *parts) refreshIn(life time.Duration) time.Duration {
	early := refreshMargin + p.jitter(min(refreshSpread, life/10))
	return max(life-early, life/2, time.Second)
}

// The bounds of every back-off, those of the C SDK (kvs-protocol.md 1.5).
const (
	backOffMin = 100 * time.Millisecond
	backOffMax = 10 * time.Second
)

// backOff is how long to wait after so many failures in a row: doubling, capped, and jittered over
// its upper half, so that a fleet does not come back in step.
func (p *parts) backOff(failures int) time.Duration {
	d := min(backOffMin<<min(failures-1, 10), backOffMax)
	return d/2 + p.jitter(d/2)
}

// jitter is a random time below d.
func (p *parts) jitter(d time.Duration) time.Duration {
	switch {
	case d <= 0:
		return 0
	case p.cfg.jitter != nil:
		return p.cfg.jitter(d)
	}
	return rand.N(d)
}
