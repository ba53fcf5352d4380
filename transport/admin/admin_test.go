package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// get asks a handler as a local client does and returns what it says.
func get(t *testing.T, h http.Handler, path string) (int, http.Header, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "localhost:9000"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Header(), w.Body.String()
}

func TestRoutes(t *testing.T) {
	text := func(s string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) })
	}
	door := Routes(Config{
		Metrics: text("heliograph_up 1"),
		Extra:   map[string]http.Handler{"GET /whep/{channel}": text("extra")},
	})
	for _, c := range []struct {
		path, want string
		status     int
	}{
		{"/healthz", "ok", 200},
		{"/readyz", "ready", 200},
		{"/metrics", "heliograph_up 1", 200},
		{"/whep/demo", "extra", 200},
		{"/debug/pprof/", "Types of profiles available", 200},
		{"/debug/pprof/goroutine?debug=1", "goroutine profile", 200},
		{"/debug/pprof/cmdline", "", 200},
		{"/sessions", "not found", 404},
		{"/", "not found", 404},
	} {
		status, _, body := get(t, door, c.path)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("GET %s: %d %q, want %d %q", c.path, status, body, c.status, c.want)
		}
	}
}

func TestReadyz(t *testing.T) {
	var bound time.Duration
	door := Routes(Config{Ready: func(ctx context.Context) error {
		deadline, _ := ctx.Deadline()
		bound = time.Until(deadline)
		return errors.New("session is connecting")
	}})
	status, _, body := get(t, door, "/readyz")
	if status != http.StatusServiceUnavailable || body != "not ready: session is connecting\n" {
		t.Errorf("GET /readyz: %d %q", status, body)
	}
	if bound <= 0 || bound > askTimeMax {
		t.Errorf("Ready had %v to answer, want at most %v", bound, askTimeMax)
	}
}

func TestSessions(t *testing.T) {
	census := map[string]any{"viewers": []string{"anna"}}
	status, header, body := get(t, Routes(Config{
		Sessions: func(context.Context) (any, error) { return census, nil },
	}), "/sessions")
	if status != 200 || body != "{\n  \"viewers\": [\n    \"anna\"\n  ]\n}\n" || header.Get("Content-Type") != "application/json" {
		t.Errorf("GET /sessions: %d %v %q", status, header, body)
	}

	status, _, body = get(t, Routes(Config{
		Sessions: func(context.Context) (any, error) { return nil, errors.New("nobody there") },
	}), "/sessions")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "nobody there") {
		t.Errorf("GET /sessions with an error: %d %q", status, body)
	}

	status, _, body = get(t, Routes(Config{
		Sessions: func(context.Context) (any, error) { return func() {}, nil },
	}), "/sessions")
	if status != http.StatusInternalServerError || !strings.Contains(body, "encode census") {
		t.Errorf("GET /sessions that JSON cannot hold: %d %q", status, body)
	}
}

func TestLocalHost(t *testing.T) {
	door := LocalHost(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "in") }))
	for host, want := range map[string]int{
		"localhost":                200,
		"LOCALHOST:8080":           200,
		"127.0.0.1":                200,
		"127.3.2.1:8080":           200,
		"[::1]":                    200,
		"[::1]:8080":               200,
		"":                         403,
		"evil.example":             403,
		"evil.example:8080":        403,
		"localhost.evil.example":   403,
		"127.0.0.1.evil.example":   403,
		"192.168.1.10:8080":        403,
		"0.0.0.0:8080":             403,
		"[::ffff:192.168.1.10]:80": 403,
		"[fe80::1]:80":             403,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		door.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("Host %q: %d, want %d", host, w.Code, want)
		}
		if want == 403 && !strings.Contains(w.Body.String(), "localhost") {
			t.Errorf("Host %q: refusal %q does not say what to do", host, w.Body)
		}
	}
}

func TestListenRefusesOtherAddresses(t *testing.T) {
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "not an address"} {
		server, err := Listen(Config{Listen: address})
		if err == nil {
			server.Close()
			t.Errorf("Listen on %q: no error", address)
		}
	}
}

// serve runs a door until the test's context ends; the channel gives what Serve returned.
func serve(t *testing.T, c Config) (*Server, context.CancelFunc, <-chan error) {
	t.Helper()
	server, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()
	return server, cancel, done
}

func TestServeLetsRequestsFinish(t *testing.T) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	inside, leave := make(chan struct{}), make(chan struct{})
	server, cancel, done := serve(t, Config{Sessions: func(context.Context) (any, error) {
		close(inside)
		<-leave
		return "done", nil
	}})
	answer := make(chan string, 1)
	go func() {
		response, err := client.Get("http://" + server.Addr() + "/sessions")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer response.Body.Close()
		var text string
		json.NewDecoder(response.Body).Decode(&text)
		answer <- text
	}()
	<-inside
	cancel()
	for { // the door is closed to new clients while the old one is served
		conn, err := net.Dial("tcp", server.Addr())
		if err != nil {
			break
		}
		conn.Close()
	}
	close(leave)
	if got := <-answer; got != "done" {
		t.Errorf("request in flight got %q", got)
	}
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeOverTheWire(t *testing.T) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	server, cancel, done := serve(t, Config{})
	for host, want := range map[string]int{"": 200, "evil.example": 403} {
		request, _ := http.NewRequest(http.MethodGet, "http://"+server.Addr()+"/healthz", nil)
		request.Host = host
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("Host %q: %d, want %d", host, response.StatusCode, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeAfterItsContextEnded(t *testing.T) {
	server, err := Listen(Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := server.Serve(ctx); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestCloseWithoutServe(t *testing.T) {
	server, err := Listen(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", server.Addr()); err == nil {
		conn.Close()
		t.Error("the door still answers")
	}
}
