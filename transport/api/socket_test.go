package api

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is a socket and the client's end of its connection.
func pair(t *testing.T) (*socket, net.Conn) {
	t.Helper()
	server, client := net.Pipe()
	t.Cleanup(func() { server.Close(); client.Close() })
	return newSocket(server, bufio.NewReader(server)), client
}

func frames(all ...ws.Frame) []byte {
	var b bytes.Buffer
	for _, f := range all {
		_ = ws.WriteFrame(&b, f)
	}
	return b.Bytes()
}

func masked(op ws.OpCode, fin bool, data string) ws.Frame {
	return ws.MaskFrame(ws.NewFrame(op, fin, []byte(data)))
}

func TestSocketReads(t *testing.T) {
	closeBody := string(ws.NewCloseFrameBody(ws.StatusGoingAway, "bye"))
	for _, c := range []struct {
		name   string
		input  []byte
		text   string
		reason string
		code   int
	}{
		{"text", frames(masked(ws.OpText, true, "hello")), "hello", "", 0},
		{"fragments", frames(masked(ws.OpText, false, "he"), masked(ws.OpPong, true, ""), masked(ws.OpContinuation, true, "llo")), "hello", "", 0},
		{"empty text is no ping", frames(masked(ws.OpText, true, "")), " ", "", 0},
		{"close", frames(masked(ws.OpClose, true, closeBody)), "", "closed", 1001},
		{"close without code", frames(masked(ws.OpClose, true, "")), "", "closed", 1000},
		{"close with a bad code", frames(masked(ws.OpClose, true, "\x00\x01")), "", "closed", 1002},
		{"binary", frames(masked(ws.OpBinary, true, "x")), "", "binary", 1003},
		{"not masked", frames(ws.NewFrame(ws.OpText, true, []byte("x"))), "", "protocol", 1002},
		{"continuation of nothing", frames(masked(ws.OpContinuation, true, "x")), "", "protocol", 1002},
		{"text within text", frames(masked(ws.OpText, false, "x"), masked(ws.OpText, true, "x")), "", "protocol", 1002},
		{"reserved bits", []byte{0xf1, 0x81, 0, 0, 0, 0, 'x'}, "", "protocol", 1002},
		{"not UTF-8", frames(masked(ws.OpText, true, "\xff")), "", "utf8", 1007},
		{"1 MB", frames(masked(ws.OpText, true, strings.Repeat("x", 1<<20))), "", "oversized", 1009},
		{"too long in pieces", frames(masked(ws.OpText, false, strings.Repeat("x", signaling.MessageBytesMax)), masked(ws.OpContinuation, true, "x")), "", "oversized", 1009},
		{"cut short", frames(masked(ws.OpText, true, "hello"))[:8], "", "broken", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, client := net.Pipe()
			defer client.Close()
			defer server.Close()
			s := &socket{conn: server, in: bufio.NewReader(bytes.NewReader(c.input))}
			text, err := s.Read()
			if string(text) != c.text {
				t.Errorf("read %q, want %q", text, c.text)
			}
			fault, _ := errors.AsType[*messages.SocketError](err)
			switch {
			case c.reason == "" && err != nil:
				t.Error(err)
			case c.reason != "" && (fault == nil || fault.Reason != c.reason || fault.Code != c.code):
				t.Errorf("ended with %+v, want %d %s", fault, c.code, c.reason)
			}
		})
	}
}

func TestSocketAnswersPing(t *testing.T) {
	s, client := pair(t)
	read := make(chan error, 1)
	go func() {
		text, err := s.Read()
		if text != nil {
			err = errors.New("a ping was read as text")
		}
		read <- err
	}()
	if _, err := client.Write(frames(masked(ws.OpPing, true, "are you there"))); err != nil {
		t.Fatal(err)
	}
	pong, err := ws.ReadFrame(client)
	if err != nil || pong.Header.OpCode != ws.OpPong || string(pong.Payload) != "are you there" {
		t.Fatalf("%+v %v", pong, err)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
}

func TestSocketNoticesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := pair(t)
		began := time.Now()
		_, err := s.Read()
		if fault, _ := errors.AsType[*messages.SocketError](err); fault == nil || fault.Reason != "silent" {
			t.Fatalf("ended with %v", err)
		}
		if took := time.Since(began); took > 35*time.Second {
			t.Errorf("a dead peer was noticed after %v", took)
		}
	})
}

