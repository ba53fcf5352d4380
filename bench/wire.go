package bench

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"

	"github.com/gobwas/ws"
)

// wire is a client's websocket that does as little as it can, so that thousands fit into one process
// and its costs are the same whatever the server. One goroutine reads; anyone may write.
type wire struct {
	conn net.Conn
	in   io.Reader
}

func dialWire(ctx context.Context, url string, config *tls.Config) (*wire, error) {
	dialer := ws.Dialer{TLSConfig: config}
	conn, early, _, err := dialer.Dial(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("dial websocket: %w", err)
	}
	w := &wire{conn: conn, in: conn}
	if early != nil {
		w.in = early
	}
	return w, nil
}

// write sends one frame with one call. It masks data in place.
func (w *wire) write(op ws.OpCode, data []byte) error {
	frame, err := ws.CompileFrame(ws.MaskFrameInPlace(ws.NewFrame(op, true, data)))
	if err == nil {
		_, err = w.conn.Write(frame)
	}
	return err
}

// read returns the next text; pings are answered on the way.
func (w *wire) read() ([]byte, error) {
	for {
		frame, err := ws.ReadFrame(w.in)
		if err != nil {
			return nil, err
		}
		switch frame.Header.OpCode {
		case ws.OpText:
			return frame.Payload, nil
		case ws.OpPing:
			err = w.write(ws.OpPong, frame.Payload)
		case ws.OpClose:
			err = io.EOF
		}
		if err != nil {
			return nil, err
		}
	}
}

// close ends the connection without a goodbye.
func (w *wire) close() { _ = w.conn.Close() }
