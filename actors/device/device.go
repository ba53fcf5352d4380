// Package device is the camera's side: a tree of actors that keeps a signaling channel open as its
// master and sends one encoded stream to every viewer that asks.
//
// The way of a frame:  source (edge) -> encoder -> fanout -> viewer -> peer connection, all of it on the
// source's thread, one viewer after the other; only a write that can block (TURN over TCP) has an edge.
// The way back:        peer connection -> viewer -> sink (sound); data channel -> viewer -> fanout, encoder,
// hook, and the answer back to viewer.
// The way of an offer: websocket (edge) -> session -> viewers -> viewer, and the answer back to session.
// What session and viewer need of others is published to them: credentials -> session, gatherer;
// gatherer -> session, viewers. A fault in signaling, credentials, ICE configuration or the source
// never touches a viewer that is connected, and a fault in one viewer touches no other.
package device

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/addresses"
	"github.com/heliograph-rtc/heliograph/transport/admin"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// The names of the fixed actors, valid across their respawns.
const (
	pathCredentials = "device/credentials"
	pathGatherer    = "device/gatherer"
	pathRoot        = "device"
	pathSession     = "device/session"
	pathEncoder     = "device/encoder"
	pathFanout      = "device/fanout"
	pathViewers     = "device/viewers"
	pathSink        = "device/sink"
	pathHook        = "device/hook"

	pathStorage        = "device/storage"
	pathStorageSession = "device/storage-session" // where viewers have a channel of their own
)

// The default of ViewersMax, AWS's own limit per channel (kvs-protocol.md 3.8).
const viewersMaxDefault = 10

// pingEveryDefault is the C SDK's and the Linux reference's.
const pingEveryDefault = 10 * time.Second

// Config says what the device serves and where. The zero value of a field is its default.
type Config struct {
	Channel      string                                                               // name of the signaling channel; required
	NoCreate     bool                                                                 // do not create the channel when it does not exist
	Region       string                                                               // AWS region; required
	ControlPlane string                                                               // URL of the control plane; empty: AWS's of the region
	DualStack    bool                                                                 // AWS's endpoints that IPv6 reaches too
	RootCAs      *x509.CertPool                                                       // trusted roots of all TLS; nil: the system's
	ConnectTo    func(network, address string) string                                 // where to go for a host:port, as curl's --connect-to; nil: there
	Dial         func(ctx context.Context, network, address string) (net.Conn, error) // opens the connections of TLS; nil: net.Dialer
	PingEvery    time.Duration                                                        // of the signaling socket, which is given up after three without an answer; default 10 s
	Credentials  aws.Provider                                                         // required
	Clock        *aws.Clock                                                           // the service's, which the provider may learn, too; nil: one of the device's own
	ClientID     string                                                               // as GetIceServerConfig tells it; default ProducerMaster

	Source         media.Source // required
	SourceOnDemand bool         // let the source run while somebody watches, instead of always
	ViewersMax     int          // default 10
	Bitrate        BitrateLimits

	StorageChannel string        // the channel whose media storage is to be fed; the same as Channel: no viewers; empty: none
	StorageLife    time.Duration // of a storage peer, until the next one takes over; default 55 min

	Sink     media.Sink          // where the sound of viewers goes; nil: nowhere
	Grants   Grants              // what some viewers may ask for by their data channels; nil: nothing of it
	Commands map[string][]string // programs with their arguments that a viewer may be granted, by name

	// WatchAddresses calls back with the machine's addresses whenever they change; nil: addresses.Watch.
	WatchAddresses  func(ctx context.Context, changed func([]netip.Addr) error) error
	ListenUDP       string   // address of the shared UDP socket; default ":0"
	Interfaces      []string // patterns of the network interfaces that viewers are offered (rtc.InterfaceFilter); nil: all
	IncludeLoopback bool     // gather loopback candidates too
	RelayOnly       bool     // offer relay candidates alone
	NoSpareRelay    bool     // keep no allocation ready on the TURN server for the next viewer
	NoDataChannel   bool
	ConsentTimeout  time.Duration // without a sign of life for so long, a viewer is gone; default 25 s
	NoTWCC          bool
	NoPacing        bool // send signaling messages without regard to AWS's limits per socket

	AdminListen  string    // address of the loopback admin door; empty: none
	PrintMetrics io.Writer // every viewer's setup phases are printed here as a table; nil: not
	Log          *zap.Logger

	jitter func(time.Duration) time.Duration // a time below the given one; nil: random
}

