package signaling

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

const query = "/?X-Amz-ChannelARN=arn&X-Amz-Signature=secret-signature"

// serve runs script on each WebSocket of a real server over TLS. The test ends when the scripts have.
func serve(t *testing.T, script func(r *http.Request, conn net.Conn)) (address string, roots *tls.Config) {
	t.Helper()
	var running sync.WaitGroup
	upgrader := ws.HTTPUpgrader{Protocol: func(p string) bool { return p == "wss" }}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Done()
		conn, _, _, err := upgrader.Upgrade(r, w)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		script(r, conn)
	}))
	t.Cleanup(func() { s.Close(); running.Wait() })
	return "wss" + strings.TrimPrefix(s.URL, "https") + query, s.Client().Transport.(*http.Transport).TLSClientConfig
}

func mustDial(t *testing.T, address string, opt DialOptions) *Client {
	t.Helper()
	c, err := Dial(t.Context(), address, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestExchange(t *testing.T) {
	address, roots := serve(t, func(r *http.Request, conn net.Conn) {
		if r.TLS.NegotiatedProtocol != "http/1.1" || r.URL.RequestURI() != query || r.Header.Get("Sec-WebSocket-Protocol") != "wss" {
			t.Errorf("handshake: %q %v %v", r.TLS.NegotiatedProtocol, r.URL, r.Header)
		}
		text, err := wsutil.ReadClientText(conn)
		if err != nil {
			t.Error(err)
			return
		}
		m, err := DecodeOutbound(text)
		if want := (Outbound{Action: SDPAnswer, RecipientClientID: "v", CorrelationID: "7", Payload: "AAAA"}); err != nil || m != want {
			t.Errorf("%+v %v", m, err)
		}
		frame, _ := EncodeInbound(Inbound{MessageType: SDPOffer, SenderClientID: "v", Payload: "BBBB"})
		wsutil.WriteServerText(conn, frame)
		_, err = wsutil.ReadClientText(conn)
		var closed wsutil.ClosedError
		if !errors.As(err, &closed) || closed.Code != ws.StatusNormalClosure {
			t.Errorf("the client left with %v", err)
		}
	})
	c := mustDial(t, address, DialOptions{TLS: roots, Subprotocols: []string{"wss"}})
	if err := c.Write(t.Context(), Outbound{Action: SDPAnswer, RecipientClientID: "v", CorrelationID: "7", Payload: "AAAA"}); err != nil {
		t.Fatal(err)
	}
	m, err := c.Read(t.Context())
	if err != nil || m != (Inbound{MessageType: SDPOffer, SenderClientID: "v", Payload: "BBBB"}) {
		t.Errorf("%+v %v", m, err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := c.Write(t.Context(), Outbound{Action: SDPAnswer, Payload: "AAAA"}); err == nil {
		t.Error("a closed socket takes messages")
	}
	if _, err := c.Read(t.Context()); err == nil {
		t.Error("a closed socket brings messages")
	}
}

// Largest message, many fragments, a ping in between, every byte a TLS record of its own.
func TestReadInPieces(t *testing.T) {
	payload := strings.Repeat("A", PayloadCharsMax)
	text, _ := EncodeInbound(Inbound{MessageType: SDPOffer, SenderClientID: "v", Payload: payload})
	address, roots := serve(t, func(_ *http.Request, conn net.Conn) {
		for i, part := range [][]byte{text[:100], text[100:5000], {}, text[5000:]} {
			op := ws.OpContinuation
			if i == 0 {
				op = ws.OpText
			}
			frame := ws.MustCompileFrame(ws.NewFrame(op, i == 3, part))
			for _, b := range frame[:min(len(frame), 200)] {
				conn.Write([]byte{b})
			}
			conn.Write(frame[min(len(frame), 200):])
			ws.WriteFrame(conn, ws.NewPingFrame(fmt.Append(nil, i)))
		}
		for i := range 4 {
			if f, err := ws.ReadFrame(conn); err != nil || f.Header.OpCode != ws.OpPong || !f.Header.Masked || string(ws.UnmaskFrame(f).Payload) != fmt.Sprint(i) {
				t.Errorf("%+v %v", f.Header, err)
			}
		}
		wsutil.WriteServerText(conn, text)
		io.Copy(io.Discard, conn)
	})
	c := mustDial(t, address, DialOptions{TLS: roots})
	for range 2 {
		if m, err := c.Read(t.Context()); err != nil || m.Payload != payload || m.SenderClientID != "v" {
			t.Fatalf("%+v %v", m.MessageType, err)
		}
	}
	c.Close()
}

func TestManyWriters(t *testing.T) {
	const writers, each = 8, 50
	got := make(chan map[string]int, 1)
	address, roots := serve(t, func(_ *http.Request, conn net.Conn) {
		seen := map[string]int{}
		for range writers * each {
			text, err := wsutil.ReadClientText(conn)
			m, decodeErr := DecodeOutbound(text)
			if err != nil || decodeErr != nil {
				t.Error(err, decodeErr)
				break
			}
			seen[m.RecipientClientID]++
		}
		got <- seen
	})
	c := mustDial(t, address, DialOptions{TLS: roots})
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for range each {
				if err := c.Write(t.Context(), Outbound{Action: ICECandidate, RecipientClientID: fmt.Sprint(i), Payload: strings.Repeat("A", 400)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for id, n := range <-got {
		if n != each {
			t.Errorf("%s: %d", id, n)
		}
	}
}

func TestRefusedHandshake(t *testing.T) {
	date := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		kind, body string
		want       HandshakeError
	}{
		"as documented": {"ClientLimitExceededException", `{"Message":"ten viewers are connected"}`,
			HandshakeError{400, "ClientLimitExceededException", "ten viewers are connected", date}},
		"other spellings": {"", `{"__type":"com.amazonaws#AccessDeniedException:x","message":"no"}`, HandshakeError{400, "AccessDeniedException", "no", date}},
		"header is first": {"aws#A:b", `{"__type":"B","message":"no"}`, HandshakeError{400, "A", "no", date}},
		"a page":          {"", `<html>`, HandshakeError{400, "UnknownError", "Bad Request", date}},
		"long text":       {"A", `{"message":"` + strings.Repeat("x", 4000) + `"}`, HandshakeError{400, "A", strings.Repeat("x", 1024), date}},
		"huge":            {"A", strings.Repeat(" ", 1<<20), HandshakeError{400, "A", "Bad Request", date}},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Amzn-ErrorType", c.kind)
				w.Header().Set("Date", date.Format(http.TimeFormat))
				w.WriteHeader(http.StatusBadRequest)
				io.WriteString(w, c.body)
			}))
			defer s.Close()
			client, err := Dial(t.Context(), "wss"+strings.TrimPrefix(s.URL, "https")+query, DialOptions{TLS: s.Client().Transport.(*http.Transport).TLSClientConfig})
			var refused *HandshakeError
			if client != nil || !errors.As(err, &refused) {
				t.Fatalf("%v", err)
			}
			if *refused != c.want {
				t.Errorf("%+v, want %+v", refused, c.want)
			}
		})
	}
}

func TestDialFailsWithoutTellingTheAddress(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	closed, _ := net.Listen("tcp", "127.0.0.1:0")
	closed.Close()
	for name, address := range map[string]string{
		"unknown CA":     "wss" + strings.TrimPrefix(s.URL, "https") + query,
		"nobody there":   "wss://" + closed.Addr().String() + query,
		"another scheme": "https://localhost" + query,
		"no host":        "wss://" + query,
		"malformed":      "wss://localhost/%zz" + query,
		"control byte":   "wss://localhost" + query + "\r\nX: y",
	} {
		c, err := Dial(t.Context(), address, DialOptions{})
		if c != nil || err == nil || !strings.HasPrefix(err.Error(), "dial signaling: ") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// mute is a server that takes connections and says nothing.
func mute(t *testing.T) (address string, arrived chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	arrived = make(chan struct{}, 8)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			arrived <- struct{}{}
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "wss://" + l.Addr().String() + query, arrived
}

func TestDialIsBounded(t *testing.T) {
	address, arrived := mute(t)
	if _, err := Dial(t.Context(), address, DialOptions{Timeout: 10 * time.Millisecond}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	for len(arrived) > 0 {
		<-arrived
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := Dial(ctx, address, DialOptions{}); done <- err }()
	<-arrived
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What the server sends right behind its 101 is read, too.
func TestFirstMessageComesWithTheHandshake(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	defer func() { <-done }()
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var answer strings.Builder
		request := bufio.NewReader(conn)
		if _, err := ws.Upgrade(struct {
			io.Reader
			io.Writer
		}{request, &answer}); err != nil {
			t.Error(err)
		}
		text, _ := EncodeInbound(Inbound{MessageType: GoAway})
		io.WriteString(conn, answer.String()+string(ws.MustCompileFrame(ws.NewTextFrame(text))))
		io.Copy(io.Discard, conn)
	}()
	c := mustDial(t, "ws://"+l.Addr().String()+query, DialOptions{NetDial: new(net.Dialer).DialContext})
	if m, err := c.Read(t.Context()); err != nil || m.MessageType != GoAway {
		t.Errorf("%+v %v", m, err)
	}
	c.Close()
}
