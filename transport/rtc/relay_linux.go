package rtc

import (
	"net"
	"net/netip"
	"syscall"
)

// relaySocket is one peer's socket to a TURN server over UDP: RTP that goes out as ChannelData is
// batched like that of the shared sockets.
type relaySocket struct {
	*net.UDPConn
	out *sending
	raw syscall.RawConn

	// The batch that uses the socket fills these for write: there is one batch of its peer.
	packets *arena
	segment int
	to      netip.AddrPort
	write   func(fd uintptr) bool
}

func newRelaySocket(conn net.PacketConn, out *sending) net.PacketConn {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return conn
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return conn
	}
	s := &relaySocket{UDPConn: udp, out: out, raw: raw}
	s.write = func(fd uintptr) bool {
		s.packets.send(int(fd), s.segment, s.to, s.out)
		return true // never wait for room
	}
	return s
}

// WriteTo collects the packet into its viewer's open batch, or sends it now.
func (s *relaySocket) WriteTo(b []byte, to net.Addr) (int, error) {
	if addr, ok := to.(*net.UDPAddr); ok && s.out.batches.collect(s, b, addr.AddrPort()) {
		return len(b), nil
	}
	s.out.counts.calls.Add(1)
	return s.UDPConn.WriteTo(b, to)
}

// sendSegments implements segmentSender.
func (s *relaySocket) sendSegments(a *arena, segment int, to netip.AddrPort) error {
	s.packets, s.segment, s.to = a, segment, to
	err := s.raw.Write(s.write)
	s.packets = nil
	return err
}