func (c Config) withDefaults() (Config, error) {
	if c.Channel == "" || c.Region == "" || c.Credentials == nil || c.Source == nil {
		return c, errors.New("device: channel, region, credentials and source are required")
	}
	if err := c.Grants.check(c.Commands); err != nil {
		return c, fmt.Errorf("device: %w", err)
	}
	if err := c.Bitrate.withDefaults().check(); err != nil {
		return c, fmt.Errorf("device: %w", err)
	}
	if c.ClientID == "" {
		c.ClientID = "ProducerMaster"
	}
	if c.ViewersMax == 0 {
		c.ViewersMax = viewersMaxDefault
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.PingEvery == 0 {
		c.PingEvery = pingEveryDefault
	}
	if c.StorageLife == 0 {
		c.StorageLife = storageLifeDefault
	}
	if c.WatchAddresses == nil {
		c.WatchAddresses = addresses.Watch
	}
	if c.ListenUDP == "" {
		c.ListenUDP = ":0"
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c, nil
}

// storesApart tells whether the camera is stored by a channel that is not that of its viewers.
func (c Config) storesApart() bool { return c.StorageChannel != "" && c.StorageChannel != c.Channel }

// storagePath is the session of the channel whose media is stored.
func (c Config) storagePath() string {
	if c.storesApart() {
		return pathStorageSession
	}
	return pathSession
}

// dial opens a connection to where ConnectTo sends it.
func (c Config) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if c.ConnectTo != nil {
		address = c.ConnectTo(network, address)
	}
	return c.Dial(ctx, network, address)
}

// Device is a running device.
type Device struct {
	sys    *actors.System
	engine *rtc.Engine
	admin  *admin.Server
	idle   func() // closes what the HTTP client keeps open
	stores bool   // it has an actor for storage
	cfg    Config // as it was started
	reload *prometheus.CounterVec
}

// Start brings the tree up and returns at once; the session connects, and reconnects, by itself.
func Start(cfg Config) (*Device, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	engine, err := rtc.NewEngine(rtc.EngineConfig{
		ListenUDP: cfg.ListenUDP, Interfaces: cfg.Interfaces, IncludeLoopback: cfg.IncludeLoopback,
		RootCAs: cfg.RootCAs, ConnectTo: cfg.ConnectTo, ConsentTimeout: cfg.ConsentTimeout,
		TWCC: !cfg.NoTWCC, DataChannel: !cfg.NoDataChannel, Log: cfg.Log.Named("rtc"),
	})
	if err != nil {
		return nil, fmt.Errorf("start peer connection engine: %w", err)
	}
	tlsConfig := &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12}
	httpTransport := &http.Transport{TLSClientConfig: tlsConfig, Proxy: http.ProxyFromEnvironment, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: false, DialContext: cfg.dial}
	d := &Device{sys: actors.NewSystem("device", cfg.Log), engine: engine, idle: httpTransport.CloseIdleConnections, stores: cfg.StorageChannel != "", cfg: cfg}
	parts := &parts{
		cfg: cfg, sys: d.sys, engine: engine, tls: tlsConfig, metrics: newMetrics(d.sys, engine),
		aws: aws.NewClient(aws.ClientConfig{
			Region: cfg.Region, ControlPlane: cfg.ControlPlane, DualStack: cfg.DualStack, Clock: cfg.Clock,
			HTTP: &http.Client{Transport: httpTransport, Timeout: restTimeout},
		}),
	}
	d.reload = parts.metrics.reloads
	if err := d.openAdmin(cfg, parts); err != nil {
		return nil, errors.Join(err, engine.Close())
	}
	if err := d.sys.Start(actors.Spec{Name: "device", Lanes: actors.Lanes{Control: 64}, New: func() actor.Actor { return newRoot(parts, d.admin) }}); err != nil {
		return nil, errors.Join(fmt.Errorf("start device: %w", err), engine.Close())
	}
	return d, nil
}

