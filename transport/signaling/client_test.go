package signaling

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
)

// These tests run in a bubble of testing/synctest over a pipe: time is exact there, and passes only
// when everybody waits.

var goAway = ws.MustCompileFrame(ws.NewTextFrame([]byte(`{"messageType":"GO_AWAY"}`)))

func bubble(t *testing.T, opt DialOptions, test func(t *testing.T, c *Client, server net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := newClient(near, near, nil, opt)
		defer far.Close()
		defer c.Close()
		test(t, c, far)
	})
}

// frames reads what the client sends until the pipe ends.
func frames(server net.Conn) <-chan ws.Frame {
	out := make(chan ws.Frame, 64)
	go func() {
		defer close(out)
		for {
			f, err := ws.ReadFrame(server)
			if err != nil {
				return
			}
			out <- ws.UnmaskFrame(f)
		}
	}()
	return out
}

func TestSilenceEndsTheSocket(t *testing.T) {
	bubble(t, DialOptions{}, func(t *testing.T, c *Client, server net.Conn) {
		sent := frames(server)
		start := time.Now()
		_, err := c.Read(t.Context())
		if !errors.Is(err, ErrSilent) || time.Since(start) != 30*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		pings := 0
		for f := range sent {
			if f.Header.OpCode == ws.OpPing {
				pings++
			}
		}
		if pings < 2 || pings > 3 {
			t.Errorf("%d pings in 30 s", pings)
		}
		if _, again := c.Read(t.Context()); again != err {
			t.Errorf("the error is not sticky: %v", again)
		}
	})
}

func TestPongsKeepTheSocket(t *testing.T) {
	bubble(t, DialOptions{PingEvery: 7 * time.Second, SilenceMax: 8 * time.Second}, func(t *testing.T, c *Client, server net.Conn) {
		start := time.Now()
		go func() {
			for range 100 { // 700 s
				if f, err := ws.ReadFrame(server); err != nil || f.Header.OpCode != ws.OpPing || !f.Header.Masked {
					t.Errorf("%+v %v", f.Header, err)
				}
				server.Write(ws.CompiledPong)
			}
			server.Write(goAway)
			io.Copy(io.Discard, server)
		}()
		m, err := c.Read(t.Context())
		if err != nil || m.MessageType != GoAway || time.Since(start) != 700*time.Second {
			t.Errorf("%+v %v after %v", m, err, time.Since(start))
		}
	})
}

// Somebody who reads seldom has no silent socket for that, and traffic does not stop the pings.
func TestPingsGoOnUnderTraffic(t *testing.T) {
	bubble(t, DialOptions{}, func(t *testing.T, c *Client, server net.Conn) {
		sent := frames(server)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 40 {
				server.Write(goAway)
			}
		}()
		for range 40 {
			time.Sleep(40 * time.Second) // longer than SilenceMax; between Reads, not for them
			if _, err := c.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		<-done
		synctest.Wait()
		if n := len(sent); n != 40 {
			t.Errorf("%d pings for 40 messages 40 s apart", n)
		}
	})
}

// Wherever in a frame a Read is called off, the next one goes on.
func TestReadCalledOffLosesNothing(t *testing.T) {
	text := strings.Repeat(" ", 200) + `{"messageType":"GO_AWAY"}` // a header of four bytes
	first := ws.MustCompileFrame(ws.NewFrame(ws.OpText, false, []byte(text[:150])))
	whole := append(first, ws.MustCompileFrame(ws.NewFrame(ws.OpContinuation, true, []byte(text[150:])))...)
	for cut := range len(whole) {
		bubble(t, DialOptions{}, func(t *testing.T, c *Client, server net.Conn) {
			go server.Write(whole[:cut])
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			go server.Write(whole[cut:])
			if m, err := c.Read(t.Context()); err != nil || m.MessageType != GoAway {
				t.Fatalf("cut at %d: %+v %v", cut, m, err)
			}
			go io.Copy(io.Discard, server)
			c.Close()
		})
	}
}

