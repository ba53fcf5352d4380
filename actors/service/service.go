// Package service is the KVS-compatible service as a tree of actors.
//
//	service                    keeps the tree, serves the listeners, lodges channels (root.go)
//	├── relay                  STUN/TURN (relay.go)
//	├── registry               the control plane's rules over the backplane's store (registry.go)
//	├── faults                 what a test makes go wrong (faults.go)
//	├── keywatch               replaces the access keys when their files change (keywatch.go)
//	├── channel-<id>           the connections of one channel on this node (channel.go)
//	│   └── connection-<id>    one websocket (connection.go) or one WHEP session (whep.go)
//	└── ingest-<channel id>    the storage session of one channel (ingest.go)
//
// The flow of Start: data directory, keys, authority, backplane, listeners, tree, relay; each step
// says what to do when it fails. Stop goes back the same way. Requests enter by door.go, the only
// place that asks; everything behind it tells. The backplane is the only truth for channels,
// presence and undelivered messages; the actors own sockets, nothing else.
package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/media/recorder"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/admin"
	"github.com/heliograph-rtc/heliograph/transport/api"
	"github.com/heliograph-rtc/heliograph/transport/api/page"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// Off as an address turns a listener off.
const Off = "off"

// Config says where and how to serve. The zero value is a service on the default loopback ports
// that keeps nothing.
type Config struct {
	Dir        string // data directory; empty: nothing is kept
	Region     string // default us-west-2
	Account    string // 12 digits; default 000000000000
	Public     string // HTTPS listener; default 127.0.0.1:8443; port 0 takes a free one
	Local      string // loopback HTTP listener; default 127.0.0.1:8080
	PublicName string // host[:port] to name in endpoints; default: the Host of each request
	RelayUDP   string // default 127.0.0.1:3478; "off": none
	RelayTCP   string // default 127.0.0.1:3478; "off": none
	RelayIP    string // address that clients reach the relay at; default: the listeners'
	Relay      RelayConfig
	AWSNames   string   // region whose AWS host names the service answers to; it is the Region then; default: none
	NATS       string   // URL of an external cluster; default: embedded
	Node       string   // unique in the cluster; default random
	WhepToken  string   // bearer token for WHEP and page on the public listener
	Origins    []string // further origins whose pages may use WHEP
	Limits     Limits
	KeyFile    string                       // fixes the first access key (keys.go); empty: the generated one
	IoT        string                       // listener of the IoT credentials provider; empty or "off": none
	Faults     string                       // Unix socket that takes faults (faults.go); empty: none, and no fault ever
	IngestTap  func(channel string) rtc.Tap // sees what masters send into storage sessions, as it passes; default: nobody
	Segment    time.Duration                // how long a file of a recording lasts; default 30 s
	KeysPoll   time.Duration                // how often changed keys are looked for; default 1 s
	Log        *zap.Logger
}

func (c Config) withDefaults() Config {
	def := func(p *string, value string) {
		if *p == "" {
			*p = value
		}
	}
	def(&c.Region, "us-west-2")
	def(&c.Account, "000000000000")
	def(&c.Public, "127.0.0.1:8443")
	def(&c.Local, "127.0.0.1:8080")
	def(&c.RelayUDP, "127.0.0.1:3478")
	def(&c.RelayTCP, "127.0.0.1:3478")
	def(&c.Node, newToken())
	if c.KeysPoll == 0 {
		c.KeysPoll = keysPollDefault
	}
	c.Limits = c.Limits.withDefaults()
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c
}

// Service is a running service.
type Service struct {
	PublicURL   string // https://host:port, the control plane's endpoint
	LocalURL    string // http://host:port, page and admin
	Region      string
	CA          *x509.CertPool
	CAPEM       []byte
	Credentials messages.Credentials
	RelayURLs   []string // turn:…; empty when the relay is off
	StunURL     string
	EnvFile     string // for a shell to source; empty when nothing is kept
	HTTPSAddr   string // where the public door listens, host:port
	HostsLine   string // for a hosts file; empty without AWS's names
	HostsFile   string // where that line stands; empty when nothing is kept
	IoTEndpoint string // host[:port] of the credentials provider; empty: none

	sys       *actors.System
	back      *backplane.Backplane
	door      *door
	listeners *listeners
}

