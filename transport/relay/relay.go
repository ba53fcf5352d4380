// Package relay is the STUN and TURN server of the service: RFC 8489 Binding, RFC 8656 allocations
// of UDP relayed addresses, over UDP, TCP, TLS and DTLS, on pion/turn and pion/dtls.
//
// Flow of one request: socket -> packetConn, which tells DTLS from STUN (datagrams.go), or
// framedConn, which tells TLS from TURN (sockets.go, secure.go); both count and remember the request
// -> pion/turn, which asks authorize (credentials.go), withinQuota (limits.go) and allowed (peers.go)
// -> the same wrapper, where an error response gets its reason phrase (answers.go) -> socket. Relayed
// payload passes relayedConn (peers.go), which holds it to the peer rules and the bandwidth.
//
// Owner: whoever called Listen. pion/turn runs one goroutine per socket, per stream and per
// allocation; they end with Close.
package relay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/turn/v5"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

const realmDefault = "heliograph"

// The ways from a client to the relay, as Stats and metrics name them.
const (
	overUDP  = "udp"
	overTCP  = "tcp"
	overTLS  = "tls"
	overDTLS = "dtls"
)

// Config says where to listen and whom to believe. At least one of UDP, TCP and TakesTLS is needed.
// Each address holds one family; IPv4 where it is a name or empty.
type Config struct {
	UDP string // listen address "host:port" of STUN, TURN and DTLS; empty = off, port 0 = any
	TCP string // of TURN and TLS; as UDP
	// Certificate turns TLS and DTLS on, on the same ports as TURN without: the first byte tells them
	// apart (RFC 7983), as on AWS, where all of it is port 443 (kvs-protocol.md 2.1).
	Certificate *tls.Certificate
	TakesTLS    bool // another door's socket gives its TURN streams to Take

	PublicIP  netip.Addr // address written into URLs and candidates; default: the listen address, which must then name one
	PublicIP6 netip.Addr // relayed addresses of the other family, for clients that ask for one (RFC 8656 7.2); default: none
	Secret    []byte     // shared by all nodes of a service; required
	Realm     string     // default "heliograph"

	// PrivatePeers lets clients reach private addresses (RFC 1918, 4193, 6598), as a LAN needs.
	PrivatePeers bool
	// AllocationsPerChannel bounds the live allocations of one channel; 0 = 250, negative = none.
	AllocationsPerChannel int
	// AllocationsPerCredential bounds those of one user name; 0 = 50, negative = none.
	AllocationsPerCredential int
	// BitsPerSecond bounds what one allocation relays, both ways together; 0 = 5,000,000, negative = none.
	BitsPerSecond int

	// Deny is asked before each allocation; nil, and false, let it be made. Any goroutine calls it.
	Deny func(User) bool

	Log *zap.Logger

	now func() time.Time // tests only
}

// Relay is a running server.
type Relay struct {
	// set by Listen, read only afterwards
	secret        []byte
	realm         string
	perChannel    int
	perCredential int
	bytesPerS     rate.Limit
	private       bool
	deny          func(User) bool
	log           *zap.Logger
	server        *turn.Server
	sides         []*side
	streams       []*listener
	datagrams     *packetConn
	secure        *queue // TLS streams on their way to pion/turn; nil: no TLS
	tlsConfig     *tls.Config
	own           []netip.AddrPort // listening addresses, as bound and as announced
	udp, tcp      netip.AddrPort   // as announced; not valid: off
	dtls          bool
	now           func() time.Time

	counters

	mu          sync.Mutex
	channels    map[string]int              // live allocations by channel
	credentials map[string]int              // by user name
	relayed     map[netip.AddrPort]struct{} // live relayed addresses, as announced
	closed      bool
}

// counters count since Listen; any goroutine.
type counters struct {
	allocated, authFailures, quotaRefused, peersRefused atomic.Uint64
	connsRefused, framesRefused, toPeers, fromPeers     atomic.Uint64
	overBandwidth, datagramsRefused, misdirected        atomic.Uint64
}

// Listen opens the sockets and serves them until Close.
func Listen(cfg Config) (*Relay, error) {
	if len(cfg.Secret) == 0 {
		return nil, errors.New("listen relay: the shared secret is empty")
	}
	r := newRelay(cfg)
	server := turn.ServerConfig{
		Realm: r.realm, AuthHandler: r.authorize, QuotaHandler: r.withinQuota,
		LoggerFactory: quietFactory{r.log}, InboundMTU: frameBytesMax + 1,
		EventHandler: turn.EventHandler{
			OnAuth:              r.onAuth,
			OnAllocationCreated: func(_, _ net.Addr, _, user, _ string, _ net.Addr, _ int) { r.allocation(user, 1) },
			OnAllocationDeleted: func(_, _ net.Addr, _, user, _ string) { r.allocation(user, -1) },
		},
	}
	if err := r.open(cfg, &server); err != nil {
		closeSockets(server)
		return nil, fmt.Errorf("listen relay: %w", err)
	}
	var err error
	if r.server, err = turn.NewServer(server); err != nil {
		closeSockets(server)
		return nil, fmt.Errorf("start relay: %w", err)
	}
	r.log.Info("relay listens", zap.Strings("urls", r.URLs()))
	return r, nil
}

