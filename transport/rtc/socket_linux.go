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
	"unsafe"

	"golang.org/x/sys/unix"
)

// udpSocket implements net.PacketConn and ice.AddrPortReaderWriter.
type udpSocket struct {
	local *net.UDPAddr
	out   *sending

	set   *os.File        // the epoll set
	ready syscall.RawConn // of the set: waits until there is something to read

	// the reader's
	receive  func(uintptr) bool // tryReceive
	buffer   []byte
	received int
	sender   rawAddress
	fault    syscall.Errno

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
	s.receive = s.tryReceive
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

// rawAddress is an address as the kernel reads and writes it (ip(7), ipv6(7)).
type rawAddress struct{ unix.RawSockaddrInet6 }

// set returns how many bytes the address takes.
func (a *rawAddress) set(to netip.AddrPort) uint32 {
	a.Port = networkOrder(to.Port())
	if ip := to.Addr().Unmap(); ip.Is4() {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		v4.Family, v4.Addr, v4.Zero = unix.AF_INET, ip.As4(), [8]byte{}
		return unix.SizeofSockaddrInet4
	}
	a.Family, a.Flowinfo, a.Scope_id, a.Addr = unix.AF_INET6, 0, 0, to.Addr().As16()
	return unix.SizeofSockaddrInet6
}

func (a *rawAddress) get() netip.AddrPort {
	if a.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(a)).Addr), networkOrder(a.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), networkOrder(a.Port))
}

// networkOrder turns a number into or out of network byte order, whatever this machine's is.
func networkOrder(n uint16) uint16 {
	b := [2]byte{byte(n >> 8), byte(n)}
	return *(*uint16)(unsafe.Pointer(&b))
}

// ReadFromAddrPort waits for a datagram, or for Close. It has one caller.
func (s *udpSocket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	s.buffer = b
	if closed := s.ready.Read(s.receive); closed != nil {
		return 0, netip.AddrPort{}, net.ErrClosed
	}
	if s.fault != 0 {
		return 0, netip.AddrPort{}, os.NewSyscallError("recvfrom", s.fault)
	}
	return s.received, s.sender.get(), nil
}

// tryReceive takes a datagram, or says that there is none yet.
func (s *udpSocket) tryReceive(uintptr) bool {
	for {
		size := uint32(unsafe.Sizeof(s.sender))
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(&s.buffer[0])), uintptr(len(s.buffer)),
			0, uintptr(unsafe.Pointer(&s.sender)), uintptr(unsafe.Pointer(&size)))
		if errno != unix.EINTR {
			s.received, s.fault = int(n), errno
			return errno != unix.EAGAIN
		}
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
	if err := s.send(b, to); err != nil {
		s.out.counts.lost.Add(1)
		return 0, os.NewSyscallError("sendto", err)
	}
	return len(b), nil
}

// send does not wait for room.
func (s *udpSocket) send(b []byte, to netip.AddrPort) error {
	if len(b) == 0 {
		return nil
	}
	var address rawAddress
	size := address.set(to)
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
			unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&address)), uintptr(size))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
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