// world is what the actors of one service share. Nothing in it is written after Start, but for what is
// atomic and the library, which guards itself.
type world struct {
	cfg     Config
	sys     *actors.System
	back    *backplane.Backplane
	keys    *keystore
	faults  atomic.Pointer[faultset] // nil: none stand; the actor faults writes it
	limits  Limits
	metrics *metrics
	names   api.Names // AWS's host names; zero: none
	library recorder.Library

	certificate *tls.Certificate // of both doors and the relay; set before the tree starts
}

type listeners struct {
	public *api.Listener
	local  *admin.Server
	iot    *api.Listener // nil: none
	faults *api.Listener // nil: none
}

func (l *listeners) close() {
	if l.public != nil {
		_ = l.public.Close()
	}
	if l.local != nil {
		_ = l.local.Close()
	}
	if l.iot != nil {
		_ = l.iot.Close()
	}
	if l.faults != nil {
		_ = l.faults.Close()
	}
}

// Start starts a service and returns when it answers. ctx bounds the start only.
func Start(ctx context.Context, cfg Config) (_ *Service, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	names, err := cfg.awsNames()
	if err != nil {
		return nil, err
	}
	kept, err := openKeys(cfg.Dir, cfg.KeyFile, cfg.Account, cfg.Limits)
	if err != nil {
		return nil, err
	}
	s := &Service{Region: cfg.Region, Credentials: kept.ring.Load().first, listeners: &listeners{}}
	defer func() {
		if err != nil {
			s.undo()
		}
	}()
	s.back, err = backplane.Open(ctx, backplane.Config{Dir: storeDir(cfg.Dir), URL: cfg.NATS, Node: cfg.Node, Log: cfg.Log})
	if err != nil {
		return nil, fmt.Errorf("open backplane: %w", err)
	}
	s.sys = actors.NewSystem("service", cfg.Log)
	w := &world{cfg: cfg, sys: s.sys, back: s.back, keys: kept, limits: cfg.Limits, metrics: newMetrics(s.sys, s.back), names: names}
	s.door = &door{w}
	if err := s.listen(w); err != nil {
		return nil, err
	}
	err = s.sys.Start(actors.Spec{Name: rootPath, Lanes: actors.Lanes{Control: 1024}, New: func() actor.Actor { return newRoot(w, s.listeners) }})
	if err != nil {
		return nil, err
	}
	turn, err := s.door.relay(ctx)
	if err != nil {
		return nil, fmt.Errorf("start relay (--relay-udp, --relay-tcp): %w", err)
	}
	s.RelayURLs, s.StunURL = turn.Direct.URLs, turn.StunURL
	return s, errors.Join(s.writeEnv(cfg.Dir), s.writeHosts(w))
}

