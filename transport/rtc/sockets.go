package rtc

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"go.uber.org/zap"
)

// addressGoneMax is how long the socket of an address that the machine no longer has is kept. An
// address often comes back within seconds (Wi-Fi roaming), and viewers on it then go on.
const addressGoneMax = time.Minute

// refreshEvery spares viewers that come together a look at the machine's addresses each.
const refreshEvery = 100 * time.Millisecond

// socketBufferBytes is asked of the kernel for each socket: a key frame to ten viewers at once.
const socketBufferBytes = 1 << 20

// sockets are the UDP sockets that all peers' host candidates share, one per local address: a
// socket on an unspecified address would let the kernel choose the source address of each answer,
// and ICE tells pairs apart by it. It is the ice.UDPMux of every peer.
//
// Addresses come and go while a device runs, so refresh looks before each offer is answered.
type sockets struct {
	bind     netip.AddrPort // as configured; unspecified: every local address
	loopback bool
	out      *sending
	log      *zap.Logger

	mu     sync.Mutex
	filter InterfaceFilter
	other  bool      // the filter is newer than latest
	latest time.Time // refresh
	open   map[netip.Addr]*socket
	closed bool
}

type socket struct {
	*ice.UDPMuxDefault
	conn *askingConn
	seen time.Time // when the address was last for new viewers
	had  time.Time // when the machine last had it
}

func openSockets(cfg EngineConfig, out *sending) (*sockets, error) {
	listen := cfg.ListenUDP
	if listen == "" {
		listen = ":0"
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("parse UDP listen address: %w", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("parse UDP port %q: not a number from 0 to 65535", port)
	}
	addr := netip.IPv6Unspecified() // both families
	if host != "" {
		if addr, err = netip.ParseAddr(host); err != nil {
			return nil, fmt.Errorf("parse UDP listen host %q: use an IP address or nothing", host)
		}
	}
	s := &sockets{
		bind: netip.AddrPortFrom(addr.Unmap(), uint16(number)), loopback: cfg.IncludeLoopback, out: out, log: cfg.Log,
		filter: cfg.Interfaces, open: map[netip.Addr]*socket{},
	}
	return s, s.refresh(time.Now())
}

// refresh opens sockets for addresses that are new and closes those of addresses long gone. It
// fails only when an address was asked for by name, because a device without any network address
// yet will get one.
func (s *sockets) refresh(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if since := now.Sub(s.latest); !s.other && since >= 0 && since < refreshEvery {
		return nil
	}
	addresses, excluded, err := s.addresses()
	if err != nil {
		return fmt.Errorf("list network addresses: %w", err)
	}
	s.latest, s.other = now, false
	for _, addr := range excluded { // by a filter that may be newer than its viewers
		if known, ok := s.open[addr]; ok {
			known.had = now
		}
	}
	for _, addr := range addresses {
		if known, ok := s.open[addr]; ok {
			known.seen, known.had = now, now
			continue
		}
		conn, err := listenUDP(netip.AddrPortFrom(addr, s.bind.Port()), s.out)
		if err != nil {
			if !s.bind.Addr().IsUnspecified() {
				return fmt.Errorf("listen on UDP %s: %w", s.bind, err)
			}
			s.log.Warn("cannot listen on a network address; viewers will not reach the device there",
				zap.Stringer("address", addr), zap.Error(err))
			continue
		}
		asking := &askingConn{udpSocket: conn}
		mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: asking, Logger: stackLog{s.log}.NewLogger("mux")})
		s.open[addr] = &socket{UDPMuxDefault: mux, conn: asking, seen: now, had: now}
	}
	for addr, known := range s.open {
		if now.Sub(known.had) > addressGoneMax {
			_ = known.Close()
			delete(s.open, addr)
		}
	}
	return nil
}

