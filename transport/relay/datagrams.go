package relay

// DTLS on the socket of STUN and TURN. In order of execution: packetConn.ReadFrom, on the goroutine
// of pion/turn that reads the socket, keeps records from STUN (RFC 7983) and puts them into the
// buffer of their session; a handshake's first record makes one, which Accept gives to pion/dtls;
// the goroutine that pion/turn gives to a session shakes hands, reads and closes.

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/transport/v4/packetio"
)

const (
	dtlsFirstByte       = 20 // RFC 7983 7
	dtlsLastByte        = 63
	sessionsMax         = 1024
	sessionBytesMax     = 256 << 10 // unread records of a session
	dtlsHandshakeWait   = 10 * time.Second
	dtlsHandshakeFlight = 250 * time.Millisecond
)

func isDTLS(p []byte) bool { return len(p) > 0 && p[0] >= dtlsFirstByte && p[0] <= dtlsLastByte }

// sessions are the DTLS sessions of one socket; a dtlsnet.PacketListener.
type sessions struct {
	socket net.PacketConn
	relay  *Relay
	fresh  chan *session
	done   chan struct{}

	mu     sync.Mutex
	open   map[netip.AddrPort]*session
	closed bool
}

// listenDTLS begins to keep DTLS records from the readers of the socket.
func (c *packetConn) listenDTLS(cert tls.Certificate) (net.Listener, error) {
	all := &sessions{
		socket: c.PacketConn, relay: c.relay, open: map[netip.AddrPort]*session{},
		fresh: make(chan *session, streamsWaiting), done: make(chan struct{}),
	}
	// HelloVerifyRequest stays on: a forged sender gets no more than it sent (RFC 6347 4.2.1).
	listener, err := dtls.NewListenerWithOptions(all,
		dtls.WithCertificates(cert), dtls.WithLoggerFactory(quietFactory{c.relay.log}),
		dtls.WithExtendedMasterSecret(dtls.RequestExtendedMasterSecret), dtls.WithFlightInterval(dtlsHandshakeFlight))
	if err != nil {
		return nil, err
	}
	c.sessions = all
	return listener, nil
}

// deliver gives a record to its session, making one for a handshake.
func (s *sessions) deliver(p []byte, from net.Addr) {
	addr, ok := from.(*net.UDPAddr)
	if !ok {
		return
	}
	session := s.find(addr.AddrPort(), p[0] == tlsHandshakeByte)
	if session == nil {
		s.relay.datagramsRefused.Add(1)
		return
	}
	if _, err := session.unread.Write(p); err != nil { // full or closed
		s.relay.datagramsRefused.Add(1)
	}
}

func (s *sessions) find(from netip.AddrPort, begins bool) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.open[from]; known != nil || !begins || s.closed {
		return known
	}
	if len(s.open) >= sessionsMax {
		s.relay.connsRefused.Add(1)
		return nil
	}
	made := &session{sessions: s, peer: from, unread: packetio.NewBuffer()}
	made.unread.SetLimitSize(sessionBytesMax)
	select {
	case s.fresh <- made:
		s.open[from] = made
		return made
	default:
		s.relay.connsRefused.Add(1)
		return nil
	}
}

// Accept implements dtlsnet.PacketListener.
func (s *sessions) Accept() (net.PacketConn, net.Addr, error) {
	select {
	case session := <-s.fresh:
		return session, net.UDPAddrFromAddrPort(session.peer), nil
	case <-s.done:
		return nil, nil, net.ErrClosed
	}
}

// Close implements dtlsnet.PacketListener. Sessions that were accepted are their owners'.
func (s *sessions) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	return nil
}

// Addr implements dtlsnet.PacketListener.
func (s *sessions) Addr() net.Addr { return s.socket.LocalAddr() }

// session is one client's share of the socket.
type session struct {
	*sessions
	peer   netip.AddrPort
	unread *packetio.Buffer
}

func (c *session) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := c.unread.Read(p)
	return n, net.UDPAddrFromAddrPort(c.peer), err
}

func (c *session) WriteTo(p []byte, to net.Addr) (int, error) { return c.socket.WriteTo(p, to) }

func (c *session) Close() error {
	c.mu.Lock()
	if c.open[c.peer] == c {
		delete(c.open, c.peer)
	}
	c.mu.Unlock()
	return c.unread.Close()
}

func (c *session) LocalAddr() net.Addr                { return c.socket.LocalAddr() }
func (c *session) SetReadDeadline(t time.Time) error  { return c.unread.SetReadDeadline(t) }
func (c *session) SetWriteDeadline(t time.Time) error { return nil } // the socket is everybody's, and UDP does not block
func (c *session) SetDeadline(t time.Time) error      { return c.SetReadDeadline(t) }

// handshake bounds what pion/dtls does without a deadline. Streams of other kinds need none.
func handshake(conn net.Conn) error {
	d, ok := conn.(*dtls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), dtlsHandshakeWait)
	defer cancel()
	if err := d.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("shake hands over DTLS: %w", err)
	}
	return nil
}