func (c Config) check() error {
	if len(c.Account) != 12 || strings.Trim(c.Account, "0123456789") != "" {
		return errors.New("--account must have 12 digits")
	}
	if _, err := netip.ParseAddr(c.RelayIP); err != nil && c.RelayIP != "" {
		return fmt.Errorf("--relay-ip must be an address: %w", err)
	}
	if err := errors.Join(c.Relay.check(), c.Limits.check()); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(c.Public)
	if err != nil {
		return fmt.Errorf("--public must be host:port: %w", err)
	}
	if c.WhepToken == "" && !loopback(host) {
		return fmt.Errorf("%s is reachable from other machines: page and WHEP need no AWS key, so set --whep-token (a secret of your choice) or listen on 127.0.0.1", c.Public)
	}
	return nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// doorsOf says how both doors answer.
func doorsOf(w *world, id api.Identity) api.Config {
	return api.Config{
		Backend:   &door{w},
		Disturb:   w.disturb,
		Now:       w.now,
		Verifier:  &aws.Verifier{Region: w.cfg.Region, Key: w.keys.find, Now: w.now, SkewMax: w.limits.SkewMax, ExpiresMax: w.limits.PresignMax},
		Page:      page.Handler(),
		PageHosts: id.Names,
		Origins:   w.cfg.Origins,
		WhepToken: w.cfg.WhepToken,
		PublicURL: w.cfg.PublicName,
		Names:     w.names,
		Refused:   w.metrics.refusal,
		Log:       w.cfg.Log.Named("api"),
	}
}

func (s *Service) listenFaults(cfg Config) (err error) {
	if cfg.Faults != "" {
		s.listeners.faults, err = api.ListenFaults(cfg.Faults, s.door, cfg.Log.Named("faults"))
	}
	return err
}

// listen binds both doors; nothing is answered before the tree runs.
func (s *Service) listen(w *world) error {
	id := identity(w.cfg)
	authority, err := api.OpenAuthority(w.cfg.Dir, certify(w.cfg, w.names, id))
	if err != nil {
		return err
	}
	cert, err := authority.Issue(certify(w.cfg, w.names, id))
	if err != nil && w.names.On() {
		return fmt.Errorf("--aws-names %s: %w", w.names.Region(), err)
	}
	if err != nil {
		return err
	}
	w.certificate = &cert
	s.CA, s.CAPEM = authority.Pool(), authority.PEM()
	doors := doorsOf(w, id)
	s.listeners.public, err = api.ListenTLS(w.cfg.Public, cert, api.Public(doors), w.cfg.Log)
	if err != nil {
		return fmt.Errorf("open the public door (choose another address with --public): %w", err)
	}
	if w.names.On() {
		s.listeners.public.Divert(s.door.takeTurn, w.cfg.Log.Named("api"))
	}
	s.listeners.local, err = admin.Listen(admin.Config{
		Listen:   w.cfg.Local,
		Ready:    s.door.ready,
		Sessions: s.door.sessions,
		Metrics:  promhttp.HandlerFor(w.metrics.registry, promhttp.HandlerOpts{}),
		Extra:    api.Local(doors),
		Log:      w.cfg.Log.Named("admin"),
	})
	if err != nil {
		return fmt.Errorf("open the local door (choose another address with --local): %w", err)
	}
	if err := s.listenIoT(w, cert); err != nil {
		return fmt.Errorf("open the devices' door (choose another address with --iot): %w", err)
	}
	if err := s.listenFaults(w.cfg); err != nil {
		return fmt.Errorf("open the fault socket (choose another path with --fault-socket): %w", err)
	}
	s.PublicURL = "https://" + reachable(s.listeners.public.Addr())
	s.HTTPSAddr = s.listeners.public.Addr().String()
	if name := w.cfg.PublicName; name != "" {
		s.PublicURL = "https://" + name
	}
	if w.names.On() {
		s.PublicURL = "https://" + w.names.Control()
	}
	s.LocalURL = "http://" + strings.Replace(s.listeners.local.Addr(), "127.0.0.1:", "localhost:", 1)
	return nil
}

// reachable is an address as a client on this machine writes it.
func reachable(a *net.TCPAddr) string {
	addr := a.AddrPort().Addr().Unmap()
	if addr.IsUnspecified() {
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(addr, uint16(a.Port)).String()
}

// Failed receives once when the service cannot go on.
func (s *Service) Failed() <-chan error { return s.sys.Failed() }

// Ready is nil when the store and the relay answer.
func (s *Service) Ready(ctx context.Context) error { return s.door.ready(ctx) }

// Mailboxes gives the statistics of the tree.
func (s *Service) Mailboxes() []actors.MailboxStats { return s.sys.Mailboxes() }

// Stop closes the doors, says goodbye to every socket, and closes the store.
func (s *Service) Stop(ctx context.Context) error {
	err := s.sys.Stop(ctx)
	s.listeners.close()
	return errors.Join(err, s.back.Close())
}

// undo takes back what a failed Start has done so far.
func (s *Service) undo() {
	if s.sys != nil {
		wait, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.sys.Stop(wait)
	}
	s.listeners.close()
	if s.back != nil {
		_ = s.back.Close()
	}
}

func storeDir(dir string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "store")
}
