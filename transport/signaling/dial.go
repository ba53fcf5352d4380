package signaling

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// The bounds of a handshake.
const (
	defaultTimeout    = 15 * time.Second // the C SDK's own (kvs-protocol.md 3.2)
	refusalHeadMax    = 16 << 10         // bytes of a refusal's header and body that are read
	refusalMessageMax = 1024             // bytes of its text that are kept
	defaultPingEvery  = 10 * time.Second // the C SDK's and the Linux reference's
	defaultSilenceMax = 30 * time.Second // three pings without an answer
)

// DialOptions says how to reach the endpoint. The zero value is good for AWS.
type DialOptions struct {
	TLS          *tls.Config                                                       // nil: the system's roots; ALPN is always http/1.1
	NetDial      func(ctx context.Context, network, addr string) (net.Conn, error) // nil: net.Dialer
	Timeout      time.Duration                                                     // for connecting and the handshake; 0: 15 s
	Subprotocols []string                                                          // offered in order; none: no header
	PingEvery    time.Duration                                                     // pings sent while reading; 0: 10 s
	SilenceMax   time.Duration                                                     // Read ends when nothing at all came for this long; 0: 30 s
}

// HandshakeError says that the endpoint answered, but not with 101. The likeliest types are
// AccessDeniedException and InvalidSignatureException (credentials or clock), ResourceNotFoundException,
// and ClientLimitExceededException (kvs-protocol.md 3.3). Date is the endpoint's clock, zero if unknown.
type HandshakeError struct {
	Status  int
	Type    string
	Message string
	Date    time.Time
}

// Error returns type, status and message.
func (e *HandshakeError) Error() string {
	return fmt.Sprintf("signaling handshake refused: %s (%d): %s", e.Type, e.Status, e.Message)
}

// Dial opens the signaling WebSocket at a presigned wss address. A refused handshake is a
// *HandshakeError. The address is a secret and in no error text.
func Dial(ctx context.Context, address string, opt DialOptions) (*Client, error) {
	u, err := url.ParseRequestURI(address) // as the dialer does, whose error would quote the address
	if err != nil || (u.Scheme != "wss" && u.Scheme != "ws") || u.Host == "" {
		return nil, errors.New("dial signaling: the address must be wss://host[:port]/?query")
	}
	ctx, cancel := context.WithTimeout(ctx, orDefault(opt.Timeout, defaultTimeout))
	defer cancel()

	var raw net.Conn
	var refused *HandshakeError
	dialer := ws.Dialer{
		Protocols: opt.Subprotocols,
		TLSConfig: tlsConfig(opt.TLS),
		NetDial: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
			if opt.NetDial != nil {
				c, err = opt.NetDial(ctx, network, addr)
			} else {
				c, err = new(net.Dialer).DialContext(ctx, network, addr)
			}
			raw = c
			return c, err
		},
		OnStatusError: func(status int, _ []byte, resp io.Reader) { refused = readRefusal(status, resp) },
	}
	conn, br, _, err := dialer.Dial(ctx, address)
	switch {
	case refused != nil:
		return nil, refused
	case ctx.Err() != nil:
		if err == nil {
			conn.Close()
		}
		return nil, fmt.Errorf("dial signaling: %w", ctx.Err())
	case err != nil:
		return nil, fmt.Errorf("dial signaling: %w", err)
	}
	return newClient(conn, raw, br, opt), nil
}

// tlsConfig pins HTTP/1.1: a WebSocket's upgrade does not exist in HTTP/2 (kvs-protocol.md 7.4).
func tlsConfig(c *tls.Config) *tls.Config {
	if c == nil {
		c = &tls.Config{}
	}
	c = c.Clone()
	c.NextProtos = []string{"http/1.1"}
	return c
}

// readRefusal reads x-amzn-ErrorType, {"Message"} and Date from an HTTP answer; what is not there
// stays empty, as the status alone must do then.
func readRefusal(status int, answer io.Reader) *HandshakeError {
	e := &HandshakeError{Status: status, Type: "UnknownError", Message: http.StatusText(status)}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(answer, refusalHeadMax)), nil)
	if err != nil {
		return e
	}
	defer resp.Body.Close()
	e.Date, _ = http.ParseTime(resp.Header.Get("Date"))
	var said struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	body, _ := io.ReadAll(resp.Body) // bounded by the reader beneath; a part of it is better than nothing
	_ = json.Unmarshal(body, &said)
	for _, kind := range []string{said.Type, resp.Header.Get("X-Amzn-ErrorType")} {
		kind, _, _ = strings.Cut(kind, ":") // "Name:uri", "namespace#Name" (kvs-protocol.md 1.5)
		if kind = kind[strings.LastIndexByte(kind, '#')+1:]; kind != "" {
			e.Type = kind
		}
	}
	if said.Message != "" {
		e.Message = strings.ToValidUTF8(said.Message[:min(len(said.Message), refusalMessageMax)], "")
	}
	return e
}

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}
