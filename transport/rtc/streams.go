package rtc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"sync"

	"github.com/pion/stun/v3"
	"github.com/pion/webrtc/v4"
)

// turnStreams opens the streams to TURN servers over TCP and TLS. pion/ice opens them itself unless
// it has such a dialer, but trusts the system's roots alone; a dialer gets the address and must know
// by itself which are TLS. The name that TLS verifies is the URL's (kvs-protocol.md 5). pion dials on
// goroutines of its own, one allocation each, while a restart may bring further servers.
type turnStreams struct {
	network *network
	roots   *x509.CertPool
	secure  sync.Map // host:port of the turns URLs
}

func newTurnStreams(n *network, roots *x509.CertPool) *turnStreams {
	return &turnStreams{network: n, roots: roots}
}

// trust takes in which of the servers are reached over TLS.
func (t *turnStreams) trust(servers []webrtc.ICEServer) {
	for _, server := range servers {
		for _, url := range server.URLs {
			if uri, err := stun.ParseURI(url); err == nil && uri.Scheme == stun.SchemeTypeTURNS {
				t.secure.Store(net.JoinHostPort(uri.Host, fmt.Sprint(uri.Port)), true)
			}
		}
	}
}

// Dial implements proxy.Dialer.
func (t *turnStreams) Dial(network, address string) (net.Conn, error) {
	at, err := t.network.ResolveTCPAddr(network, address)
	if err != nil {
		return nil, err
	}
	conn, err := t.network.DialTCP(network, nil, at)
	if err != nil {
		return nil, err
	}
	if _, secure := t.secure.Load(address); !secure {
		return conn, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(t.network.ctx, dialMax)
	defer cancel()
	secured := tls.Client(conn, &tls.Config{RootCAs: t.roots, ServerName: host, MinVersion: tls.VersionTLS12})
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("shake hands with TURN server: %w", err)
	}
	return secured, nil
}
