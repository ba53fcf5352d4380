// Relayed addresses, and which peers they may reach. A TURN server is a proxy into the network it
// stands in; RFC 8656 21.4 asks it to refuse what its clients have no business with. Owner: Relay.

package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

const relaySocketBytes = 1 << 20 // receive buffer: a key frame's burst of some hundred packets

// side is what belongs to one way in: where its relayed sockets are bound and announced.
type side struct {
	relay    *Relay
	over     string
	listen   netip.AddrPort
	families map[string]bound // by "udp4", "udp6"; what is not there is not offered

	live atomic.Int64
	made atomic.Uint64
}

// bound is an address of relayed sockets, as bound here and as announced.
type bound struct{ local, public netip.Addr }

func (r *Relay) side(over string, listening net.Addr, cfg Config) (*side, error) {
	at, err := netip.ParseAddrPort(listening.String())
	if err != nil {
		return nil, err
	}
	at = netip.AddrPortFrom(at.Addr().Unmap().WithZone(""), at.Port())
	s := &side{relay: r, over: over, listen: at, families: map[string]bound{}}
	for _, public := range []netip.Addr{cfg.PublicIP, cfg.PublicIP6} {
		if public = public.Unmap(); public.IsValid() && !public.IsUnspecified() {
			s.families[network(public)] = bound{s.localFor(public), public}
		}
	}
	own := network(at.Addr())
	if _, set := s.families[own]; !set {
		if at.Addr().IsUnspecified() {
			return nil, fmt.Errorf("listen on %s: clients need an address of that family to reach the relay at: set the public IP or listen on one address", listening)
		}
		s.families[own] = bound{at.Addr(), at.Addr()}
	}
	return s, nil
}

// secured is the same place for those who come by another way.
func (s *side) secured(over string) *side {
	return &side{relay: s.relay, over: over, listen: s.listen, families: s.families}
}

// localFor is where the sockets of an announced address are bound: with the listener, where the
// family is its own; the other family everywhere, for the address may be that of a NAT.
func (s *side) localFor(public netip.Addr) netip.Addr {
	switch {
	case network(public) == network(s.listen.Addr()):
		return s.listen.Addr()
	case public.IsLoopback():
		return public
	case public.Is4():
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func network(a netip.Addr) string {
	if a.Is4() {
		return "udp4"
	}
	return "udp6"
}

// announced is the address that clients reach the listener at.
func (s *side) announced() netip.Addr { return s.families[network(s.listen.Addr())].public }

var (
	sharedRange   = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598: behind a carrier's NAT
	thisNetwork   = netip.MustParsePrefix("0.0.0.0/8")     // RFC 1122 3.2.1.3: some systems take it for themselves
	reservedRange = netip.MustParsePrefix("240.0.0.0/4")   // RFC 1112 4, broadcast in it
	translated    = netip.MustParsePrefix("64:ff9b::/96")  // RFC 6052: the IPv4 address is the last four bytes
	sixToFour     = netip.MustParsePrefix("2002::/16")     // RFC 3056: it follows the prefix
	compatible    = netip.MustParsePrefix("::/96")         // RFC 4291 2.5.5.1, deprecated; ::1 in it
)

// allowed is asked for every permission and channel binding.
func (s *side) allowed(_ net.Addr, peer net.IP) bool {
	ip, ok := netip.AddrFromSlice(peer)
	if ok = ok && s.permits(inner(ip.Unmap())); !ok {
		s.relay.peersRefused.Add(1)
	}
	return ok
}

// inner is the IPv4 address that some IPv6 addresses lead to.
func inner(ip netip.Addr) netip.Addr {
	b := ip.As16()
	switch {
	case ip.Is6() && (translated.Contains(ip) || compatible.Contains(ip) && !ip.IsLoopback() && !ip.IsUnspecified()):
		return netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return ip
}

func (s *side) permits(ip netip.Addr) bool {
	switch {
	case ip.IsUnspecified(), ip.IsMulticast(), thisNetwork.Contains(ip), reservedRange.Contains(ip):
		return false
	case ip.IsLinkLocalUnicast(): // the metadata service of every cloud lives there
		return false
	case ip.IsLoopback():
		return s.listen.Addr().IsLoopback()
	case s.announces(ip): // other relayed addresses are there; which ports, relayedConn decides
		return true
	case ip.IsPrivate(), sharedRange.Contains(ip):
		return s.relay.private
	}
	return true
}

func (s *side) announces(ip netip.Addr) bool {
	return s.families["udp4"].public == ip || s.families["udp6"].public == ip
}

// reaches says whether datagrams may pass between a relayed address and this peer. The relay's own
// listening addresses never are peers, and at its announced address only relayed addresses are.
func (s *side) reaches(peer netip.AddrPort) bool {
	for _, own := range s.relay.own {
		if peer == own {
			return false
		}
	}
	if peer.Addr().IsLoopback() || !s.announces(peer.Addr()) {
		return true
	}
	s.relay.mu.Lock()
	defer s.relay.mu.Unlock()
	_, live := s.relay.relayed[peer]
	return live
}

// Validate implements turn.RelayAddressGenerator.
func (s *side) Validate() error { return nil }

// AllocatePacketConn implements turn.RelayAddressGenerator.
func (s *side) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	at, offered := s.families[c.Network]
	if !offered {
		return nil, nil, fmt.Errorf("no relayed addresses of %s", c.Network)
	}
	conn, err := net.ListenUDP(c.Network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.local, uint16(c.RequestedPort))))
	if err != nil {
		return nil, nil, fmt.Errorf("open relayed socket: %w", err)
	}
	_ = conn.SetReadBuffer(relaySocketBytes) // best effort: the kernel may cap it
	port := netip.MustParseAddrPort(conn.LocalAddr().String()).Port()
	relayed := &relayedConn{UDPConn: conn, side: s, public: netip.AddrPortFrom(at.public, port), bucket: s.relay.bucket()}
	if c.UserID != "" { // pion/turn looks for an even port without one
		relayed.open()
	}
	return relayed, net.UDPAddrFromAddrPort(relayed.public), nil
}

