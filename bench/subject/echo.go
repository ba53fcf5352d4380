package subject

// The baselines: the least that a server of websockets over TLS can do, with the certificate and the
// TLS settings of the service. Nobody signs, nobody is looked up, and every message goes back.

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/transport/api"
)

const (
	freeLoopback    = "127.0.0.1:0"
	messageBytesMax = 64 << 10
)

type echo struct {
	ca       []byte
	listener net.Listener
	group    actors.Group
	end      func()
}

// openEcho binds a port and lets serve answer on it until its context ends.
func openEcho(serve func(ctx context.Context, l net.Listener, g *actors.Group) error) (server, error) {
	id := api.Identity{Names: []string{"localhost"}, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}}
	authority, err := api.OpenAuthority("", id)
	if err != nil {
		return nil, err
	}
	cert, err := authority.Issue(id)
	if err != nil {
		return nil, err
	}
	inner, err := net.Listen("tcp", freeLoopback)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	e := &echo{ca: authority.PEM(), listener: tls.NewListener(inner, config)}
	ctx, cancel := context.WithCancel(context.Background())
	e.end = cancel
	e.group.Go("serve echo", func() error { return serve(ctx, e.listener, &e.group) })
	return e, nil
}

func (e *echo) address() Address {
	return Address{URL: "wss://" + e.listener.Addr().String(), CA: e.ca}
}

func (e *echo) stop() error {
	e.end()
	_ = e.listener.Close()
	return e.group.Wait()
}

// serveGoroutines gives each connection a goroutine that upgrades, reads and writes.
func serveGoroutines(ctx context.Context, l net.Listener, g *actors.Group) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return ignoreClosed(err)
		}
		g.Go("echo", func() error {
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer stop()
			defer conn.Close()
			if _, err := ws.Upgrade(conn); err != nil {
				return nil // the client's affair, as every end of an echo
			}
			for {
				message, err := wsutil.ReadClientText(conn)
				if err != nil || wsutil.WriteServerText(conn, message) != nil {
					return nil
				}
			}
		})
	}
}

// serveNetHTTP lets net/http accept and its handlers echo. net/http does not close what was hijacked.
func serveNetHTTP(ctx context.Context, l net.Listener, _ *actors.Group) error {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		conn.SetReadLimit(messageBytesMax)
		for {
			kind, message, err := conn.Read(ctx)
			if err != nil || conn.Write(ctx, kind, message) != nil {
				return
			}
		}
	})}
	return ignoreClosed(server.Serve(l))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
