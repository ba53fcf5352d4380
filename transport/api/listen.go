package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

const (
	headerBytesMax = 32 << 10 // a presigned query with a session token is about 3 KB
	headerWait     = 10 * time.Second
	requestWait    = 30 * time.Second
	idleWait       = 90 * time.Second
	shutdownWait   = 2 * time.Second
)

// Listener is the bound public door.
type Listener struct {
	net  net.Listener
	http *http.Server
}

// ListenTLS binds the public door. It speaks HTTP/1.1 only: both C clients pin it
// (kvs-protocol.md 7.4), and a WebSocket needs it.
func ListenTLS(address string, cert tls.Certificate, handler http.Handler, log *zap.Logger) (*Listener, error) {
	return listen(address, cert, tls.NoClientCert, handler, log)
}

// ListenMutualTLS binds the devices' door. It asks for a client certificate; the door itself judges
// it, so that a wrong one gets an answer (kvs-protocol.md 6) and not a broken handshake.
func ListenMutualTLS(address string, cert tls.Certificate, handler http.Handler, log *zap.Logger) (*Listener, error) {
	return listen(address, cert, tls.RequestClientCert, handler, log)
}

func listen(address string, cert tls.Certificate, ask tls.ClientAuthType, handler http.Handler, log *zap.Logger) (*Listener, error) {
	inner, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if log == nil {
		log = zap.NewNop()
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerWait,
		ReadTimeout:       requestWait,
		IdleTimeout:       idleWait,
		MaxHeaderBytes:    headerBytesMax,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	if server.ErrorLog, err = zap.NewStdLogAt(log.Named("https"), zap.InfoLevel); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   ask,
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"},
	}
	return &Listener{net: tls.NewListener(inner, config), http: server}, nil
}

// Addr returns the bound address.
func (l *Listener) Addr() *net.TCPAddr { return l.net.Addr().(*net.TCPAddr) }

// Close unbinds a door that never served.
func (l *Listener) Close() error { return l.net.Close() }

// Serve answers requests until ctx ends, then lets those in flight finish for a short time. It
// closes the door. WebSockets have left it: their connections own them.
func (l *Listener) Serve(ctx context.Context) error {
	requests, cancel := context.WithCancel(context.Background())
	defer cancel()
	l.http.BaseContext = func(net.Listener) context.Context { return requests }
	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		wait, done := context.WithTimeout(context.Background(), shutdownWait)
		defer done()
		if l.http.Shutdown(wait) != nil {
			cancel() // frees what still waits for the Backend
			_ = l.http.Close()
		}
	})
	err := l.http.Serve(l.net)
	if !stop() {
		<-drained
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve https: %w", err)
}