var errNoTCPRelay = errors.New("TCP allocations (RFC 6062) are not offered") // kvs-protocol.md 5

// AllocateListener implements turn.RelayAddressGenerator.
func (s *side) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNoTCPRelay
}

// AllocateConn implements turn.RelayAddressGenerator.
func (s *side) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errNoTCPRelay }

// relayedConn is a relayed address. It counts what passes, and drops what may not.
type relayedConn struct {
	*net.UDPConn
	side   *side
	public netip.AddrPort
	bucket *rate.Limiter
	listed atomic.Bool // among the relay's live ones
}

func (c *relayedConn) open() {
	r := c.side.relay
	c.listed.Store(true)
	c.side.live.Add(1)
	c.side.made.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.relayed[c.public] = struct{}{}
}

func (c *relayedConn) Close() error {
	if c.listed.Swap(false) {
		r := c.side.relay
		c.side.live.Add(-1)
		r.mu.Lock()
		delete(r.relayed, c.public)
		r.mu.Unlock()
	}
	return c.UDPConn.Close()
}

func (c *relayedConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.UDPConn.ReadFromUDPAddrPort(p)
		if err != nil {
			return n, nil, err
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if c.passes(n, from) {
			c.side.relay.fromPeers.Add(uint64(n))
			return n, net.UDPAddrFromAddrPort(from), nil
		}
	}
}

// WriteTo drops as a network does: without an error.
func (c *relayedConn) WriteTo(p []byte, to net.Addr) (int, error) {
	peer, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("relay to %T: not a UDP address", to)
	}
	at := peer.AddrPort()
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	if !c.passes(len(p), at) {
		return len(p), nil
	}
	n, err := c.UDPConn.WriteToUDPAddrPort(p, at)
	c.side.relay.toPeers.Add(uint64(n))
	return n, err
}

func (c *relayedConn) passes(size int, peer netip.AddrPort) bool {
	switch {
	case !c.side.reaches(peer):
		c.side.relay.misdirected.Add(1)
		return false
	case !c.bucket.AllowN(c.side.relay.now(), size):
		c.side.relay.overBandwidth.Add(1)
		return false
	}
	return true
}

// quietFactory lets pion/turn's errors through as debug lines only: a client causes most of them,
// at any rate it likes, and they can hold user names. The counters in Stats are the report.
type quietFactory struct{ log *zap.Logger }

func (f quietFactory) NewLogger(scope string) logging.LeveledLogger {
	return quietLogger{f.log.Named(scope)}
}

type quietLogger struct{ log *zap.Logger }

func (quietLogger) Trace(string)           {}
func (quietLogger) Tracef(string, ...any)  {}
func (quietLogger) Debug(string)           {}
func (quietLogger) Debugf(string, ...any)  {}
func (quietLogger) Info(string)            {}
func (quietLogger) Infof(string, ...any)   {}
func (quietLogger) Warn(string)            {}
func (quietLogger) Warnf(string, ...any)   {}
func (l quietLogger) Error(message string) { l.log.Debug(message) }
func (l quietLogger) Errorf(format string, args ...any) {
	l.log.Debug(fmt.Sprintf(format, args...))
}