func newRelay(cfg Config) *Relay {
	r := &Relay{
		secret: cfg.Secret, realm: cfg.Realm, private: cfg.PrivatePeers, deny: cfg.Deny, log: cfg.Log, now: cfg.now,
		perChannel:    orDefault(cfg.AllocationsPerChannel, allocationsPerChannelDefault),
		perCredential: orDefault(cfg.AllocationsPerCredential, allocationsPerCredentialDefault),
		bytesPerS:     rate.Inf,
		channels:      map[string]int{}, credentials: map[string]int{}, relayed: map[netip.AddrPort]struct{}{},
	}
	if bits := orDefault(cfg.BitsPerSecond, bitsPerSecondDefault); bits > 0 {
		r.bytesPerS = rate.Limit(bits) / 8
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.deny == nil {
		r.deny = func(User) bool { return false }
	}
	if r.realm == "" {
		r.realm = realmDefault
	}
	if r.log == nil {
		r.log = zap.NewNop()
	}
	return r
}

// open makes the sockets and adds them to the server's configuration.
func (r *Relay) open(cfg Config, server *turn.ServerConfig) error {
	if cfg.Certificate != nil && (cfg.TCP != "" || cfg.TakesTLS) {
		r.tlsConfig = &tls.Config{Certificates: []tls.Certificate{*cfg.Certificate}, MinVersion: tls.VersionTLS12}
		r.secure = newQueue()
	}
	if cfg.UDP != "" {
		if err := r.openUDP(cfg, server); err != nil {
			return err
		}
	}
	if cfg.TCP != "" {
		if err := r.openTCP(cfg, server); err != nil {
			return err
		}
	}
	if r.secure == nil {
		return nil
	}
	// A stream that was found to be TLS is served apart, so that it is counted apart.
	at := r.tcp
	if !at.IsValid() {
		if at = r.udp; !at.IsValid() {
			return errors.New("TLS streams of another door need a UDP or TCP listener of the relay's own")
		}
	}
	r.secure.at = net.TCPAddrFromAddrPort(at)
	like := r.sides[len(r.sides)-1]
	r.serveStreams(server, r.secure, like.secured(overTLS))
	return nil
}

func (r *Relay) openUDP(cfg Config, server *turn.ServerConfig) error {
	inner, err := net.ListenPacket("udp"+family(cfg.UDP), cfg.UDP)
	if err != nil {
		return err
	}
	r.datagrams = &packetConn{PacketConn: inner, relay: r}
	server.PacketConnConfigs = []turn.PacketConnConfig{{PacketConn: r.datagrams}}
	s, err := r.side(overUDP, inner.LocalAddr(), cfg)
	if err != nil {
		return err
	}
	entry := &server.PacketConnConfigs[0]
	entry.RelayAddressGenerator, entry.PermissionHandler = s, s.allowed
	r.sides = append(r.sides, s)
	r.udp = r.announce(s)
	if cfg.Certificate == nil {
		return nil
	}
	sessions, err := r.datagrams.listenDTLS(*cfg.Certificate)
	if err != nil {
		return fmt.Errorf("serve DTLS: %w", err)
	}
	r.dtls = true
	r.serveStreams(server, sessions, s.secured(overDTLS))
	return nil
}

func (r *Relay) openTCP(cfg Config, server *turn.ServerConfig) error {
	inner, err := net.Listen("tcp"+family(cfg.TCP), cfg.TCP)
	if err != nil {
		return err
	}
	s, err := r.side(overTCP, inner.Addr(), cfg)
	if err != nil {
		return errors.Join(err, inner.Close())
	}
	r.tcp = r.announce(s)
	r.serveStreams(server, inner, s)
	return nil
}

func (r *Relay) serveStreams(server *turn.ServerConfig, inner net.Listener, s *side) {
	r.sides = append(r.sides, s)
	l := &listener{Listener: inner, relay: r, over: s.over, conns: map[*framedConn]struct{}{}}
	r.streams = append(r.streams, l)
	server.ListenerConfigs = append(server.ListenerConfigs, turn.ListenerConfig{
		Listener: l, RelayAddressGenerator: s, PermissionHandler: s.allowed,
	})
}

// announce notes an address that clients reach the relay at.
func (r *Relay) announce(s *side) netip.AddrPort {
	at := netip.AddrPortFrom(s.announced(), s.listen.Port())
	r.own = append(r.own, at, s.listen)
	if s.listen.Addr().IsUnspecified() {
		addresses, _ := net.InterfaceAddrs() // what cannot be listed is not reached either
		for _, a := range addresses {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				r.own = append(r.own, netip.AddrPortFrom(prefix.Addr().Unmap(), s.listen.Port()))
			}
		}
	}
	return at
}

func closeSockets(server turn.ServerConfig) {
	for _, c := range server.PacketConnConfigs {
		_ = c.PacketConn.Close()
	}
	for _, c := range server.ListenerConfigs {
		_ = c.Listener.Close()
	}
}

// Close ends all allocations and closes the sockets. Idempotent.
func (r *Relay) Close() error {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	if closed {
		return nil
	}
	for _, l := range r.streams {
		l.closeConns() // pion/turn closes the listeners only; DTLS says goodbye while the socket is there
	}
	if err := r.server.Close(); err != nil {
		return fmt.Errorf("close relay: %w", err)
	}
	return nil
}

func orDefault(value, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return value
}

// family is the last letter of the network that a listen address belongs to.
func family(address string) string {
	if at, err := netip.ParseAddrPort(address); err == nil && at.Addr().Is6() && !at.Addr().Is4In6() {
		return "6"
	}
	return "4"
}
