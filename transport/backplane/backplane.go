// Package backplane is what the nodes of a service share, on NATS: channels, streams, presence, live
// routing and undelivered messages. It is the only truth for them; a node keeps nothing but its sockets.
//
// Flow: Open starts the embedded server (server.go), or dials a cluster, opens the buckets
// (store.go), checks the store against the manifest (manifest.go) and takes this node's lease
// (nodes.go). Then: channels.go and streams.go (the control plane's resources, kept by resources.go),
// presence.go (Join, Leave, Seats), courier.go
// (Send), attachment.go (Attach) and arrivals.go, which meet on the subjects of subjects.go.
//
// Owner: whoever called Open. Callbacks run on goroutines of nats.go and of timers; each file says
// which mutex guards what. Nothing of ours runs after Close.
package backplane

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

const (
	requestWait  = 5 * time.Second // for one request to the server when the caller set no deadline
	closeWait    = 2 * time.Second // for messages that are on their way when Close is called
	leaseDefault = 10 * time.Second
	leaseMin     = time.Second // resolution of JetStream's message TTL
)

// Errors that callers branch on.
var (
	ErrExists   = errors.New("name exists")
	ErrNotFound = errors.New("not found")
	ErrVersion  = errors.New("version does not match")
	ErrFull     = errors.New("full")
	ErrTaken    = errors.New("stream is mapped to another channel")
)

// Config says where the truth is. The zero value is an embedded server that forgets.
type Config struct {
	Dir      string        // store folder of the embedded server; empty = memory only
	URL      string        // external NATS cluster instead; Dir is not used then
	Replicas int           // of each stream of an external cluster; 0 = 1
	Node     string        // name of this node in logs and leases; the id gets a random suffix
	Lease    time.Duration // after which the seats of a silent node are free; 0 = 10 s, at least 1 s
	Log      *zap.Logger
}

// Stats are counters since Open, except Backlog, which is the current number.
type Stats struct {
	Sent        uint64 // accepted by Send
	Delivered   uint64 // acknowledged by a recipient that was there
	Stored      uint64 // kept for a recipient that was not
	Dropped     uint64 // refused by Send, or not storable: backlog, candidate or store limits, TTL passed
	Backlog     uint64 // messages on their way
	Collected   uint64 // handed over from the store
	Duplicates  uint64 // second copies that were recognised and not handed over
	Evicted     uint64 // connections told that their seat is taken
	Conflicts   uint64 // compare-and-set attempts that were repeated
	LeasesLost  uint64 // times this node found its lease expired
	ServerSlow  uint64 // times messages found no room among the arrivals or in an attachment's tray
	Attachments uint64 // now
}

type counters struct {
	sent, delivered, stored, dropped, collected, duplicates atomic.Uint64
	evicted, conflicts, leasesLost, slow                    atomic.Uint64
}

// Backplane is one node's view of the shared truth. All methods are safe for concurrent use.
type Backplane struct {
	// set by Open, read only afterwards
	node     string
	log      *zap.Logger
	embedded *embedded // nil with an external cluster
	nc       *nats.Conn
	js       jetstream.JetStream
	channels bucket
	streams  bucket
	presence bucket
	nodes    bucket
	boxes    bucket
	lease    *lease
	courier  *courier
	count    counters

	arrivals   chan *nats.Msg // of all attachments
	quit       chan struct{}  // closed to end the porter
	porterGone chan struct{}

	// writing serialises the changes of resources, so that the manifest and the bucket move together
	writing  sync.Mutex
	manifest *manifest // nil unless the store is a folder of ours

	mu          sync.Mutex
	joined      map[string]uint64                  // revision of presence at which a connection joined
	attachments map[*nats.Subscription]*attachment // by where their messages come from
	closed      bool
}

// Open connects this node. A store folder that lost or changed data gives a *DamageError; nothing is
// repaired and nothing is thrown away.
func Open(ctx context.Context, cfg Config) (*Backplane, error) {
	b := &Backplane{
		node: token(cfg.Node) + "-" + rand.Text()[:10], log: cfg.Log,
		arrivals: make(chan *nats.Msg, arrivalsMax), quit: make(chan struct{}), porterGone: make(chan struct{}),
		joined: map[string]uint64{}, attachments: map[*nats.Subscription]*attachment{},
	}
	if b.log == nil {
		b.log = zap.NewNop()
	}
	if cfg.Lease == 0 {
		cfg.Lease = leaseDefault
	}
	cfg.Lease = max(cfg.Lease, leaseMin)
	ctx, cancel := deadline(ctx, 4*requestWait)
	defer cancel()
	if err := b.open(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("open backplane: %w", err), b.Close())
	}
	b.log.Info("backplane open", zap.String("node", b.node), zap.Bool("embedded", b.embedded != nil))
	return b, nil
}

