package relay

// TLS. A stream whose first byte begins a TLS handshake leaves the goroutine that found it and is
// accepted once more, through the queue; Take brings those of another door's socket the same way.
// Owner: the queue owns a stream from push to Accept, pion/turn from there.

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"sync"
)

const (
	tlsHandshakeByte = 22 // RFC 7983 7: 20-63 is TLS or DTLS, and a stream begins with a handshake
	streamsWaiting   = 64 // between Accept here and Accept there
)

// Take serves a TURN stream that came in at another door: already decrypted, and with a first byte
// that no HTTP request begins with. It fails when the relay takes none, and leaves the stream alone then.
func (r *Relay) Take(conn net.Conn) error {
	if r.secure == nil {
		return errors.New("take stream: the relay serves no TLS")
	}
	if !r.secure.push(conn) {
		r.connsRefused.Add(1)
		return errors.New("take stream: too many at once, or the relay is closed")
	}
	return nil
}

// upgrade gives a plain stream that turned out to be TLS to the queue.
func (r *Relay) upgrade(raw net.Conn, reader *bufio.Reader) bool {
	return r.secure != nil && r.secure.push(tls.Server(&bufferedConn{raw, reader}, r.tlsConfig))
}

// bufferedConn is a stream of which some bytes were read already.
type bufferedConn struct {
	net.Conn
	reader *bufio.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.reader.Read(p) }

// queue is a net.Listener of streams that others have accepted.
type queue struct {
	at      net.Addr
	streams chan net.Conn
	done    chan struct{}

	mu     sync.Mutex
	closed bool
}

func newQueue() *queue {
	return &queue{streams: make(chan net.Conn, streamsWaiting), done: make(chan struct{})}
}

func (q *queue) push(conn net.Conn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	select {
	case q.streams <- conn:
		return true
	default:
		return false
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.streams:
		return conn, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Streams that nobody has accepted are closed.
func (q *queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	close(q.done)
	for {
		select {
		case conn := <-q.streams:
			_ = conn.Close()
		default:
			return nil
		}
	}
}

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return q.at }
