package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/pion/stun/v3"
)

// Server is one URL of a STUN or TURN server (RFC 7064, 7065).
type Server struct {
	URL      string
	Host     string
	Port     uint16
	Turn     bool
	Secure   bool // TLS, or DTLS over UDP
	Datagram bool // UDP
}

// ParseServer reads a URL as GetIceServerConfig gives it.
func ParseServer(url string) (Server, error) {
	uri, err := stun.ParseURI(url)
	if err != nil {
		return Server{}, fmt.Errorf("read ICE server URL %q: %w", url, err)
	}
	return Server{
		URL: url, Host: uri.Host, Port: uint16(uri.Port),
		Turn:     uri.Scheme == stun.SchemeTypeTURN || uri.Scheme == stun.SchemeTypeTURNS,
		Secure:   uri.Scheme == stun.SchemeTypeTURNS || uri.Scheme == stun.SchemeTypeSTUNS,
		Datagram: uri.Proto == stun.ProtoTypeUDP,
	}, nil
}

// Transport names what the server is reached by.
func (s Server) Transport() string {
	switch {
	case s.Datagram && s.Secure:
		return "DTLS"
	case s.Datagram:
		return "UDP"
	case s.Secure:
		return "TLS"
	}
	return "TCP"
}

// Login is what a TURN server takes; it is a secret.
type Login struct{ Username, Password string }

const (
	protocolUDP = 17 // of REQUESTED-TRANSPORT (RFC 8656 18.6)
	familyIPv6  = 2  // of REQUESTED-ADDRESS-FAMILY (RFC 8656 18.8)

	codeUnauthorized = 401
	codeStaleNonce   = 438
)

// Allocate has a TURN server make an allocation (RFC 8656 7), frees it, and returns the relayed address.
// A server that says no gives a *Refusal. roots are trusted for TLS; nil: the system's.
func Allocate(ctx context.Context, server Server, at netip.Addr, login Login, roots *x509.CertPool) (netip.AddrPort, error) {
	far := netip.AddrPortFrom(at, server.Port)
	line, closeLine, err := connect(ctx, server, far, roots)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer closeLine()
	a := &allocation{line: line, login: login, six: at.Is6()}
	relayed, err := a.make(ctx)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("allocate: %w", err)
	}
	if err := a.free(ctx); err != nil {
		return relayed, fmt.Errorf("free the allocation %s: %w", relayed, err)
	}
	return relayed, nil
}

// connect opens the way to the server.
func connect(ctx context.Context, server Server, far netip.AddrPort, roots *x509.CertPool) (caller, func() error, error) {
	if server.Datagram && server.Secure {
		return nil, nil, errors.New("TURN over DTLS is not spoken")
	}
	if server.Datagram {
		socket, err := Open(far, netip.Addr{})
		if err != nil {
			return nil, nil, err
		}
		return datagrams{socket.conn, far}, socket.Close, nil
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", far.String())
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	if !server.Secure {
		return stream{conn}, conn.Close, nil
	}
	secured := tls.Client(conn, &tls.Config{ServerName: server.Host, RootCAs: roots, MinVersion: tls.VersionTLS12})
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("TLS handshake with %s: %w", net.JoinHostPort(server.Host, strconv.Itoa(int(server.Port))), err), conn.Close())
	}
	return stream{secured}, secured.Close, nil
}

// allocation is one on its way.
type allocation struct {
	line  caller
	login Login
	six   bool

	realm stun.Realm
	nonce stun.Nonce
}

// make asks twice: the first answer tells realm and nonce (RFC 8489 9.2.4).
func (a *allocation) make(ctx context.Context) (netip.AddrPort, error) {
	method := stun.NewType(stun.MethodAllocate, stun.ClassRequest)
	attributes := []stun.Setter{&stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{protocolUDP, 0, 0, 0}}}
	if a.six {
		attributes = append(attributes, &stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{familyIPv6, 0, 0, 0}})
	}
	response, err := a.ask(ctx, method, attributes)
	if err != nil {
		return netip.AddrPort{}, err
	}
	var relayed stun.XORMappedAddress
	if err := relayed.GetFromAs(response, stun.AttrXORRelayedAddress); err != nil {
		return netip.AddrPort{}, fmt.Errorf("read relayed address: %w", err)
	}
	return addrPort(relayed.IP, relayed.Port), nil
}

// free ends the allocation: a refresh with a lifetime of 0 (RFC 8656 8.1).
func (a *allocation) free(ctx context.Context) error {
	_, err := a.ask(ctx, stun.NewType(stun.MethodRefresh, stun.ClassRequest), []stun.Setter{&stun.RawAttribute{Type: stun.AttrLifetime, Value: make([]byte, 4)}})
	return err
}

// ask makes a request, and makes it again with the realm and nonce that the server wants.
func (a *allocation) ask(ctx context.Context, method stun.MessageType, attributes []stun.Setter) (*stun.Message, error) {
	for range 2 {
		response, err := a.once(ctx, method, attributes)
		if err != nil {
			return nil, err
		}
		answer, err := result(response)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Code != codeStaleNonce && (refusal.Code != codeUnauthorized || len(a.nonce) > 0) {
			return answer, err
		}
		if err := errors.Join(a.realm.GetFrom(response), a.nonce.GetFrom(response)); err != nil {
			return nil, fmt.Errorf("%w, without a realm and nonce: %w", refusal, err)
		}
	}
	return nil, errors.New("the server wants one nonce after the other")
}

func (a *allocation) once(ctx context.Context, method stun.MessageType, attributes []stun.Setter) (*stun.Message, error) {
	setters := append([]stun.Setter{stun.TransactionID, method}, attributes...)
	if len(a.nonce) > 0 {
		setters = append(setters, stun.NewUsername(a.login.Username), a.realm, a.nonce,
			stun.NewLongTermIntegrity(a.login.Username, a.realm.String(), a.login.Password))
	}
	request, err := stun.Build(append(setters, stun.Fingerprint)...)
	if err != nil {
		return nil, err
	}
	return a.line.call(ctx, request)
}
