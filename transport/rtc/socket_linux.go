package rtc

// One UDP socket that the peers share. Go's poller, as it is, hears of every send that frees buffer
// space, and wakes up a thread for it: on a quiet device that costs more than the sends themselves
// (performance.md, "The C programs on the same machine"). So the poller watches an epoll set of ours,
// which knows of incoming datagrams alone (epoll(7) sets nest). Sends never wait.

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// udpSocket implements net.PacketConn and ice.AddrPortReaderWriter.
type udpSocket struct {
	local *net.UDPAddr
	out   *sending

	set   *os.File        // the epoll set
	ready syscall.RawConn // of the set: waits until there is something to read

	use    sync.RWMutex // held for reading while fd sends, for writing to close it
	fd     int
	closed bool
}

func listenUDP(addr netip.AddrPort, out *sending) (*udpSocket, error) {
	family := unix.AF_INET6
	if addr.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &udpSocket{fd: fd, out: out}
	if err := errors.Join(s.bind(addr), s.watch()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// watch makes the set and hands it to Go's poller.
func (s *udpSocket) watch() error {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(set, true); err != nil { // what os.NewFile takes for "can be polled"
		return errors.Join(os.NewSyscallError("fcntl", err), unix.Close(set))
	}
	s.set = os.NewFile(uintptr(set), "UDP socket's epoll set")
	if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	s.ready, err = s.set.SyscallConn()
	return err
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

// ReadFromAddrPort waits for a datagram, or for Close.
func (s *udpSocket) ReadFromAddrPort(b []byte) (n int, from netip.AddrPort, err error) {
	var sender unix.Sockaddr
	closed := s.ready.Read(func(uintptr) bool {
		n, sender, err = unix.Recvfrom(s.fd, b, 0)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	switch {
	case closed != nil:
		return 0, netip.AddrPort{}, net.ErrClosed
	case err != nil:
		return 0, netip.AddrPort{}, os.NewSyscallError("recvfrom", err)
	}
	return n, addrPort(sender), nil
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
	s.use.Lock()
	defer s.use.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.set != nil {
		_ = s.set.Close() // waits until the reader has left
	}
	return os.NewSyscallError("close", unix.Close(s.fd))
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
