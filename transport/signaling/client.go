package signaling

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// A client has one reader (whoever calls Read) and any number of writers.
//
// Read -> nextFrame -> fill, which waits for bytes with a deadline: it is the next ping or the end of
// patience, whichever comes first. No goroutine is needed for either. What was read of a frame
// is kept in the client, so that a Read that was called off loses nothing.
// Write -> send, one frame at a time. A write that fails ends the socket: half a
// frame may be on its way.

const (
	writeMax = 5 * time.Second // for one frame; a socket that takes none for so long is dead
	closeMax = time.Second     // for the close frame and TLS's good-bye
)

// Client is an open signaling WebSocket.
type Client struct {
	conn       net.Conn
	raw        net.Conn // beneath TLS
	pingEvery  time.Duration
	silenceMax time.Duration

	// The reader's.
	br      *bufio.Reader
	head    *ws.Header // of the frame whose payload is being read
	payload []byte     // read of it so far
	message []byte     // fragments so far
	inParts bool       // between the first and the last fragment
	heard   time.Time  // when something came last, or when waiting began
	pinged  time.Time
	failed  error // what ended reading; sticky

	writing chan struct{} // full while a frame is being written; unlike a mutex it can be waited for with a context
	ended   sync.Once
}

// LocalAddr is this machine's end of the socket.
func (c *Client) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// CloseError says that the other side closed the socket.
type CloseError struct {
	Code   int // RFC 6455 section 7.4; 0: it gave none
	Reason string
}

// Error returns code and reason.
func (e *CloseError) Error() string {
	return fmt.Sprintf("signaling socket closed by the service: code %d %q", e.Code, e.Reason)
}

// ErrSilent says that nothing came for DialOptions.SilenceMax, not even an answer to a ping.
var ErrSilent = errors.New("signaling socket is silent")

func newClient(conn, raw net.Conn, br *bufio.Reader, opt DialOptions) *Client {
	c := &Client{
		conn: conn, raw: raw, pinged: time.Now(), writing: make(chan struct{}, 1),
		pingEvery: orDefault(opt.PingEvery, defaultPingEvery), silenceMax: orDefault(opt.SilenceMax, defaultSilenceMax),
	}
	c.br = br
	if br == nil { // nothing came with the handshake
		c.br = bufio.NewReader(conn)
	}
	return c
}

