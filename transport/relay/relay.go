// Package relay is the STUN and TURN server of the service: RFC 8489 Binding, RFC 8656 allocations
// of UDP relayed addresses, over UDP and TCP, on pion/turn.
//
// Flow of one request: socket -> packetConn or framedConn (counts, remembers the request) ->
// pion/turn, which asks authorize (credentials.go), withinQuota (here) and allowed (peers.go) ->
// the same wrapper, where an error response gets its reason phrase (answers.go) -> socket.
//
// Owner: whoever called Listen. pion/turn runs one goroutine per socket and one per allocation;
// they end with Close.
package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/turn/v5"
	"go.uber.org/zap"
)

const (
	realmDefault = "heliograph"
	// AWS documents 50 allocations per channel (kvs-protocol.md 3.8). A browser makes one per URL
	// and network interface, so that ten viewers can pass 50; the default leaves them room.
	allocationsPerChannelDefault = 250
)

// Config says where to listen and whom to believe. At least one of UDP and TCP is needed.
type Config struct {
	UDP      string     // listen address "host:port", IPv4; empty = off, port 0 = any
	TCP      string     // as UDP
	PublicIP netip.Addr // address written into URLs and candidates; default: the listen address, which must then name one
	Secret   []byte     // shared by all nodes of a service; required
	Realm    string     // default "heliograph"
	// AllocationsPerChannel bounds the live allocations of one channel; 0 = 250, negative = none.
	AllocationsPerChannel int
	Log                   *zap.Logger

	now func() time.Time // tests only
}

// Stats are counters since Listen, except Allocations, which is the current number.
type Stats struct {
	Allocations   int    // live now
	Allocated     uint64 // made since the start
	AuthFailures  uint64 // unknown, expired or wrong credentials
	QuotaRefused  uint64 // allocations beyond AllocationsPerChannel
	PeersRefused  uint64 // permissions for addresses that are not relayed to
	ConnsRefused  uint64 // TCP connections beyond the limit
	FramesRefused uint64 // TCP streams ended because of a malformed or too long frame
	BytesToPeers  uint64 // payload relayed client -> peer
	BytesFrom     uint64 // payload relayed peer -> client
}

// Relay is a running server.
type Relay struct {
	// set by Listen, read only afterwards
	secret     []byte
	realm      string
	perChannel int
	log        *zap.Logger
	server     *turn.Server
	tcp        *listener
	urls       []string
	stunURL    string
	now        func() time.Time

	// any goroutine
	allocated, authFailures, quotaRefused, peersRefused atomic.Uint64
	connsRefused, framesRefused, toPeers, fromPeers     atomic.Uint64

	mu       sync.Mutex
	channels map[string]int // live allocations by channel
	closed   bool
}

// Listen opens the sockets and serves them until Close.
func Listen(cfg Config) (*Relay, error) {
	if len(cfg.Secret) == 0 {
		return nil, errors.New("listen relay: the shared secret is empty")
	}
	r := &Relay{
		secret: cfg.Secret, realm: cfg.Realm, perChannel: cfg.AllocationsPerChannel, log: cfg.Log,
		now: cfg.now, channels: map[string]int{},
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.realm == "" {
		r.realm = realmDefault
	}
	if r.perChannel == 0 {
		r.perChannel = allocationsPerChannelDefault
	}
	if r.log == nil {
		r.log = zap.NewNop()
	}
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
	r.log.Info("relay listens", zap.Strings("urls", r.urls))
	return r, nil
}

// open makes the sockets and adds them to the server's configuration.
func (r *Relay) open(cfg Config, server *turn.ServerConfig) error {
	if cfg.UDP != "" {
		conn, err := net.ListenPacket("udp4", cfg.UDP)
		if err != nil {
			return err
		}
		server.PacketConnConfigs = []turn.PacketConnConfig{{PacketConn: &packetConn{PacketConn: conn, relay: r}}}
		side, err := r.side(conn.LocalAddr(), cfg.PublicIP)
		if err != nil {
			return err
		}
		entry := &server.PacketConnConfigs[0]
		entry.RelayAddressGenerator, entry.PermissionHandler = side, side.allowed
		r.announce(conn.LocalAddr(), side.public, "udp")
	}
	if cfg.TCP != "" {
		inner, err := net.Listen("tcp4", cfg.TCP)
		if err != nil {
			return err
		}
		r.tcp = &listener{Listener: inner, relay: r, conns: map[*framedConn]struct{}{}}
		side, err := r.side(inner.Addr(), cfg.PublicIP)
		if err != nil {
			return errors.Join(err, inner.Close())
		}
		server.ListenerConfigs = []turn.ListenerConfig{{
			Listener: r.tcp, RelayAddressGenerator: side, PermissionHandler: side.allowed,
		}}
		r.announce(inner.Addr(), side.public, "tcp")
	}
	return nil
}

func (r *Relay) announce(listening net.Addr, public netip.Addr, transport string) {
	address := netip.AddrPortFrom(public, netip.MustParseAddrPort(listening.String()).Port())
	// kvs-protocol.md 7.4 (10): explicit port and transport, UDP first.
	r.urls = append(r.urls, fmt.Sprintf("turn:%s?transport=%s", address, transport))
	if r.stunURL == "" && transport == "udp" {
		r.stunURL = "stun:" + address.String()
	}
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
	err := r.server.Close()
	if r.tcp != nil {
		r.tcp.closeConns() // pion/turn closes the listener only
	}
	if err != nil {
		return fmt.Errorf("close relay: %w", err)
	}
	return nil
}

// URLs are the RTCIceServer URLs, UDP before TCP.
func (r *Relay) URLs() []string { return append([]string(nil), r.urls...) }

// StunURL is the URL for STUN Binding over UDP; empty when UDP is off.
func (r *Relay) StunURL() string { return r.stunURL }

// Stats reads the counters.
func (r *Relay) Stats() Stats {
	return Stats{
		Allocations: r.server.AllocationCount(), Allocated: r.allocated.Load(),
		AuthFailures: r.authFailures.Load(), QuotaRefused: r.quotaRefused.Load(),
		PeersRefused: r.peersRefused.Load(), ConnsRefused: r.connsRefused.Load(),
		FramesRefused: r.framesRefused.Load(),
		BytesToPeers:  r.toPeers.Load(), BytesFrom: r.fromPeers.Load(),
	}
}

// allocation counts a channel's live allocations.
func (r *Relay) allocation(username string, change int) {
	channel := channelOf(username)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.channels[channel] += change
	if r.channels[channel] <= 0 {
		delete(r.channels, channel)
	}
	if change > 0 {
		r.allocated.Add(1)
	}
}

func (r *Relay) withinQuota(username, _ string, _ net.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.perChannel < 0 || r.channels[channelOf(username)] < r.perChannel {
		return true
	}
	r.quotaRefused.Add(1)
	return false
}

func (r *Relay) onAuth(_, _ net.Addr, _, _, _, _ string, verdict bool) {
	if !verdict {
		r.authFailures.Add(1)
	}
}