func (b *Backplane) open(ctx context.Context, cfg Config) (err error) {
	if cfg.URL == "" {
		if b.embedded, err = startEmbedded(cfg.Dir, b.node, b.log); err != nil {
			return err
		}
		b.manifest = b.embedded.manifest
	}
	if err = b.connect(cfg); err != nil {
		return err
	}
	if err = b.openBuckets(ctx, cfg); err != nil {
		return err
	}
	if err = b.checkStore(ctx); err != nil {
		return err
	}
	if b.courier, err = newCourier(b); err != nil {
		return err
	}
	b.lease, err = b.takeLease(ctx, cfg.Lease)
	return err
}

func (b *Backplane) connect(cfg Config) (err error) {
	options := []nats.Option{
		nats.Name(b.node), nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond),
		nats.ReconnectHandler(func(*nats.Conn) { b.resume("reconnected to NATS") }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.log.Warn("disconnected from NATS", zap.Error(err))
			}
		}),
		nats.ErrorHandler(b.onClientError),
	}
	if b.embedded != nil {
		options = append(options, nats.InProcessServer(b.embedded.server))
	}
	if b.nc, err = nats.Connect(cfg.URL, options...); err != nil {
		return fmt.Errorf("dial NATS: %w", err)
	}
	time.AfterFunc(0, b.porter)
	b.js, err = jetstream.New(b.nc)
	return err
}

// onClientError hears of messages that nats.go dropped because there was no room among the arrivals.
// Their senders saw no acknowledgement and stored them: collect them.
func (b *Backplane) onClientError(_ *nats.Conn, sub *nats.Subscription, err error) {
	if !errors.Is(err, nats.ErrSlowConsumer) {
		b.log.Warn("NATS client", zap.Error(err))
		return
	}
	b.count.slow.Add(1)
	b.mu.Lock()
	a := b.attachments[sub]
	b.mu.Unlock()
	if a != nil {
		a.look()
	}
}

// resume is called when something may have been missed: every attachment looks after its seat and
// its stored messages.
func (b *Backplane) resume(why string) {
	b.mu.Lock()
	waiting := make([]*attachment, 0, len(b.attachments))
	for _, a := range b.attachments {
		waiting = append(waiting, a)
	}
	b.mu.Unlock()
	b.log.Info("looking after seats again", zap.String("why", why), zap.Int("attachments", len(waiting)))
	for _, a := range waiting {
		a.look()
	}
}

// Node is the id of this node: new at each Open.
func (b *Backplane) Node() string { return b.node }

// Close gives the lease back, waits a moment for messages that are on their way, disconnects and
// stops the embedded server. Idempotent.
func (b *Backplane) Close() error {
	b.mu.Lock()
	closed := b.closed
	b.closed = true
	attachments := b.attachments
	b.attachments = map[*nats.Subscription]*attachment{}
	b.mu.Unlock()
	if closed {
		return nil
	}
	for _, a := range attachments {
		a.detach()
	}
	if b.courier != nil {
		b.courier.close(closeWait)
	}
	if b.lease != nil {
		b.lease.giveBack()
	}
	if b.nc != nil {
		_ = b.nc.FlushTimeout(closeWait)
		b.nc.Close()
		close(b.quit)
		<-b.porterGone
	}
	if b.embedded != nil {
		return b.embedded.stop()
	}
	return nil
}

// Stats reads the counters.
func (b *Backplane) Stats() Stats {
	c := &b.count
	b.mu.Lock()
	attachments := uint64(len(b.attachments))
	b.mu.Unlock()
	return Stats{
		Sent: c.sent.Load(), Delivered: c.delivered.Load(), Stored: c.stored.Load(), Dropped: c.dropped.Load(),
		Backlog: b.courier.backlog(), Collected: c.collected.Load(), Duplicates: c.duplicates.Load(),
		Evicted: c.evicted.Load(), Conflicts: c.conflicts.Load(), LeasesLost: c.leasesLost.Load(),
		ServerSlow: c.slow.Load(), Attachments: attachments,
	}
}

// deadline gives ctx one when it has none.
func deadline(ctx context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, wait)
}
