package api

// One accepted websocket. Reading: the wait for a frame, with pings, header, rules of RFC 6455,
// payload, reassembly.
// Writing: one frame per message under a mutex, because pongs leave from the reading side.
// Owner: a connection of the service, which closes it.

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

const (
	pingEvery       = 15 * time.Second // of silence
	silenceMax      = 30 * time.Second // no frame, not even a pong: the peer is gone
	headBytes       = 64               // read ahead; most sockets are idle, and TLS has a buffer of its own
	writeWait       = 10 * time.Second
	closeWait       = time.Second // for the close frame and the peer's answer
	closeReasonsMax = 120         // bytes; a control frame holds 125
)

type socket struct {
	conn net.Conn

	// reading side only
	in      *bufio.Reader
	message []byte // of a fragmented message so far
	partial bool

	writing sync.Mutex
}

// newSocket takes over a connection and, from the reader of its handshake, what the client sent right
// behind that. The reader itself is let go: it holds 4 KB and the whole request.
func newSocket(conn net.Conn, handshake *bufio.Reader) *socket {
	in := io.Reader(conn)
	if n := handshake.Buffered(); n > 0 {
		early, _ := handshake.Peek(n) // cannot fail: so much is there
		in = io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn)
	}
	return &socket{conn: conn, in: bufio.NewReaderSize(in, headBytes)}
}

func (s *socket) Read() ([]byte, error) {
	for {
		if err := s.await(); err != nil {
			return nil, err
		}
		_ = s.conn.SetReadDeadline(time.Now().Add(silenceMax))
		h, err := ws.ReadHeader(s.in)
		if err != nil {
			return nil, ended(err)
		}
		if err := s.check(h); err != nil {
			return nil, err
		}
		if h.OpCode.IsControl() {
			pinged, err := s.control(h)
			if err != nil || pinged {
				return nil, err
			}
			continue
		}
		payload := make([]byte, h.Length)
		if err := s.payload(h, payload); err != nil {
			return nil, err
		}
		s.message = append(s.message, payload...)
		if s.partial = !h.Fin; s.partial {
			continue
		}
		text := s.message
		s.message = nil
		switch {
		case !utf8.Valid(text):
			return nil, &messages.SocketError{Code: int(ws.StatusInvalidFramePayloadData), Reason: "utf8"}
		case len(text) == 0:
			text = []byte(" ") // empty means a ping; this is no JSON either
		}
		return text, nil
	}
}

// await waits for the first byte of a frame. Reading is what pings: a goroutine that waits here has
// nothing else to do, and a timer per socket would cost more.
func (s *socket) await() error {
	for quiet := pingEvery; ; quiet += pingEvery {
		_ = s.conn.SetReadDeadline(time.Now().Add(pingEvery))
		_, err := s.in.Peek(1)
		if err == nil {
			return nil
		}
		if !timedOut(err) || quiet >= silenceMax {
			return ended(err)
		}
		if err := s.write(ws.OpPing, nil); err != nil {
			return ended(err)
		}
	}
}

// check holds a header against RFC 6455 and the bounds of this service, before its payload is read.
func (s *socket) check(h ws.Header) error {
	state := ws.StateServerSide
	if s.partial {
		state = state.Set(ws.StateFragmented)
	}
	if ws.CheckHeader(h, state) != nil {
		return &messages.SocketError{Code: int(ws.StatusProtocolError), Reason: "protocol"}
	}
	if h.OpCode == ws.OpBinary {
		return &messages.SocketError{Code: int(ws.StatusUnsupportedData), Reason: "binary"}
	}
	if h.Length > int64(signaling.MessageBytesMax-len(s.message)) {
		return &messages.SocketError{Code: int(ws.StatusMessageTooBig), Reason: "oversized"}
	}
	return nil
}

func (s *socket) payload(h ws.Header, into []byte) error {
	if _, err := io.ReadFull(s.in, into); err != nil {
		return ended(err)
	}
	ws.Cipher(into, h.Mask, 0)
	return nil
}

// control answers a ping and turns a close frame into the error that ends the socket. The answer
// to a close frame is left to Close, so that the place is free before the peer may think so.
func (s *socket) control(h ws.Header) (pinged bool, err error) {
	var space [125]byte
	data := space[:h.Length]
	if err := s.payload(h, data); err != nil {
		return false, err
	}
	switch h.OpCode {
	case ws.OpPing:
		if err := s.write(ws.OpPong, data); err != nil {
			return false, ended(err)
		}
		return true, nil
	case ws.OpClose:
		code, reason := ws.ParseCloseFrameData(data)
		switch {
		case len(data) == 0:
			code = ws.StatusNormalClosure
		case ws.CheckCloseFrameData(code, reason) != nil:
			code = ws.StatusProtocolError
		}
		return false, &messages.SocketError{Code: int(code), Reason: "closed"}
	}
	return false, nil
}

func (s *socket) Write(text []byte) error { return s.write(ws.OpText, text) }

// write sends one unfragmented frame with one call, so that it leaves in one TLS record
// (kvs-protocol.md 7.4).
func (s *socket) write(op ws.OpCode, data []byte) error {
	frame, err := ws.CompileFrame(ws.NewFrame(op, true, data))
	if err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeWait))
	_, err = s.conn.Write(frame)
	return err
}

// Close says goodbye, ends its own direction and waits, bounded, until the peer has ended the other:
// closing on unread input would reset the connection and lose the close frame on the way.
func (s *socket) Close(code int, reason string) {
	hard := s.conn
	if t, ok := s.conn.(*tls.Conn); ok {
		hard = t.NetConn() // tls.Conn.Close may wait for a stuck peer
	}
	if code == 0 {
		_ = hard.Close()
		return
	}
	limit := time.AfterFunc(closeWait, func() { _ = hard.Close() })
	defer limit.Stop()
	body := ws.NewCloseFrameBody(ws.StatusCode(code), reason[:min(len(reason), closeReasonsMax)])
	if s.write(ws.OpClose, body) == nil {
		endWriting(s.conn)
		endWriting(hard)
		_, _ = io.Copy(io.Discard, s.conn)
	}
	_ = hard.Close()
}

func endWriting(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

func timedOut(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func ended(err error) error {
	if timedOut(err) {
		return &messages.SocketError{Reason: "silent"}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return &messages.SocketError{Reason: "gone"}
	}
	return &messages.SocketError{Reason: "broken"}
}