// restTimeout bounds one REST call; the back-off of session and gatherer does the rest.
const restTimeout = 10 * time.Second

// parts is what the actors share and nobody writes. New settings come as new parts (settings.go).
type parts struct {
	cfg     Config
	sys     *actors.System
	engine  *rtc.Engine
	tls     *tls.Config
	aws     *aws.Client
	metrics *metrics
	stores  bool // of a session: its channel's media is stored
}

// forViewers are the parts of the session of the channel whose viewers are served; its media may be stored
// as well.
func (p *parts) forViewers() *parts {
	if p.cfg.StorageChannel == "" || p.cfg.storesApart() {
		return p
	}
	return p.forStorage()
}

// forStorage are the parts of the session of the channel whose media is stored.
func (p *parts) forStorage() *parts {
	own := *p
	own.cfg.Channel, own.stores = p.cfg.StorageChannel, true
	return &own
}

// unitsLane bounds the units that wait for encoder and for fan-out, which is none as a rule: they are
// handled on the source's thread.
const unitsLane = 16

// newRoot declares the children in the order in which they start: consumers first, so that whatever
// a later one publishes finds everybody.
func newRoot(p *parts, door *admin.Server) actor.Actor {
	r := &root{parts: p, door: door}
	child := func(name string, control int, make func(p *parts) actor.Actor) actors.Spec {
		return actors.Spec{Name: name, Lanes: actors.Lanes{Control: control}, New: func() actor.Actor { return make(r.parts) }}
	}
	onTheWay := func(s actors.Spec) actors.Spec { // of a frame
		s.Lanes.Frames, s.Lanes.Inline = unitsLane, true
		return s
	}
	var specs []actors.Spec
	if p.cfg.Sink != nil {
		specs = append(specs, child("sink", 128, func(p *parts) actor.Actor { return newSink(p) }))
	}
	if p.cfg.StorageChannel != "" {
		specs = append(specs, child("storage", 256, func(p *parts) actor.Actor { return newStorage(p) }))
	}
	specs = append(specs,
		child("hook", 32, func(p *parts) actor.Actor { return newHook(p) }),
		child("viewers", 256, func(p *parts) actor.Actor { return newViewers(p) }),
		onTheWay(child("fanout", 256, func(p *parts) actor.Actor { return newFanout(p) })),
		onTheWay(child("encoder", 32, func(p *parts) actor.Actor { return newEncoder(p) })),
		child("session", 256, func(p *parts) actor.Actor { return newSession(p.forViewers()) }),
		child("gatherer", 64, func(p *parts) actor.Actor { return newGatherer(p) }),
		child("credentials", 16, func(p *parts) actor.Actor { return newCredentials(p) }),
	)
	if p.cfg.storesApart() {
		specs = append(specs, child("storage-session", 256, func(p *parts) actor.Actor { return newSession(p.forStorage()) }))
	}
	r.keeper = actors.NewKeeper(p.sys, specs...)
	return r
}

// root keeps the fixed actors alive and owns the admin door. Whom it spawns has the newest settings.
type root struct {
	*parts
	door   *admin.Server
	keeper *actors.Keeper
	edges  *actors.Edges
}

// Receive implements actor.Actor.
func (r *root) Receive(ctx actor.Context) {
	if r.keeper.Receive(ctx) {
		return
	}
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		r.onStarted(ctx)
	case *actor.Stopping:
		r.edges.Close()
	case *messages.Settings:
		r.onSettings(ctx, msg)
	case *actors.EdgeEnded:
		r.sys.Fail(fmt.Errorf("serve %s: %w", msg.Edge.Name(), msg.Err))
	}
}

