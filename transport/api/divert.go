package api

// TURN over TLS on the port of HTTPS: AWS's clients look for both on 443, at one address when the
// service has one. In order of execution, all on the goroutine of net/http that serves the
// connection: the first Read shakes hands and looks at the first byte; a request begins with a
// letter, a STUN message with two zero bits (RFC 8489 5), and such a stream goes to the relay.

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const stunFirstByteMax = 3 // RFC 7983 7

// Divert makes the door give TURN streams to take, which owns a stream unless it fails. It is called
// before Serve.
func (l *Listener) Divert(take func(net.Conn) error, log *zap.Logger) {
	l.net = &divertListener{Listener: l.net, take: take, log: log}
	l.http.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, divertKey{}, c)
	}
	inner := l.http.Handler
	l.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(divertKey{}).(*divertConn); ok { // net/http knows *tls.Conn alone
			state := c.Conn.(*tls.Conn).ConnectionState()
			r.TLS = &state
		}
		inner.ServeHTTP(w, r)
	})
}

type divertKey struct{}

type divertListener struct {
	net.Listener
	take func(net.Conn) error
	log  *zap.Logger
}

func (l *divertListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &divertConn{Conn: conn, listener: l}, nil
}

// divertConn is a connection until it is known what it carries. Once given away it is closed for
// net/http, whose shutdown may still touch it from another goroutine.
type divertConn struct {
	net.Conn
	listener *divertListener
	begun    bool // the reader's
	given    atomic.Bool
}

func (c *divertConn) Read(p []byte) (int, error) {
	if c.begun || len(p) == 0 {
		return c.Conn.Read(p)
	}
	c.begun = true
	n, err := c.Conn.Read(p)
	if err != nil || n == 0 || p[0] > stunFirstByteMax {
		return n, err
	}
	stream := &replayConn{Conn: c.Conn, first: append([]byte(nil), p[:n]...)}
	c.given.Store(true)
	if err := c.listener.take(stream); err != nil {
		c.given.Store(false)
		c.listener.log.Debug("TURN stream refused", zap.Error(err))
	}
	return 0, io.EOF
}

func (c *divertConn) Write(p []byte) (int, error) {
	if c.given.Load() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

func (c *divertConn) Close() error {
	if c.given.Load() {
		return nil
	}
	return c.Conn.Close()
}

func (c *divertConn) SetDeadline(t time.Time) error {
	if c.given.Load() {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

func (c *divertConn) SetReadDeadline(t time.Time) error {
	if c.given.Load() {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *divertConn) SetWriteDeadline(t time.Time) error {
	if c.given.Load() {
		return nil
	}
	return c.Conn.SetWriteDeadline(t)
}

// replayConn begins with what was read already.
type replayConn struct {
	net.Conn
	first []byte
}

func (c *replayConn) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// NetConn is the connection beneath, for who wants it gone without a goodbye.
func (c *replayConn) NetConn() net.Conn { return c.Conn.(*tls.Conn).NetConn() }