// Read returns the next message. Meanwhile it answers pings and sends its own. A message that
// cannot be decoded is a *FormatError, and a context that ends is its error: both leave the socket
// usable. Any other error ended it: *CloseError, ErrSilent, or what the network said. One caller at a time.
func (c *Client) Read(ctx context.Context) (Inbound, error) {
	if c.failed != nil {
		return Inbound{}, c.failed
	}
	stop := context.AfterFunc(ctx, func() { c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	c.heard = time.Now()
	text, err := c.nextText(ctx)
	switch {
	case err == nil:
		return DecodeInbound(text)
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return Inbound{}, err
	}
	c.failed = fmt.Errorf("read signaling: %w", err)
	c.end(closeCode(err))
	return Inbound{}, c.failed
}

// nextText puts the fragments of one message together (RFC 6455 section 5.4) and serves the control
// frames that come in between.
func (c *Client) nextText(ctx context.Context) ([]byte, error) {
	for {
		head, payload, err := c.nextFrame(ctx)
		if err != nil {
			return nil, err
		}
		switch head.OpCode {
		case ws.OpPing:
			if err := c.send(ctx, ws.OpPong, payload); err != nil {
				return nil, err
			}
		case ws.OpPong:
		case ws.OpClose:
			code, reason := ws.ParseCloseFrameData(payload)
			return nil, &CloseError{int(code), reason}
		default:
			c.message, c.inParts = append(c.message, payload...), !head.Fin
			if head.Fin {
				text := c.message
				c.message = nil
				return text, nil
			}
		}
	}
}

// errTooBig and errNotText end the socket with their own close codes.
var (
	errTooBig  = fmt.Errorf("a message has more than %d bytes", MessageBytesMax)
	errNotText = errors.New("a frame is not text")
)

// nextFrame reads one frame. When it fails because ctx ended, the next call goes on where it stopped.
func (c *Client) nextFrame(ctx context.Context) (ws.Header, []byte, error) {
	if c.head == nil {
		head, err := c.nextHeader(ctx)
		if err != nil {
			return ws.Header{}, nil, err
		}
		c.head, c.payload = &head, make([]byte, 0, head.Length)
	}
	for len(c.payload) < cap(c.payload) {
		if c.br.Buffered() == 0 {
			if err := c.fill(ctx, 1); err != nil {
				return ws.Header{}, nil, err
			}
		}
		n, err := c.br.Read(c.payload[len(c.payload):cap(c.payload)])
		if err != nil {
			return ws.Header{}, nil, err
		}
		c.payload = c.payload[:len(c.payload)+n]
	}
	head, payload := *c.head, c.payload
	c.head, c.payload = nil, nil
	return head, payload, nil
}

// nextHeader reads a frame's header and checks it before anything is allocated for the frame.
func (c *Client) nextHeader(ctx context.Context) (ws.Header, error) {
	size := ws.MinHeaderSize
	for known := false; !known; {
		if err := c.fill(ctx, size); err != nil {
			return ws.Header{}, err
		}
		start, _ := c.br.Peek(size)
		want := headerSize(start[1])
		known, size = want == size, want
	}
	start, _ := c.br.Peek(size)
	head, err := ws.ReadHeader(bytes.NewReader(start))
	if err != nil {
		return head, err
	}
	c.br.Discard(size)
	state := ws.StateClientSide
	if c.inParts {
		state = state.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(head, state); err != nil {
		return head, err
	}
	switch {
	case head.OpCode == ws.OpBinary: // KVS has none (kvs-protocol.md 3.4)
		return head, errNotText
	case head.Length > MessageBytesMax-int64(len(c.message)) && head.OpCode.IsData():
		return head, errTooBig
	}
	return head, nil
}

// headerSize tells from its second byte how long a header is (RFC 6455 section 5.2).
func headerSize(second byte) int {
	size := ws.MinHeaderSize
	switch second & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if second&0x80 != 0 { // masked, which a server's frame must not be; the check says so
		size += 4
	}
	return size
}

// fill waits until n bytes are buffered, pinging at times. A deadline that passes takes nothing out
// of the buffer, nor does it hurt TLS.
func (c *Client) fill(ctx context.Context, n int) error {
	for c.br.Buffered() < n {
		now := time.Now()
		if now.Sub(c.pinged) >= c.pingEvery {
			c.pinged = now
			if err := c.Ping(ctx); err != nil {
				return err
			}
		}
		wait := min(c.pinged.Add(c.pingEvery).Sub(now), c.heard.Add(c.silenceMax).Sub(now))
		c.conn.SetReadDeadline(now.Add(wait))
		if ctx.Err() != nil { // it ended before the deadline was set anew
			return ctx.Err()
		}
		before := c.br.Buffered()
		_, err := c.br.Peek(n)
		if c.br.Buffered() > before {
			c.heard = time.Now()
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case time.Since(c.heard) >= c.silenceMax:
			return ErrSilent
		}
	}
	return nil
}

// Write sends m. A *FormatError means that it was not sent and the socket is as before; any other
// error ends the socket, save that of a context that had ended before. Safe for concurrent use.
func (c *Client) Write(ctx context.Context, m Outbound) error {
	text, err := EncodeOutbound(m)
	if err != nil {
		return err
	}
	if err := c.send(ctx, ws.OpText, text); err != nil {
		return fmt.Errorf("write signaling: %w", err)
	}
	return nil
}

// Ping sends a ping; Read sees the answer. Safe for concurrent use.
func (c *Client) Ping(ctx context.Context) error {
	if err := c.send(ctx, ws.OpPing, nil); err != nil {
		return fmt.Errorf("ping signaling: %w", err)
	}
	return nil
}

// send writes one frame in one piece, masked as RFC 6455 section 5.3 wants it of clients.
func (c *Client) send(ctx context.Context, op ws.OpCode, payload []byte) error {
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.conn.SetWriteDeadline(time.Now().Add(writeMax))
	stop := context.AfterFunc(ctx, func() { c.conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.conn.Write(frame(op, payload)); err != nil {
		c.raw.Close() // part of the frame may be out; Read ends, too
		return err
	}
	return nil
}

func frame(op ws.OpCode, payload []byte) []byte {
	head := ws.Header{Fin: true, OpCode: op, Masked: true, Mask: ws.NewMask(), Length: int64(len(payload))}
	b := bytes.NewBuffer(make([]byte, 0, ws.MaxHeaderSize+len(payload)))
	_ = ws.WriteHeader(b, head) // a bytes.Buffer takes everything
	start := b.Len()
	b.Write(payload)
	ws.Cipher(b.Bytes()[start:], head.Mask, 0)
	return b.Bytes()
}

// Close sends a close frame and closes the socket, in a second or so at most. Read and Write return.
// Safe for concurrent use, and more than once.
func (c *Client) Close() error {
	c.end(ws.StatusNormalClosure)
	return nil
}

// end takes leave of the other side and closes the socket, within closeMax even if a write hangs.
func (c *Client) end(code ws.StatusCode) {
	c.ended.Do(func() {
		giveUp := time.AfterFunc(closeMax, func() { c.raw.Close() })
		defer giveUp.Stop()
		_ = c.send(context.Background(), ws.OpClose, ws.NewCloseFrameBody(code, ""))
		c.conn.Close()
	})
}

// closeCode says why we close (RFC 6455 section 7.4.1).
func closeCode(err error) ws.StatusCode {
	var protocol ws.ProtocolError
	var closed *CloseError
	switch {
	case errors.As(err, &closed) && ws.CheckCloseFrameData(ws.StatusCode(closed.Code), "") == nil:
		return ws.StatusCode(closed.Code) // the answer echoes the code (section 5.5.1)
	case errors.Is(err, errTooBig):
		return ws.StatusMessageTooBig
	case errors.Is(err, errNotText):
		return ws.StatusUnsupportedData
	case errors.As(err, &protocol), errors.Is(err, ws.ErrHeaderLengthMSB):
		return ws.StatusProtocolError
	}
	return ws.StatusNormalClosure
}
