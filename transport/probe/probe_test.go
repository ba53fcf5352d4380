package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/heliograph-rtc/heliograph/transport/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 10 * time.Second
	testARN  = "arn:aws:kinesisvideo:us-west-2:123456789012:channel/cam/1577439476380"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// serving is a relay with a certificate of its own, and what trusts it.
func serving(t *testing.T, change func(*relay.Config)) (*relay.Relay, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{loopback.AsSlice()},
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	cfg := relay.Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Secret: []byte("shared"), Certificate: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	if change != nil {
		change(&cfg)
	}
	r, err := relay.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, roots
}

// server finds the relay's URL of a transport.
func server(t *testing.T, r *relay.Relay, transport string) Server {
	t.Helper()
	for _, url := range r.URLs() {
		if s, err := ParseServer(url); err == nil && s.Transport() == transport {
			return s
		}
	}
	t.Fatalf("no %s in %v", transport, r.URLs())
	return Server{}
}

func TestAllocateOverEveryTransport(t *testing.T) {
	r, roots := serving(t, func(c *relay.Config) { c.AllocationsPerCredential = 1 })
	username, password := r.Credentials(testARN, "cam", time.Now(), time.Minute)
	for _, transport := range []string{"UDP", "TCP", "TLS"} {
		relayed, err := Allocate(within(t, patience), server(t, r, transport), loopback, Login{username, password}, roots)
		if err != nil || relayed.Addr() != loopback || relayed.Port() == 0 {
			t.Errorf("%s: relayed %v, %v", transport, relayed, err) // one that was not freed takes the only place there is
		}
	}
}

func TestAllocateIsRefused(t *testing.T) {
	r, roots := serving(t, func(c *relay.Config) { c.Deny = func(relay.User) bool { return true } })
	username, password := r.Credentials(testARN, "cam", time.Now(), time.Minute)
	for _, transport := range []string{"UDP", "TCP", "TLS"} {
		for code, login := range map[int]Login{401: {username, "wrong"}, 486: {username, password}} {
			_, err := Allocate(within(t, patience), server(t, r, transport), loopback, login, roots)
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Code != code || refusal.Reason == "" {
				t.Errorf("%s: %v, want %d with a reason", transport, err, code)
			}
		}
	}
}

func TestAllocateTrustsNobodyElse(t *testing.T) {
	r, _ := serving(t, nil)
	_, strangers := serving(t, nil)
	_, err := Allocate(within(t, patience), server(t, r, "TLS"), loopback, Login{}, strangers)
	var untrusted *tls.CertificateVerificationError
	if !errors.As(err, &untrusted) {
		t.Fatalf("%v, want a certificate that is not trusted", err)
	}
}

// TestSilence: a socket that answers nothing ends with its time.
func TestSilence(t *testing.T) {
	quiet, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	far := quiet.LocalAddr().(*net.UDPAddr).AddrPort()
	s := Server{Host: "127.0.0.1", Port: far.Port(), Turn: true, Datagram: true}
	if _, err := Allocate(within(t, 50*time.Millisecond), s, loopback, Login{}, nil); !errors.Is(err, errSilent) {
		t.Fatalf("%v, want %v", err, errSilent)
	}
}

func TestAsk(t *testing.T) {
	r, _ := serving(t, nil)
	far := netip.AddrPortFrom(loopback, server(t, r, "UDP").Port)
	s, err := Open(far, netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	seen, err := s.Ask(within(t, patience), far)
	if err != nil {
		t.Fatal(err)
	}
	local, err := s.From(far)
	if err != nil || seen.Mapped != local || seen.Server != far {
		t.Fatalf("seen %+v of %v, %v", seen, local, err)
	}
	if got := MappingOf(local, []Sighting{seen}); got != NoNAT {
		t.Fatalf("mapping %v, want none", got)
	}
}

func TestMappingOf(t *testing.T) {
	at := netip.MustParseAddrPort
	local, one, two := at("192.168.0.2:4000"), at("198.51.100.1:443"), at("198.51.100.2:443")
	for name, c := range map[string]struct {
		seen []Sighting
		want Mapping
	}{
		"nobody answered": {nil, MappingUnknown},
		"no NAT":          {[]Sighting{{Server: one, Mapped: local}, {Server: two, Mapped: local}}, NoNAT},
		"one server":      {[]Sighting{{Server: one, Mapped: at("203.0.113.9:4000")}, {Server: one, Mapped: at("203.0.113.9:4000")}}, MappingUnknown},
		"the same":        {[]Sighting{{Server: one, Mapped: at("203.0.113.9:4000")}, {Server: two, Mapped: at("203.0.113.9:4000")}}, MappingIndependent},
		"other port":      {[]Sighting{{Server: one, Mapped: at("203.0.113.9:4000")}, {Server: two, Mapped: at("203.0.113.9:4001")}}, MappingDependent},
		"other address":   {[]Sighting{{Server: one, Mapped: at("203.0.113.9:4000")}, {Server: two, Mapped: at("203.0.113.8:4000")}}, MappingDependent},
		"other port of one server": {[]Sighting{{Server: one, Mapped: at("203.0.113.9:4000")}, {Server: at("198.51.100.1:444"), Mapped: at("203.0.113.9:4001")}},
			MappingDependent},
	} {
		if got := MappingOf(local, c.seen); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestParseServer(t *testing.T) {
	for url, want := range map[string]string{
		"stun:stun.example.org:443": "UDP", "turn:198.51.100.1:443?transport=udp": "UDP", "turns:198.51.100.1:443?transport=udp": "DTLS",
		"turns:198.51.100.1:443?transport=tcp": "TLS", "turn:198.51.100.1:443?transport=tcp": "TCP",
	} {
		if s, err := ParseServer(url); err != nil || s.Transport() != want || s.Port != 443 {
			t.Errorf("%s: %+v, %v; want %s", url, s, err, want)
		}
	}
	if _, err := ParseServer("https://example.org"); err == nil {
		t.Error("https is taken for a STUN or TURN server")
	}
}
