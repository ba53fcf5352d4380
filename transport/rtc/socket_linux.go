package rtc

// One UDP socket that the peers share, outside of Go's poller. A thread blocks in recvfrom; sends go
// straight to the descriptor and never wait. Through the poller every send that frees buffer space
// wakes it up again, which on a quiet device costs more than the sends themselves (performance.md,
// "The C programs on the same machine").

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// udpSocket implements net.PacketConn and ice.AddrPortReaderWriter.
type udpSocket struct {
	local *net.UDPAddr
	out   *sending

	use    sync.RWMutex // held for reading while fd is in use, for writing to close it
	fd     int
	closed bool // guarded by use; set before fd is closed
	ending chan struct{}
	once   sync.Once
}

func listenUDP(addr netip.AddrPort, out *sending) (*udpSocket, error) {
	family := unix.AF_INET6
	if addr.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &udpSocket{fd: fd, out: out, ending: make(chan struct{})}
	if err := s.bind(addr); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return s, nil
}

func (s *udpSocket) bind(addr netip.AddrPort) error {
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketBufferBytes) // the kernel gives what it allows
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBufferBytes)
	if err := unix.Bind(s.fd, sockaddr(addr)); err != nil {
		return os.NewSyscallError("bind", err)
	}
	bound, err := unix.Getsockname(s.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	s.local = net.UDPAddrFromAddrPort(addrPort(bound))
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Unmap().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// ReadFromAddrPort blocks until a datagram comes or the socket is closed.
func (s *udpSocket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	s.use.RLock()
	defer s.use.RUnlock()
	for {
		if s.isEnding() {
			return 0, netip.AddrPort{}, net.ErrClosed
		}
		n, from, err := unix.Recvfrom(s.fd, b, 0)
		switch {
		case s.isEnding():
			return 0, netip.AddrPort{}, net.ErrClosed
		case err == nil:
			return n, addrPort(from), nil
		case err == unix.EINTR || err == unix.ECONNREFUSED: // the latter tells of an earlier send
		default:
			return 0, netip.AddrPort{}, os.NewSyscallError("recvfrom", err)
		}
	}
}

func (s *udpSocket) isEnding() bool {
	select {
	case <-s.ending:
		return true
	default:
		return false
	}
}

// WriteToAddrPort collects the packet into its viewer's open batch, or sends it now.
func (s *udpSocket) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if s.out.batches.collect(s, b, to) {
		return len(b), nil
	}
	s.use.RLock()
	defer s.use.RUnlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	s.out.counts.calls.Add(1)
	if err := unix.Sendto(s.fd, b, unix.MSG_DONTWAIT, sockaddr(to)); err != nil {
		s.out.counts.lost.Add(1)
		return 0, os.NewSyscallError("sendto", err)
	}
	return len(b), nil
}

// sendSegments implements segmentSender.
func (s *udpSocket) sendSegments(a *arena, segment int, to netip.AddrPort) error {
	s.use.RLock()
	defer s.use.RUnlock()
	if s.closed {
		return net.ErrClosed
	}
	a.send(s.fd, segment, to, s.out)
	return nil
}

// Close releases the reader and waits until nobody uses the descriptor any more.
func (s *udpSocket) Close() error {
	var err error
	s.once.Do(func() {
		close(s.ending)
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR) // fails on an unconnected socket, and wakes the reader all the same
		s.use.Lock()
		defer s.use.Unlock()
		s.closed = true
		err = os.NewSyscallError("close", unix.Close(s.fd))
	})
	return err
}

// ReadFrom and WriteTo make it a net.PacketConn; pion uses the methods above.
func (s *udpSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := s.ReadFromAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

func (s *udpSocket) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("no UDP address: " + to.String())
	}
	return s.WriteToAddrPort(b, addr.AddrPort())
}

func (s *udpSocket) LocalAddr() net.Addr { return s.local }

// Deadlines are for sockets that wait: a read ends with Close, a write never waits.
func (s *udpSocket) SetDeadline(time.Time) error      { return nil }
func (s *udpSocket) SetReadDeadline(time.Time) error  { return nil }
func (s *udpSocket) SetWriteDeadline(time.Time) error { return nil }
