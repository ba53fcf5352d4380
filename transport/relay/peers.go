// Relayed addresses, and which peers they may reach. A TURN server is a proxy into the network it
// stands in; RFC 8656 21.4 asks it to refuse what its clients have no business with. Owner: Relay.

package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
	"go.uber.org/zap"
)

const relaySocketBytes = 1 << 20 // receive buffer: a key frame's burst of some hundred packets

// side is what belongs to one listener: where its relayed sockets are bound and announced.
type side struct {
	relay         *Relay
	local, public netip.Addr
}

func (r *Relay) side(listening net.Addr, public netip.Addr) (*side, error) {
	at, err := netip.ParseAddrPort(listening.String())
	if err != nil {
		return nil, err
	}
	if !public.IsValid() {
		public = at.Addr()
	}
	if public = public.Unmap(); public.IsUnspecified() || !public.Is4() {
		return nil, fmt.Errorf("listen on %s: clients need an IPv4 address to reach the relay at: set the public IP or listen on one address", listening)
	}
	return &side{relay: r, local: at.Addr().Unmap(), public: public}, nil
}

// allowed is asked for every permission and channel binding.
func (s *side) allowed(_ net.Addr, peer net.IP) bool {
	ip, ok := netip.AddrFromSlice(peer)
	ip = ip.Unmap()
	switch {
	case !ok, ip.IsUnspecified(), ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		ok = false
	case ip.IsLinkLocalUnicast(): // the metadata service of every cloud lives there
		ok = false
	case ip.IsLoopback():
		ok = s.local.IsLoopback()
	}
	if !ok {
		s.relay.peersRefused.Add(1)
	}
	return ok
}

// Validate implements turn.RelayAddressGenerator.
func (s *side) Validate() error { return nil }

// AllocatePacketConn implements turn.RelayAddressGenerator.
func (s *side) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	if c.Network != "udp4" {
		return nil, nil, errors.New("relayed addresses are IPv4 only")
	}
	at := netip.AddrPortFrom(s.local, uint16(c.RequestedPort))
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, nil, fmt.Errorf("open relayed socket: %w", err)
	}
	_ = conn.SetReadBuffer(relaySocketBytes) // best effort: the kernel may cap it
	port := netip.MustParseAddrPort(conn.LocalAddr().String()).Port()
	return &relayedConn{PacketConn: conn, relay: s.relay}, net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.public, port)), nil
}

var errNoTCPRelay = errors.New("TCP allocations (RFC 6062) are not offered") // kvs-protocol.md 5

// AllocateListener implements turn.RelayAddressGenerator.
func (s *side) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNoTCPRelay
}

// AllocateConn implements turn.RelayAddressGenerator.
func (s *side) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errNoTCPRelay }

// relayedConn counts what passes a relayed address.
type relayedConn struct {
	net.PacketConn
	relay *Relay
}

func (c *relayedConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(p)
	c.relay.fromPeers.Add(uint64(n))
	return n, from, err
}

func (c *relayedConn) WriteTo(p []byte, to net.Addr) (int, error) {
	n, err := c.PacketConn.WriteTo(p, to)
	c.relay.toPeers.Add(uint64(n))
	return n, err
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