func TestMalformedMessageLeavesTheSocket(t *testing.T) {
	bubble(t, DialOptions{}, func(t *testing.T, c *Client, server net.Conn) {
		go func() {
			server.Write(ws.MustCompileFrame(ws.NewTextFrame([]byte(`{"messageType":`))))
			server.Write(goAway)
			io.Copy(io.Discard, server)
		}()
		var e *FormatError
		if _, err := c.Read(t.Context()); !errors.As(err, &e) {
			t.Errorf("%v", err)
		}
		if m, err := c.Read(t.Context()); err != nil || m.MessageType != GoAway {
			t.Errorf("%+v %v", m, err)
		}
	})
}

// What must not come ends the socket, and the service is told why.
func TestReadEndsTheSocket(t *testing.T) {
	big := make([]byte, MessageBytesMax+1)
	half := ws.MustCompileFrame(ws.NewFrame(ws.OpText, false, big[:MessageBytesMax/2]))
	rest := ws.MustCompileFrame(ws.NewFrame(ws.OpContinuation, true, big[:MessageBytesMax/2+1]))
	longer := ws.NewTextFrame(nil)
	longer.Header.Length = 1 << 62
	rsv := ws.NewTextFrame([]byte("x"))
	rsv.Header.Rsv = ws.Rsv(true, false, false)
	for name, c := range map[string]struct {
		bytes []byte
		code  ws.StatusCode
		text  string
	}{
		"too big":            {ws.MustCompileFrame(ws.NewTextFrame(big)), ws.StatusMessageTooBig, "25000 bytes"},
		"announced too big":  {ws.MustCompileFrame(longer), ws.StatusMessageTooBig, "25000 bytes"},
		"too big in parts":   {append(half, rest...), ws.StatusMessageTooBig, "25000 bytes"},
		"binary":             {ws.MustCompileFrame(ws.NewBinaryFrame([]byte("x"))), ws.StatusUnsupportedData, "not text"},
		"masked":             {ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte("x")))), ws.StatusProtocolError, "masked"},
		"reserved bit":       {ws.MustCompileFrame(rsv), ws.StatusProtocolError, "rsv"},
		"no first fragment":  {ws.MustCompileFrame(ws.NewFrame(ws.OpContinuation, true, nil)), ws.StatusProtocolError, "continuation"},
		"two messages mixed": {append(ws.MustCompileFrame(ws.NewFrame(ws.OpText, false, nil)), goAway...), ws.StatusProtocolError, "continuation"},
		"long ping":          {ws.MustCompileFrame(ws.NewPingFrame(big[:126])), ws.StatusProtocolError, "control frame"},
		"length of 2^63":     {[]byte{0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, ws.StatusProtocolError, "most significant bit"},
		"closed":             {ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusGoingAway, "bye"))), ws.StatusGoingAway, `code 1001 "bye"`},
		"closed, no code":    {ws.CompiledClose, ws.StatusNormalClosure, "code 0"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, DialOptions{}, func(t *testing.T, client *Client, server net.Conn) {
				sent := frames(server)
				go server.Write(c.bytes)
				_, err := client.Read(t.Context())
				var e *FormatError
				if err == nil || errors.As(err, &e) || !strings.Contains(err.Error(), c.text) {
					t.Fatalf("%v, want %q", err, c.text)
				}
				f := <-sent
				if code, _ := ws.ParseCloseFrameData(f.Payload); f.Header.OpCode != ws.OpClose || code != c.code {
					t.Errorf("told %v %d, want %d", f.Header.OpCode, code, c.code)
				}
				if err := client.Write(t.Context(), Outbound{Action: SDPOffer, Payload: "AAAA"}); err == nil {
					t.Error("the socket still takes messages")
				}
			})
		})
	}
}

