// The wrappers around the sockets. Each remembers the request that was read last, because the
// goroutine that reads a request is the one that answers it, before it reads the next; data for
// the client, which other goroutines write, is never an error response. Owner of each wrapper's
// request: that reading goroutine.

package relay

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pion/stun/v3"
)

const (
	frameBytesMax     = 1600 // of one STUN message or ChannelData; media datagrams stay under the MTU
	tcpConnsMax       = 1024
	tcpFirstFrameWait = 10 * time.Second
	tcpIdleMax        = 11 * time.Minute // longer than the lifetime of an allocation, which its client refreshes
	tcpWriteWait      = 10 * time.Second
	udpErrorsMax      = 16 // reading errors in a row that do not end a socket
	channelDataHeader = 4
)

// packetConn is a UDP listener.
type packetConn struct {
	net.PacketConn
	relay    *Relay
	sessions *sessions // nil: no DTLS
	request  []byte
}

func (c *packetConn) ReadFrom(p []byte) (n int, from net.Addr, err error) {
	for failures := 0; failures < udpErrorsMax; {
		n, from, err = c.PacketConn.ReadFrom(p)
		switch {
		case err == nil && c.sessions != nil && isDTLS(p[:n]):
			c.sessions.deliver(p[:n], from)
			failures = 0
		case err == nil || errors.Is(err, net.ErrClosed):
			c.request = p[:n]
			return n, from, err
		default:
			// pion/turn ends the listener at the first error; an ICMP answer to some client must not do that.
			failures++
		}
	}
	return n, from, err
}

func (c *packetConn) WriteTo(p []byte, to net.Addr) (int, error) {
	if isErrorResponse(p) {
		if _, err := c.PacketConn.WriteTo(c.relay.explain(p, c.request), to); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return c.PacketConn.WriteTo(p, to)
}

// listener bounds the TCP connections and closes them in the end.
type listener struct {
	net.Listener
	relay *Relay
	over  string

	mu     sync.Mutex
	conns  map[*framedConn]struct{}
	closed bool
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			// Out of descriptors, or the client is gone already: pion/turn would stop listening.
			l.relay.connsRefused.Add(1)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		conn := &framedConn{Conn: inner, listener: l, reader: newReader(inner)}
		if !l.admit(conn) {
			l.relay.connsRefused.Add(1)
			_ = inner.Close()
			continue
		}
		_ = inner.SetReadDeadline(time.Now().Add(tcpFirstFrameWait))
		return conn, nil
	}
}

func (l *listener) admit(conn *framedConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.conns) >= tcpConnsMax {
		return false
	}
	l.conns[conn] = struct{}{}
	return true
}

func (l *listener) forget(conn *framedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, conn)
}

func (l *listener) closeConns() {
	l.mu.Lock()
	l.closed = true
	conns := l.conns
	l.conns = map[*framedConn]struct{}{}
	l.mu.Unlock()
	for conn := range conns {
		if secured, ok := conn.Conn.(interface{ NetConn() net.Conn }); ok {
			_ = secured.NetConn().Close() // no goodbye, for which a client that does not read would be waited for
			continue
		}
		_ = conn.Conn.Close()
	}
}

// newReader holds any frame, and any record of DTLS.
func newReader(conn io.Reader) *bufio.Reader { return bufio.NewReaderSize(conn, 2*frameBytesMax) }

// framedConn is one client over TCP, TLS or DTLS. Read returns exactly one frame, so that its length
// is checked here: pion/turn computes it in 16 bits, and a length near 65535 would make it loop for ever.
type framedConn struct {
	net.Conn
	listener *listener
	reader   *bufio.Reader
	request  []byte
	begun    bool // something was read
	gone     bool // to the queue of TLS streams
}

var errFrame = errors.New("not a STUN or ChannelData frame")

func (c *framedConn) Read(p []byte) (int, error) {
	if !c.begun {
		c.begun = true
		if err := c.begin(); err != nil {
			return 0, err
		}
	}
	size, err := c.next(len(p))
	if err != nil {
		return 0, err
	}
	read := size
	if c.listener.over == overDTLS {
		read = min(size, c.reader.Buffered()) // padding may be left out there (RFC 8656 12.5); pion/turn wants it
	}
	if _, err = io.ReadFull(c.reader, p[:read]); err != nil {
		return 0, err
	}
	clear(p[read:size])
	c.request = p[:size]
	_ = c.Conn.SetReadDeadline(time.Now().Add(tcpIdleMax))
	return size, nil
}

// begin looks what the stream is.
func (c *framedConn) begin() error {
	if err := handshake(c.Conn); err != nil || c.listener.over != overTCP {
		return err
	}
	first, err := c.reader.Peek(1)
	if err != nil || first[0] != tlsHandshakeByte {
		return err
	}
	c.listener.forget(c) // before the other listener counts it
	if c.gone = c.listener.relay.upgrade(c.Conn, c.reader); !c.gone {
		c.listener.relay.connsRefused.Add(1)
	}
	return io.EOF
}

// next is the size of the frame that comes next, which p of the given length must hold.
func (c *framedConn) next(room int) (int, error) {
	header, err := c.reader.Peek(channelDataHeader)
	if err == nil && !isChannelData(header) {
		header, err = c.reader.Peek(stunHeaderBytes) // only a STUN frame is sure to be that long
	}
	if err != nil {
		return 0, err
	}
	size, err := frameSize(header)
	if err == nil && size > min(room, frameBytesMax) {
		err = fmt.Errorf("frame of %d bytes: at most %d are relayed", size, frameBytesMax)
	}
	if err != nil {
		c.listener.relay.framesRefused.Add(1)
	}
	return size, err
}

// isChannelData looks at the first bits: RFC 8656 12, channel numbers 0x4000-0x4FFF.
func isChannelData(header []byte) bool { return header[0]&0xF0 == 0x40 }

// frameSize is the size of the frame that begins with header, padding included: over a stream
// ChannelData is padded to four bytes (RFC 8656 12.5).
func frameSize(header []byte) (int, error) {
	length := int(binary.BigEndian.Uint16(header[2:4]))
	switch {
	case isChannelData(header):
		return channelDataHeader + (length+3)&^3, nil
	case stun.IsMessage(header) && length%4 == 0:
		return stunHeaderBytes + length, nil
	default:
		return 0, errFrame
	}
}

func (c *framedConn) Write(p []byte) (int, error) {
	// A client that does not read must not hold the goroutine of its allocation for ever.
	_ = c.Conn.SetWriteDeadline(time.Now().Add(tcpWriteWait))
	out := p
	if isErrorResponse(p) {
		out = c.listener.relay.explain(p, c.request)
	}
	if _, err := c.Conn.Write(out); err != nil {
		_ = c.Conn.Close() // half a frame was written: the stream is of no use any more
		return 0, err
	}
	return len(p), nil
}

func (c *framedConn) Close() error {
	c.listener.forget(c)
	if c.gone {
		return nil
	}
	return c.Conn.Close()
}