// A peer that takes nothing must not hold up the goodbye, even with a write under way. In real time:
// synctest's clock stands while a mutex is waited for.
func TestSocketCloseIsBounded(t *testing.T) {
	s, _ := pair(t)
	stuck := make(chan error, 1)
	go func() { stuck <- s.Write([]byte("nobody reads this")) }()
	began := time.Now()
	s.Close(1008, "slow")
	if took := time.Since(began); took > writeWait/2 {
		t.Errorf("closed after %v", took)
	}
	if <-stuck == nil {
		t.Error("the stuck write succeeded")
	}
}

// The close frame arrives although the client has sent what nobody read.
func TestSocketCloseFrameArrives(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() {
		newSocket(server, bufio.NewReader(server)).Close(1009, "oversized")
		close(closed)
	}()
	frame, err := ws.ReadFrame(client)
	if err != nil || frame.Header.OpCode != ws.OpClose {
		t.Fatalf("%+v %v", frame, err)
	}
	if code, reason := ws.ParseCloseFrameData(frame.Payload); code != 1009 || reason != "oversized" {
		t.Errorf("%d %s", code, reason)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the close frame: %d %v", n, err)
	}
	client.Close()
	<-closed
}

func TestSocketReadsWhatCameWithTheHandshake(t *testing.T) {
	server, client := net.Pipe()
	defer client.Close()
	defer server.Close()
	input := frames(masked(ws.OpText, true, "first"), masked(ws.OpText, true, strings.Repeat("2", 2*headBytes)))
	handshake := bufio.NewReader(io.MultiReader(bytes.NewReader(input[:20]), server))
	if _, err := handshake.Peek(1); err != nil {
		t.Fatal(err)
	}
	s := newSocket(server, handshake)
	go func() { _, _ = client.Write(input[20:]) }()
	for _, want := range []int{len("first"), 2 * headBytes} {
		if text, err := s.Read(); err != nil || len(text) != want {
			t.Fatalf("%q %v", text, err)
		}
	}
}

// A peer that died unseen is pinged once and found out; one that answers stays.
func TestSocketPingsTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, client := pair(t)
		begin := time.Now()
		go func() {
			for i := range 4 {
				frame, err := ws.ReadFrame(client)
				if err != nil || frame.Header.OpCode != ws.OpPing {
					t.Errorf("%+v %v", frame.Header, err)
				}
				if i < 3 {
					_, _ = client.Write(frames(masked(ws.OpPong, true, "")))
				}
			}
		}()
		_, err := s.Read()
		if fault, _ := errors.AsType[*messages.SocketError](err); fault == nil || fault.Reason != "silent" {
			t.Errorf("%v", err)
		}
		if lived := time.Since(begin); lived != 3*pingEvery+silenceMax {
			t.Errorf("given up after %v", lived)
		}
	})
}

func FuzzSocketRead(f *testing.F) {
	f.Add(frames(masked(ws.OpText, true, "{}")))
	f.Add(frames(masked(ws.OpText, false, "a"), masked(ws.OpPing, true, "p"), masked(ws.OpContinuation, true, "b")))
	f.Add(frames(masked(ws.OpClose, true, "\x03\xe8bye")))
	f.Add([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, input []byte) {
		server, client := net.Pipe()
		defer client.Close()
		defer server.Close()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		s := &socket{conn: server, in: bufio.NewReaderSize(bytes.NewReader(input), headBytes)}
		for {
			text, err := s.Read()
			if err != nil {
				return
			}
			if len(text) > signaling.MessageBytesMax {
				t.Fatalf("a message of %d bytes passed", len(text))
			}
		}
	})
}