// addresses lists the local addresses to listen on, and those that the filter excludes. Link-local IPv6
// addresses are left out: they need a zone, which a candidate cannot carry.
func (s *sockets) addresses() (found, excluded []netip.Addr, err error) {
	if !s.bind.Addr().IsUnspecified() {
		return []netip.Addr{s.bind.Addr()}, nil, nil
	}
	interfaces, err := s.up()
	if err != nil {
		return nil, nil, err
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue // the interface went away meanwhile
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			addr := prefix.Addr().Unmap()
			if err != nil || addr.IsLinkLocalUnicast() && addr.Is6() || s.bind.Addr().Is4() && !addr.Is4() {
				continue
			}
			if s.filter.takes(i.Name) {
				found = append(found, addr)
			} else {
				excluded = append(excluded, addr)
			}
		}
	}
	return found, excluded, nil
}

// up lists the interfaces that sockets may be opened on, whatever the filter says.
func (s *sockets) up() ([]net.Interface, error) {
	interfaces, err := net.Interfaces()
	return slices.DeleteFunc(interfaces, func(i net.Interface) bool {
		return i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 && !s.loopback
	}), err
}

// interfaces lists those that the filter takes; none when that is not to be known.
func (s *sockets) interfaces() []net.Interface {
	s.mu.Lock()
	filter := s.filter
	s.mu.Unlock()
	up, _ := s.up()
	return slices.DeleteFunc(up, func(i net.Interface) bool { return !filter.takes(i.Name) })
}

// current returns the sockets whose address the machine had at the last refresh.
func (s *sockets) current() []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	var now []*socket
	for _, known := range s.open {
		if known.seen.Equal(s.latest) {
			now = append(now, known)
		}
	}
	return now
}

// locals returns the addresses of the current sockets in order.
func (s *sockets) locals() []netip.Addr {
	var locals []netip.Addr
	for _, known := range s.current() {
		locals = append(locals, known.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap())
	}
	slices.SortFunc(locals, netip.Addr.Compare)
	return locals
}

// GetListenAddresses implements ice.UDPMux: the addresses of a new peer's host candidates.
func (s *sockets) GetListenAddresses() []net.Addr {
	var addrs []net.Addr
	for _, known := range s.current() {
		addrs = append(addrs, known.LocalAddr())
	}
	return addrs
}

// GetConn implements ice.UDPMux.
func (s *sockets) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	local, ok := addr.(*net.UDPAddr)
	if !ok {
		return nil, fmt.Errorf("get ICE socket: %T is no UDP address", addr)
	}
	s.mu.Lock()
	known, ok := s.open[local.AddrPort().Addr().Unmap()]
	s.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("get ICE socket: %w", net.ErrClosed)
	}
	conn, err := known.GetConn(ufrag, addr)
	if err != nil {
		return nil, err
	}
	both, ok := conn.(addrPortConn)
	if !ok {
		return conn, nil
	}
	return &muxedConn{addrPortConn: both, socket: known.conn.udpSocket}, nil
}

// addrPortConn is what pion's mux makes of a socket that can do both.
type addrPortConn interface {
	net.PacketConn
	ice.AddrPortReaderWriter
}

// muxedConn is one peer's share of a socket. pion's mux remembers whom a peer has written to, for what comes
// from there, and guards each write against one that blocks: a tenth of what a packet takes besides its
// encryption. So only STUN goes through it. That precedes all else on a pair, and what follows has a known
// address and a socket that never blocks.
type muxedConn struct {
	addrPortConn
	socket *udpSocket
	closed atomic.Bool
}

// stunFirstMax is the greatest first byte of a STUN packet (RFC 7983 7).
const stunFirstMax = 3

// WriteToAddrPort implements ice.AddrPortReaderWriter.
func (c *muxedConn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	switch {
	case len(b) == 0 || b[0] <= stunFirstMax:
		return c.addrPortConn.WriteToAddrPort(b, to)
	case c.closed.Load():
		return 0, io.ErrClosedPipe // as pion's
	}
	return c.socket.WriteToAddrPort(b, to)
}

// Close implements net.PacketConn.
func (c *muxedConn) Close() error {
	c.closed.Store(true)
	return c.addrPortConn.Close()
}

// RemoveConnByUfrag implements ice.UDPMux.
func (s *sockets) RemoveConnByUfrag(ufrag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range s.open {
		known.RemoveConnByUfrag(ufrag)
	}
}

// Close implements ice.UDPMux.
func (s *sockets) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for addr, known := range s.open {
		errs = append(errs, known.Close())
		delete(s.open, addr)
	}
	return errors.Join(errs...)
}
