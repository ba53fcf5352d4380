package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/turn/v5"
)

const testHost = "127-0-0-1.t-0123abcd.kinesisvideo.us-west-2.amazonaws.com"

// The certificate of the tests and a pool that trusts it.
var testCertificate, testRoots = newCertificate()

func newCertificate() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"*" + testHost[strings.IndexByte(testHost, '.'):]}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// connect opens a client's socket over one of the transports; TLS and DTLS verify the host name.
func connect(t *testing.T, r *Relay, over string) net.PacketConn {
	t.Helper()
	must := func(conn net.Conn, err error) net.Conn {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	switch over {
	case overUDP:
		local := "127.0.0.1:0"
		if strings.HasPrefix(r.address(t, over), "[") {
			local = "[::1]:0"
		}
		udp, err := net.ListenPacket("udp", local)
		if err != nil {
			t.Fatal(err)
		}
		return udp
	case overTCP:
		return turn.NewSTUNConn(must(net.Dial("tcp", r.address(t, over))))
	case overTLS:
		return turn.NewSTUNConn(must(tls.Dial("tcp", r.address(t, over), &tls.Config{RootCAs: testRoots, ServerName: testHost})))
	}
	server, err := net.ResolveUDPAddr("udp", r.address(t, over))
	if err != nil {
		t.Fatal(err)
	}
	return turn.NewSTUNConn(must(dtls.DialWithOptions("udp4", server, dtls.WithRootCAs(testRoots), dtls.WithServerName(testHost))))
}

func TestSecureClientsRefuseAnotherName(t *testing.T) {
	r := listenTest(t, nil)
	other := "127-0-0-1.t-ffffffff.kinesisvideo.us-west-2.amazonaws.com"
	if conn, err := tls.Dial("tcp", r.address(t, overTLS), &tls.Config{RootCAs: testRoots, ServerName: other}); err == nil {
		_ = conn.Close()
		t.Error("TLS with a foreign name")
	}
	server, err := net.ResolveUDPAddr("udp", r.address(t, overDTLS))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dtls.DialWithOptions("udp", server, dtls.WithRootCAs(testRoots), dtls.WithServerName(other))
	if err == nil {
		if err = conn.Handshake(); err == nil {
			t.Error("DTLS with a foreign name")
		}
		_ = conn.Close()
	}
	eventually(t, "their sessions end", func() bool { return r.openStreams() == 0 })
}

func (r *Relay) openStreams() (open int) {
	for _, l := range r.streams {
		l.mu.Lock()
		open += len(l.conns)
		l.mu.Unlock()
	}
	return open
}

// Padding may be left out over DTLS (RFC 8656 12.5), as over UDP.
func TestUnpaddedChannelDataOverDTLS(t *testing.T) {
	client, server := net.Pipe()
	l := &listener{relay: &Relay{}, over: overDTLS, conns: map[*framedConn]struct{}{}}
	conn := &framedConn{Conn: server, listener: l, reader: newReader(server)}
	defer client.Close()
	done := make(chan error, 1)
	go func() { _, err := client.Write([]byte{0x40, 0, 0, 5, 'h', 'e', 'l', 'l', 'o'}); done <- err }()
	p := make([]byte, frameBytesMax)
	n, err := conn.Read(p)
	if err != nil || n != 12 || string(p[4:12]) != "hello\x00\x00\x00" {
		t.Errorf("%d bytes %q: %v", n, p[:n], err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What is no DTLS of a session is dropped and counted, and the socket goes on.
func TestStrayDTLSRecords(t *testing.T) {
	r := listenTest(t, nil)
	stray, err := net.Dial("udp4", r.address(t, overUDP))
	if err != nil {
		t.Fatal(err)
	}
	defer stray.Close()
	for _, p := range [][]byte{{23, 0xfe, 0xfd, 0, 0}, {63}, {21, 1, 2, 3}} {
		if _, err := stray.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "three records are counted", func() bool { return r.Stats().DatagramsRefused == 3 })
	if r.openStreams() != 0 {
		t.Error("a stray record made a session")
	}
	if _, err := dial(t, r, overUDP, "", "").SendBindingRequest(); err != nil {
		t.Error(err)
	}
}

func TestTakenStreamsAreServed(t *testing.T) {
	r := listenTest(t, func(c *Config) { c.TCP, c.TakesTLS = "", true })
	client, server := net.Pipe()
	if err := r.Take(server); err != nil {
		t.Fatal(err)
	}
	c, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: r.address(t, overUDP), Conn: turn.NewSTUNConn(client), LoggerFactory: quietFactory{r.log},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	defer c.Close()
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream was accepted", func() bool { return r.openStreams() == 1 })
	without := listenTest(t, func(c *Config) { c.Certificate = nil })
	if without.Take(server) == nil {
		t.Error("taken without TLS")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r.Take(server) == nil {
		t.Error("taken after Close")
	}
}

func TestURLs(t *testing.T) {
	r := listenTest(t, nil)
	udp, tcp := r.address(t, overUDP), r.address(t, overTCP)
	if want := []string{"turn:" + udp + "?transport=udp", "turns:" + udp + "?transport=udp", "turns:" + tcp + "?transport=tcp"}; !slices.Equal(r.AWSForm(""), want) {
		t.Errorf("AWS's form %q, want %q", r.AWSForm(""), want)
	}
	at := testHost + ":443"
	if want := []string{"turn:" + at + "?transport=udp", "turns:" + at + "?transport=udp", "turns:" + at + "?transport=tcp"}; !slices.Equal(r.AWSForm(at), want) {
		t.Errorf("AWS's form by name %q, want %q", r.AWSForm(at), want)
	}
	for what, change := range map[string]func(*Config){
		"without a certificate": func(c *Config) { c.Certificate = nil },
		"without UDP":           func(c *Config) { c.UDP = "" },
		"without TCP":           func(c *Config) { c.TCP = "" },
	} {
		part := listenTest(t, change)
		if part.AWSForm("") != nil || len(part.URLs()) != 2 {
			t.Errorf("%s: %q, %q", what, part.AWSForm(""), part.URLs())
		}
	}
}