func (r *root) onStarted(ctx actor.Context) {
	r.edges = actors.NewEdges(r.sys, ctx)
	if r.door != nil {
		r.edges.Open("admin", func(e *actors.Edge) error { return r.door.Serve(e.Context()) })
	}
}

// Failed receives an error when the device cannot go on; the process should end then.
func (d *Device) Failed() <-chan error { return d.sys.Failed() }

// AdminAddr is the address of the admin door, empty when there is none.
func (d *Device) AdminAddr() string {
	if d.admin == nil {
		return ""
	}
	return d.admin.Addr()
}

// Session asks how the signaling session is.
func (d *Device) Session(ctx context.Context) (messages.SessionStatus, error) {
	return ask[messages.SessionStatus](ctx, d.sys, pathSession, &messages.SessionStatusWanted{})
}

// Census asks who is connected.
func (d *Device) Census(ctx context.Context) (messages.Census, error) {
	return ask[messages.Census](ctx, d.sys, pathViewers, &messages.CensusWanted{})
}

// Storage asks how the storage session is.
func (d *Device) Storage(ctx context.Context) (messages.StorageStatus, error) {
	return ask[messages.StorageStatus](ctx, d.sys, pathStorage, &messages.StorageStatusWanted{})
}

// Mailboxes returns the counters of every kind of actor.
func (d *Device) Mailboxes() []actors.MailboxStats { return d.sys.Mailboxes() }

// Ready is nil while the signaling session is open.
func (d *Device) Ready(ctx context.Context) error {
	s, err := d.Session(ctx)
	if err != nil {
		return err
	}
	if s.State != stateOpen {
		return fmt.Errorf("signaling session is %s: %s", s.State, s.LastError)
	}
	return nil
}

// Peers is the number of peer connections there are, the spare one included.
func (d *Device) Peers() int { return d.engine.Peers() }

// Stop closes every peer and the signaling session, and waits for it.
func (d *Device) Stop(ctx context.Context) error {
	err := d.sys.Stop(ctx)
	d.idle()
	return errors.Join(err, d.engine.Close())
}

func ask[T any](ctx context.Context, sys *actors.System, path string, msg any) (T, error) {
	reply, err := sys.Ask(ctx, path, msg)
	if err != nil {
		var zero T
		return zero, fmt.Errorf("ask %s: %w", path, err)
	}
	t, ok := reply.(*T)
	if !ok {
		var zero T
		return zero, fmt.Errorf("ask %s: unexpected reply %T", path, reply)
	}
	return *t, nil
}

func (d *Device) openAdmin(cfg Config, p *parts) error {
	if cfg.AdminListen == "" {
		return nil
	}
	door, err := admin.Listen(admin.Config{
		Listen: cfg.AdminListen, Log: cfg.Log.Named("admin"), Ready: d.Ready,
		Sessions: func(ctx context.Context) (any, error) { return d.sessions(ctx) },
		Metrics:  promhttp.HandlerFor(p.metrics.registry, promhttp.HandlerOpts{}),
	})
	if err != nil {
		return fmt.Errorf("open admin door: %w", err)
	}
	d.admin = door
	return nil
}

// Sessions is the document at /sessions.
type Sessions struct {
	Session   messages.SessionStatus  `json:"session"`
	Census    messages.Census         `json:"census"`
	Storage   *messages.StorageStatus `json:"storage,omitempty"`
	Mailboxes []actors.MailboxStats   `json:"mailboxes"`
}

func (d *Device) sessions(ctx context.Context) (Sessions, error) {
	session, err := d.Session(ctx)
	if err != nil {
		return Sessions{}, err
	}
	census, err := d.Census(ctx)
	if err != nil {
		return Sessions{}, err
	}
	all := Sessions{Session: session, Census: census, Mailboxes: d.sys.Mailboxes()}
	if d.stores {
		status, err := d.Storage(ctx)
		if err != nil {
			return Sessions{}, err
		}
		all.Storage = &status
	}
	return all, nil
}
