package impair

import (
	"net"
	"net/netip"
	"time"
)

// The methods that make Conn a transport.UDPConn, and an AddrPort connection for pion's fast path.

// Close lets what was sent arrive, which takes half the round trip and the queue's time at most.
func (c *Conn) Close() error {
	c.out.drain()
	return c.socket.Close()
}

// LocalAddr returns the local address.
func (c *Conn) LocalAddr() net.Addr { return c.socket.LocalAddr() }

// RemoteAddr returns the peer of a connected socket.
func (c *Conn) RemoteAddr() net.Addr { return c.socket.RemoteAddr() }

// SetDeadline sets the read deadline; writes do not block.
func (c *Conn) SetDeadline(t time.Time) error { return c.in.setDeadline(t) }

// SetReadDeadline sets when reads give up.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.in.setDeadline(t) }

// SetWriteDeadline does nothing: a write does not block, and the socket's own deadline would stop
// packets that are still on their way.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// SetReadBuffer sets the size of the system's receive buffer.
func (c *Conn) SetReadBuffer(bytes int) error { return c.socket.SetReadBuffer(bytes) }

// SetWriteBuffer sets the size of the system's send buffer.
func (c *Conn) SetWriteBuffer(bytes int) error { return c.socket.SetWriteBuffer(bytes) }

// Read receives a packet.
func (c *Conn) Read(b []byte) (int, error) {
	n, _, err := c.in.receive(b)
	return n, err
}

// ReadFrom receives a packet and tells from whom.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, peer, err := c.ReadFromUDP(b)
	if err != nil {
		return n, nil, err // a nil *net.UDPAddr would not be a nil net.Addr
	}
	return n, peer, nil
}

// ReadFromUDP receives a packet and tells from whom.
func (c *Conn) ReadFromUDP(b []byte) (int, *net.UDPAddr, error) {
	n, peer, err := c.in.receive(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(peer), nil
}

// ReadFromAddrPort receives a packet and tells from whom.
func (c *Conn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) { return c.in.receive(b) }

// ReadMsgUDP receives a packet; there is never out-of-band data.
func (c *Conn) ReadMsgUDP(b, _ []byte) (n, oobn, flags int, peer *net.UDPAddr, err error) {
	n, peer, err = c.ReadFromUDP(b)
	return n, 0, 0, peer, err
}

// Write sends to the peer of a connected socket.
func (c *Conn) Write(b []byte) (int, error) { return c.out.send(b, netip.AddrPort{}) }

// WriteTo sends to addr.
func (c *Conn) WriteTo(b []byte, addr net.Addr) (int, error) {
	u, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, &net.AddrError{Err: "not a UDP address", Addr: addr.String()}
	}
	return c.WriteToUDP(b, u)
}

// WriteToUDP sends to addr.
func (c *Conn) WriteToUDP(b []byte, addr *net.UDPAddr) (int, error) {
	return c.WriteToAddrPort(b, addr.AddrPort())
}

// WriteToAddrPort sends to addr.
func (c *Conn) WriteToAddrPort(b []byte, addr netip.AddrPort) (int, error) {
	// An IPv4 socket refuses an IPv4 address in IPv6 clothes.
	return c.out.send(b, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
}

// WriteMsgUDP sends to addr, or to the peer when it is nil. Out-of-band data is not sent.
func (c *Conn) WriteMsgUDP(b, _ []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	if addr == nil {
		n, err = c.Write(b)
	} else {
		n, err = c.WriteToUDP(b, addr)
	}
	return n, 0, err
}
