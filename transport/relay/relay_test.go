package relay

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/turn/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 10 * time.Second
	testARN  = "arn:aws:kinesisvideo:us-west-2:123456789012:channel/cam/1577439476380"
)

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

func listenTest(t *testing.T, change func(*Config)) *Relay {
	t.Helper()
	cfg := Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Secret: []byte("shared"), Certificate: &testCertificate}
	if change != nil {
		change(&cfg)
	}
	r, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// address is where clients of one of the four transports go.
func (r *Relay) address(t *testing.T, over string) string {
	t.Helper()
	prefix, suffix := "turn:", "?transport="+over
	switch over {
	case overTLS:
		prefix, suffix = "turns:", "?transport=tcp"
	case overDTLS:
		prefix, suffix = "turns:", "?transport=udp"
	}
	for _, url := range r.URLs() {
		if rest, ok := strings.CutSuffix(url, suffix); ok && strings.HasPrefix(rest, prefix) {
			return strings.TrimPrefix(rest, prefix)
		}
	}
	t.Fatalf("no %s URL in %v", over, r.URLs())
	return ""
}

// client is a real TURN client on a socket of its own; raw keeps every byte that the relay sent.
type client struct {
	*turn.Client
	raw *recorder
}

type recorder struct {
	net.PacketConn
	received chan []byte
}

func (c *recorder) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(p)
	if err == nil {
		select {
		case c.received <- bytes.Clone(p[:n]):
		default:
		}
	}
	return n, from, err
}

func dial(t *testing.T, r *Relay, transport, username, password string) *client {
	t.Helper()
	conn := connect(t, r, transport)
	raw := &recorder{PacketConn: conn, received: make(chan []byte, 64)}
	c, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: r.address(t, transport), TURNServerAddr: r.address(t, transport),
		Conn: raw, Username: username, Password: password, LoggerFactory: quietFactory{r.log},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); _ = raw.Close() })
	return &client{Client: c, raw: raw}
}

// lastError reads the newest error response in what the relay sent.
func (c *client) lastError(t *testing.T) (code int, reason string, message *stun.Message) {
	t.Helper()
	for {
		select {
		case p := <-c.raw.received:
			m := &stun.Message{Raw: p}
			var e stun.ErrorCodeAttribute
			if m.Decode() == nil && e.GetFrom(m) == nil {
				code, reason, message = int(e.Code), string(e.Reason), m
			}
		default:
			if message == nil {
				t.Fatal("the relay sent no error response")
			}
			return code, reason, message
		}
	}
}

func echoPeer(t *testing.T) net.Addr { return echoPeerOn(t, "127.0.0.1:0") }

func echoPeerOn(t *testing.T, address string) net.Addr {
	t.Helper()
	peer, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p := make([]byte, 2000)
		for {
			n, from, err := peer.ReadFrom(p)
			if err != nil {
				return
			}
			_, _ = peer.WriteTo(p[:n], from)
		}
	}()
	t.Cleanup(func() { _ = peer.Close(); <-done })
	return peer.LocalAddr()
}

func echoes(t *testing.T, relayed net.PacketConn, peer net.Addr, size int) {
	t.Helper()
	sent := bytes.Repeat([]byte{0xA5}, size)
	got := make([]byte, 2000)
	if err := relayed.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := relayed.WriteTo(sent, peer); err != nil {
		t.Fatal(err)
	}
	n, from, err := relayed.ReadFrom(got)
	if err != nil || !bytes.Equal(got[:n], sent) || from.String() != peer.String() {
		t.Fatalf("%d of %d bytes back from %v: %v", n, size, from, err)
	}
}

func TestRelaysOverEveryTransport(t *testing.T) {
	for _, transport := range []string{overUDP, overTCP, overTLS, overDTLS} {
		t.Run(transport, func(t *testing.T) {
			r := listenTest(t, nil)
			username, password := r.Credentials(testARN, "viewer-1", time.Now(), 5*time.Minute)
			c := dial(t, r, transport, username, password)
			mapped, err := c.SendBindingRequest()
			if err != nil || !strings.HasPrefix(mapped.String(), "127.0.0.1:") {
				t.Fatalf("binding: %v, %v", mapped, err)
			}
			relayed, err := c.Allocate()
			if err != nil {
				t.Fatal(err)
			}
			peer := echoPeer(t)
			// Odd sizes need padding over TCP. Below five bytes pion/turn waits for the next frame.
			for _, size := range []int{5, 7, 100, 1200, 1400} {
				echoes(t, relayed, peer, size)
			}
			eventually(t, "all bytes are counted", func() bool {
				s := r.Stats()
				return s.Allocations == 1 && s.Allocated == 1 && s.Transports[transport] == TransportStats{1, 1} && s.BytesToPeers >= 2712 && s.BytesFrom >= 2712
			})
			if err := relayed.Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the allocation ends with its client's farewell", func() bool { return r.Stats().Allocations == 0 })
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.channels)+len(r.credentials)+len(r.relayed) != 0 {
				t.Errorf("still counted: %v %v %v", r.channels, r.credentials, r.relayed)
			}
		})
	}
}