func TestCloseErrorHoldsTheCode(t *testing.T) {
	bubble(t, DialOptions{}, func(t *testing.T, c *Client, server net.Conn) {
		go func() {
			server.Write(ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(4001, "replaced"))))
			io.Copy(io.Discard, server)
		}()
		_, err := c.Read(t.Context())
		var e *CloseError
		if !errors.As(err, &e) || *e != (CloseError{4001, "replaced"}) {
			t.Error(err)
		}
	})
	bubble(t, DialOptions{}, func(t *testing.T, c *Client, server net.Conn) {
		server.Close()
		if _, err := c.Read(t.Context()); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

func TestReadWithAContextThatHasEnded(t *testing.T) {
	bubble(t, DialOptions{}, func(t *testing.T, c *Client, server net.Conn) {
		go io.Copy(io.Discard, server)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		if _, err := c.Read(ctx); !errors.Is(err, context.Canceled) || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestCloseUnblocksRead(t *testing.T) {
	bubble(t, DialOptions{}, func(t *testing.T, c *Client, server net.Conn) {
		go io.Copy(io.Discard, server)
		ended := make(chan error)
		go func() { _, err := c.Read(t.Context()); ended <- err }()
		synctest.Wait()
		c.Close()
		if err := <-ended; err == nil {
			t.Error("Read goes on")
		}
	})
}

// The other side takes nothing: a write gives up after 5 s, Close after one, whatever is being written.
func TestStuckPeerIsBounded(t *testing.T) {
	offer := Outbound{Action: SDPOffer, Payload: "AAAA"}
	bubble(t, DialOptions{}, func(t *testing.T, c *Client, server net.Conn) {
		start := time.Now()
		if err := c.Write(t.Context(), offer); err == nil || time.Since(start) != writeMax {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if _, err := c.Read(t.Context()); err == nil || time.Since(start) != writeMax {
			t.Errorf("half a frame is out and the socket goes on: %v after %v", err, time.Since(start))
		}
	})
	bubble(t, DialOptions{}, func(t *testing.T, c *Client, server net.Conn) {
		ended := make(chan error)
		go func() { ended <- c.Write(t.Context(), offer) }()
		synctest.Wait()
		start := time.Now()
		c.Close()
		if err := <-ended; err == nil || time.Since(start) != closeMax {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
	bubble(t, DialOptions{}, func(t *testing.T, c *Client, server net.Conn) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := c.Write(ctx, offer); err == nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// What was never begun does not harm the socket.
func TestWriteThatIsNotSentLeavesTheSocket(t *testing.T) {
	bubble(t, DialOptions{}, func(t *testing.T, c *Client, server net.Conn) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Write(ctx, Outbound{Action: SDPOffer, Payload: "AAAA"}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		var e *FormatError
		if err := c.Write(t.Context(), Outbound{Action: SDPOffer}); !errors.As(err, &e) {
			t.Error(err)
		}
		sent := frames(server)
		if err := c.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if f := <-sent; f.Header.OpCode != ws.OpPing {
			t.Errorf("%+v", f.Header)
		}
	})
}

// scripted is a connection on which everything that will come has come.
type scripted struct {
	net.Conn
	left io.Reader
}

func (s scripted) Read(b []byte) (int, error)       { return s.left.Read(b) }
func (s scripted) Write(b []byte) (int, error)      { return len(b), nil }
func (s scripted) SetReadDeadline(time.Time) error  { return nil }
func (s scripted) SetWriteDeadline(time.Time) error { return nil }
func (s scripted) Close() error                     { return nil }

func FuzzRead(f *testing.F) {
	f.Add(goAway)
	f.Add(append(ws.MustCompileFrame(ws.NewFrame(ws.OpText, false, []byte(`{"messageType"`))), ws.CompiledPing...))
	f.Add([]byte{0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0})
	f.Add(ws.MustCompileFrame(ws.NewCloseFrame([]byte{3})))
	f.Fuzz(func(t *testing.T, stream []byte) {
		conn := scripted{left: bytes.NewReader(stream)}
		c := newClient(conn, conn, nil, DialOptions{})
		for reads := 0; ; reads++ {
			m, err := c.Read(context.Background())
			var e *FormatError
			if err != nil && !errors.As(err, &e) {
				return // every stream ends, at its own end at the latest
			}
			if err == nil && m.MessageType == "" || reads > len(stream) {
				t.Fatalf("%+v after %d reads", m, reads)
			}
		}
	})
}
