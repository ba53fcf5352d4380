// Package admin is the loopback door of both programs: health, metrics, profiles, census.
//
// The flow: Listen binds, Serve answers until its context ends. Every request passes the Host check
// first: a web page that rebinds its DNS name to 127.0.0.1 still sends its own name, and is refused.
package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Bounds of the door.
const (
	askTimeMax         = 2 * time.Second // for Ready and Sessions
	readHeaderTimeMax  = 5 * time.Second
	idleTimeMax        = 60 * time.Second
	shutdownTimeMax    = 2 * time.Second
	requestHeaderBytes = 64 << 10
)

// Config says what the door shows. A nil function or handler leaves its path out.
type Config struct {
	Listen   string                                 // loopback address; empty = a free port on 127.0.0.1
	Ready    func(ctx context.Context) error        // nil error: ready; heeds ctx, which ends after 2 s; nil = always ready
	Sessions func(ctx context.Context) (any, error) // the census, shown as JSON; heeds ctx, which ends after 2 s
	Metrics  http.Handler
	Extra    map[string]http.Handler // more routes, by http.ServeMux pattern
	Log      *zap.Logger
}

// Server is a bound door.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Listen binds the door. It refuses an address that other machines could reach.
func Listen(c Config) (*Server, error) {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	addr, err := net.ResolveTCPAddr("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for admin: %w", err)
	}
	if !addr.IP.IsLoopback() {
		return nil, fmt.Errorf("listen for admin: %q is not a loopback address; use 127.0.0.1:PORT", c.Listen)
	}
	listener, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for admin: %w", err)
	}
	return &Server{
		listener: listener,
		http: &http.Server{
			Handler:           Routes(c),
			ReadHeaderTimeout: readHeaderTimeMax,
			IdleTimeout:       idleTimeMax,
			MaxHeaderBytes:    requestHeaderBytes,
			ErrorLog:          zap.NewStdLog(c.Log),
		},
	}, nil
}

// Addr returns the bound address as host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve answers requests until ctx ends, then lets those in flight finish for at most 2 s and
// returns nil. The door is closed afterwards.
func (s *Server) Serve(ctx context.Context) error {
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		s.shutdown()
	})
	err := s.http.Serve(s.listener)
	if stop() {
		return fmt.Errorf("serve admin: %w", err)
	}
	<-stopped
	return nil
}

// shutdown ends the server; requests that do not finish in time are cut.
func (s *Server) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeMax)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
}

// Close unbinds a door at once, also one that never served.
func (s *Server) Close() error {
	err := s.http.Close()
	if closeErr := s.listener.Close(); !errors.Is(closeErr, net.ErrClosed) {
		err = errors.Join(err, closeErr)
	}
	return err
}

// Routes returns the door's handler, Host check included, for a program that serves it itself.
func Routes(c Config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", c.readyz)
	if c.Metrics != nil {
		mux.Handle("GET /metrics", c.Metrics)
	}
	if c.Sessions != nil {
		mux.HandleFunc("GET /sessions", c.sessions)
	}
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	for pattern, handler := range c.Extra {
		mux.Handle(pattern, handler)
	}
	return LocalHost(mux)
}

func (c Config) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), askTimeMax)
	defer cancel()
	if c.Ready != nil {
		if err := c.Ready(ctx); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	fmt.Fprintln(w, "ready")
}

func (c Config) sessions(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), askTimeMax)
	defer cancel()
	census, err := c.Sessions(ctx)
	if err != nil {
		http.Error(w, "take census: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	var body bytes.Buffer // encoded whole before the status goes out, so that a failure can still say so
	encoder := json.NewEncoder(&body)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(census); err != nil {
		http.Error(w, "encode census: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(body.Bytes())
}

// LocalHost refuses requests whose Host header is neither localhost nor a loopback address, with 403.
func LocalHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r.Host) {
			http.Error(w, "this door answers on localhost only; open it as http://localhost:PORT/", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLocal judges a Host header: host or host:port, an IPv6 address in brackets.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil && addr.IsLoopback()
}
