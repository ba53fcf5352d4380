package impair

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// streamBufferBytes is small, so that whoever writes to a reader that has stopped soon notices.
const streamBufferBytes = 64 << 10

// stream is a TCP connection whose reader can be made to stop.
type stream struct {
	*net.TCPConn
	stalled *atomic.Int64 // of its Net
	once    sync.Once
	closed  chan struct{}
}

func newStream(c *net.TCPConn, stalled *atomic.Int64) *stream {
	_ = c.SetReadBuffer(streamBufferBytes) // the system's own will do, too
	return &stream{TCPConn: c, stalled: stalled, closed: make(chan struct{})}
}

// Read waits for as long as the reader has stopped; Close ends the wait.
func (s *stream) Read(b []byte) (int, error) {
	if wait := time.Until(time.Unix(0, s.stalled.Load())); wait > 0 {
		over := time.NewTimer(wait)
		defer over.Stop()
		select {
		case <-over.C:
		case <-s.closed:
			return 0, net.ErrClosed
		}
	}
	return s.TCPConn.Read(b)
}

// Close closes the connection.
func (s *stream) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.TCPConn.Close()
}