func TestStunURLAnswersBinding(t *testing.T) {
	r := listenTest(t, nil)
	if r.StunURL() != "stun:"+r.address(t, "udp") {
		t.Fatalf("STUN URL %s, relay URLs %v", r.StunURL(), r.URLs())
	}
}

// refused makes an allocation that must fail, and checks the error response as sent.
func refused(t *testing.T, r *Relay, transport, username, password string, code int, reason string) {
	t.Helper()
	c := dial(t, r, transport, username, password)
	if relayed, err := c.Allocate(); err == nil {
		_ = relayed.Close()
		t.Fatal("allocated")
	}
	gotCode, gotReason, m := c.lastError(t)
	if gotCode != code || gotReason != reason {
		t.Errorf("error %d %q, want %d %q", gotCode, gotReason, code, reason)
	}
	if code == 401 && (!m.Contains(stun.AttrRealm) || !m.Contains(stun.AttrNonce)) {
		t.Error("401 without realm and nonce (RFC 8489 9.2.4)")
	}
	if !bytes.Contains(m.Raw, []byte(reason)) {
		t.Error("no reason phrase in the bytes")
	}
}

func TestWrongCredentialsAreRefusedWithAReason(t *testing.T) {
	for _, transport := range []string{overUDP, overTCP, overTLS, overDTLS} {
		r := listenTest(t, nil)
		username, password := r.Credentials(testARN, "v", time.Now(), time.Minute)
		refused(t, r, transport, username, "wrong", 401, "Unauthenticated")
		refused(t, r, transport, "9999999999:nobody", "x", 401, "Unauthenticated")
		refused(t, r, transport, "no expiry", "x", 401, "Unauthenticated")
		expired, itsPassword := r.Credentials(testARN, "v", time.Now().Add(-time.Hour), time.Minute)
		refused(t, r, transport, expired, itsPassword, 401, "Unauthenticated")
		other := listenTest(t, func(c *Config) { c.Secret = []byte("another") })
		foreign, itsPassword := other.Credentials(testARN, "v", time.Now(), time.Minute)
		refused(t, r, transport, foreign, itsPassword, 401, "Unauthenticated")
		if s := r.Stats(); s.AuthFailures < 5 || s.Allocated != 0 {
			t.Errorf("stats %+v", s)
		}
		relayed, err := dial(t, r, transport, username, password).Allocate()
		if err != nil {
			t.Fatalf("the right ones, afterwards: %v", err)
		}
		_ = relayed.Close()
	}
}

func TestAnyNodeWithTheSecretServesTheClient(t *testing.T) {
	issuer, server := listenTest(t, nil), listenTest(t, nil)
	username, password := issuer.Credentials(testARN, "v", time.Now(), time.Minute)
	relayed, err := dial(t, server, "udp", username, password).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	_ = relayed.Close()
}

