//go:build !linux

package rtc

import (
	"net"
	"net/netip"
)

// Without UDP_SEGMENT a batch gains nothing: every packet goes out by itself.

type sending struct {
	batches *batches
	hearers *hearers
	counts  sendCounts
}

func newSending() *sending { return &sending{batches: newBatches(), hearers: newHearers()} }

// sendCall is empty: nothing is ever collected.
type sendCall struct{}

// udpSocket counts what goes out.
type udpSocket struct {
	*net.UDPConn
	out *sending
}

func listenUDP(addr netip.AddrPort, out *sending) (*udpSocket, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(socketBufferBytes) // the kernel gives what it allows
	_ = conn.SetWriteBuffer(socketBufferBytes)
	return &udpSocket{UDPConn: conn, out: out}, nil
}

// ReadFromAddrPort and WriteToAddrPort implement ice.AddrPortReaderWriter.
func (s *udpSocket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	return s.ReadFromUDPAddrPort(b)
}

func (s *udpSocket) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	s.out.counts.calls.Add(1)
	n, err := s.WriteToUDPAddrPort(b, to)
	if err != nil {
		s.out.counts.lost.Add(1)
	}
	return n, err
}

func newRelaySocket(conn net.PacketConn, _ *sending) net.PacketConn { return conn }