// An allocation outlives its credentials; a new one does not come of them.
func TestAllocationLivesOnAfterExpiry(t *testing.T) {
	var ahead atomic.Int64
	r := listenTest(t, func(c *Config) {
		c.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	username, password := r.Credentials(testARN, "v", time.Now(), time.Minute)
	c := dial(t, r, "udp", username, password)
	relayed, err := c.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.key(username, r.realm, stun.MethodAllocate); !ok {
		t.Fatal("not valid before expiry")
	}
	ahead.Store(int64(time.Hour))
	if _, ok := r.key(username, r.realm, stun.MethodAllocate); ok {
		t.Fatal("valid for an allocation after expiry")
	}
	echoes(t, relayed, echoPeer(t), 100) // creates a permission and binds a channel, authenticated
	refused(t, r, "udp", username, password, 401, "Unauthenticated")
	if err := relayed.Close(); err != nil { // a refresh with lifetime 0, authenticated
		t.Fatal(err)
	}
	eventually(t, "the refresh is granted", func() bool { return r.Stats().Allocations == 0 })
}

func TestPeersOutOfBoundsAreRefused(t *testing.T) {
	r := listenTest(t, nil)
	username, password := r.Credentials(testARN, "v", time.Now(), time.Minute)
	c := dial(t, r, "udp", username, password)
	relayed, err := c.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer relayed.Close()
	for _, ip := range []string{"169.254.169.254", "224.0.0.251", "0.0.0.0", "255.255.255.255"} {
		if err := c.CreatePermission(&net.UDPAddr{IP: net.ParseIP(ip), Port: 80}); err == nil {
			t.Errorf("permission for %s", ip)
		}
		code, reason, m := c.lastError(t)
		if code != 403 || reason != "Forbidden" {
			t.Errorf("%s: error %d %q", ip, code, reason)
		}
		// pion/turn signs this response; the phrase must not have broken the signature.
		key := turn.GenerateAuthKey(username, r.realm, password)
		if err := stun.MessageIntegrity(key).Check(m); err != nil {
			t.Errorf("%s: signature: %v", ip, err)
		}
	}
	if err := c.CreatePermission(echoPeer(t)); err != nil {
		t.Errorf("loopback peer while listening on loopback: %v", err)
	}
	if s := r.Stats(); s.PeersRefused != 4 {
		t.Errorf("stats %+v", s)
	}
}

func TestQuotaIsPerChannel(t *testing.T) {
	r := listenTest(t, func(c *Config) { c.AllocationsPerChannel = 1 })
	username, password := r.Credentials(testARN, "a", time.Now(), time.Minute)
	first, err := dial(t, r, "udp", username, password).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	second, itsPassword := r.Credentials(testARN, "b", time.Now(), time.Minute)
	refused(t, r, "tcp", second, itsPassword, 486, "Allocation Quota Reached")
	elsewhere, itsPassword2 := r.Credentials(strings.Replace(testARN, "cam", "dog", 1), "b", time.Now(), time.Minute)
	other, err := dial(t, r, "udp", elsewhere, itsPassword2).Allocate()
	if err != nil {
		t.Fatalf("another channel: %v", err)
	}
	_, _ = first.Close(), other.Close()
	if r.Stats().QuotaRefused != 1 {
		t.Errorf("stats %+v", r.Stats())
	}
}

func TestCredentialForm(t *testing.T) {
	r := &Relay{secret: []byte("s"), realm: realmDefault, now: time.Now}
	now := time.Unix(1700000000, 0)
	username, password := r.Credentials(testARN, strings.Repeat("c", 256), now, 5*time.Minute)
	if !strings.HasPrefix(username, "1700000300:djE6") || len(password) != 44 || channelOf(username) != testARN {
		t.Errorf("username %q, password of %d characters, channel %q", username, len(password), channelOf(username))
	}
	other, _ := r.Credentials(testARN, "d", now, 5*time.Minute)
	if other == username {
		t.Error("two clients share a user name")
	}
	long, _ := r.Credentials(strings.Replace(testARN, "cam", strings.Repeat("n", 256), 1), "c", now, time.Minute)
	if len(long) > usernameCharsMax || channelOf(long) == "" {
		t.Errorf("user name of %d characters, channel %q", len(long), channelOf(long))
	}
}

func TestListenNeedsAReachableAddress(t *testing.T) {
	for _, cfg := range []Config{
		{UDP: "127.0.0.1:0"},
		{Secret: []byte("s")},
		{UDP: "0.0.0.0:0", Secret: []byte("s")},
		{TCP: "0.0.0.0:0", Secret: []byte("s")},
		{UDP: "127.0.0.1:0", TCP: "not an address", Secret: []byte("s")},
	} {
		if r, err := Listen(cfg); err == nil {
			_ = r.Close()
			t.Errorf("listening on %q and %q", cfg.UDP, cfg.TCP)
		}
	}
	r := listenTest(t, func(c *Config) { c.UDP, c.TCP, c.PublicIP = "0.0.0.0:0", "", netip.MustParseAddr("203.0.113.7") })
	if urls := r.URLs(); len(urls) != 2 || !strings.HasPrefix(urls[0], "turn:203.0.113.7:") {
		t.Errorf("URLs %v", urls)
	}
}

// A stream that is no TURN is ended at once, and others go on.
func TestMalformedStreamsAreEnded(t *testing.T) {
	r := listenTest(t, nil)
	for name, bytes := range map[string][]byte{
		"HTTP":                       []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"length that wraps 16 bits":  append([]byte{0x00, 0x01, 0xFF, 0xEC, 0x21, 0x12, 0xA4, 0x42}, make([]byte, 40)...),
		"ChannelData beyond the MTU": append([]byte{0x40, 0x00, 0xFF, 0xFF}, make([]byte, 40)...),
	} {
		conn, err := net.Dial("tcp4", r.address(t, "tcp"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(bytes); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: still open: %v", name, err)
		}
		_ = conn.Close()
	}
	if got := r.Stats().FramesRefused; got != 3 {
		t.Errorf("%d frames refused", got)
	}
	username, password := r.Credentials(testARN, "v", time.Now(), time.Minute)
	relayed, err := dial(t, r, "tcp", username, password).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	_ = relayed.Close()
}

// Garbage in datagrams does not end the listener.
func FuzzDatagrams(f *testing.F) {
	m := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), stun.NewUsername("1:x"), stun.Fingerprint)
	f.Add(m.Raw, m.Raw)
	f.Add([]byte{0x40, 0, 0, 1, 2}, []byte{})
	r := &Relay{secret: []byte("s"), realm: realmDefault, now: time.Now}
	f.Fuzz(func(t *testing.T, response, request []byte) {
		if isErrorResponse(response) {
			r.explain(response, request)
		}
		if len(response) >= stunHeaderBytes {
			if size, err := frameSize(response); err == nil && (size < channelDataHeader || size > 1<<17) {
				t.Fatalf("frame of %d bytes", size)
			}
		}
		channelOf(string(request))
	})
}
