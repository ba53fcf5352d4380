package relay

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

func TestQuotaIsPerCredential(t *testing.T) {
	r := listenTest(t, func(c *Config) { c.AllocationsPerCredential = 1 })
	username, password := r.Credentials(testARN, "a", time.Now(), time.Minute)
	first, err := dial(t, r, overUDP, username, password).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	refused(t, r, overTLS, username, password, 486, "Allocation Quota Reached")
	another, itsPassword := r.Credentials(testARN, "b", time.Now(), time.Minute)
	second, err := dial(t, r, overDTLS, another, itsPassword).Allocate()
	if err != nil {
		t.Fatalf("another credential of the channel: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first allocation ends", func() bool { return r.Stats().Transports[overUDP].Allocations == 0 })
	again, err := dial(t, r, overUDP, username, password).Allocate()
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	_, _ = second.Close(), again.Close()
}

// A credential is its channel's: the name cannot be changed, and one without a channel is none.
func TestCredentialsAreBoundToTheChannel(t *testing.T) {
	r := listenTest(t, nil)
	_, password := r.Credentials(testARN, "a", time.Now(), time.Minute)
	foreign, _ := r.Credentials(testARN+"0", "a", time.Now(), time.Minute)
	refused(t, r, overUDP, foreign, password, 401, "Unauthenticated")
	none := "9999999999:djE6"
	refused(t, r, overUDP, none, r.password(none), 401, "Unauthenticated")
	if r.withinQuota(none, "", nil) {
		t.Error("an allocation that no channel is charged for")
	}
}

func TestBandwidthIsBounded(t *testing.T) {
	r := listenTest(t, func(c *Config) { c.BitsPerSecond = 8 * 4000; c.now = stopped(time.Now()) })
	username, password := r.Credentials(testARN, "a", r.now(), time.Minute)
	relayed, err := dial(t, r, overUDP, username, password).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer relayed.Close()
	peer := echoPeer(t)
	echoes(t, relayed, peer, 1000) // 2000 of the 4000 that the stopped clock allows
	for range 3 {                  // two datagrams' worth is left, whichever way they go
		if _, err := relayed.WriteTo(bytes.Repeat([]byte{1}, 1000), peer); err != nil {
			t.Fatal(err)
		}
	}
	// Two out and none back, or one out and one back.
	eventually(t, "the rest is dropped", func() bool {
		s := r.Stats()
		return s.BytesToPeers+s.BytesFrom == 4000 && s.OverBandwidth == s.BytesToPeers/1000
	})
}

func stopped(at time.Time) func() time.Time { return func() time.Time { return at } }

func TestUnlimitedBandwidth(t *testing.T) {
	r := &Relay{bytesPerS: newRelay(Config{BitsPerSecond: -1}).bytesPerS}
	if !r.bucket().AllowN(time.Now(), 1<<30) {
		t.Error("bounded")
	}
	if newRelay(Config{}).bucket().AllowN(time.Now(), bitsPerSecondDefault/8+1) {
		t.Error("the default is not bounded to a second's worth")
	}
}

func TestPeerRules(t *testing.T) {
	at := func(listen string, private bool) *side {
		s, err := newRelay(Config{PrivatePeers: private}).side(overUDP, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(listen)),
			Config{PublicIP: netip.MustParseAddr("192.168.7.7")})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	loopback, open, lan := at("127.0.0.1:3478", false), at("0.0.0.0:3478", false), at("0.0.0.0:3478", true)
	for _, c := range []struct {
		peer                string
		loopback, open, lan bool
	}{
		{"127.0.0.1", true, false, false}, {"127.9.9.9", true, false, false}, {"::1", true, false, false},
		{"::ffff:127.0.0.1", true, false, false}, {"64:ff9b::7f00:1", true, false, false}, {"2002:7f00:1::", true, false, false},
		{"192.168.1.20", false, false, true}, {"10.0.0.1", false, false, true}, {"172.16.0.1", false, false, true},
		{"100.64.0.1", false, false, true}, {"fd00::1", false, false, true}, {"64:ff9b::a00:1", false, false, true},
		{"::10.0.0.1", false, false, true}, {"::ffff:10.0.0.1", false, false, true}, {"2002:a00:1::", false, false, true},
		{"192.168.7.7", true, true, true}, {"203.0.113.9", true, true, true}, {"2001:db8::1", true, true, true},
		{"169.254.169.254", false, false, false}, {"::ffff:169.254.169.254", false, false, false}, {"64:ff9b::a9fe:a9fe", false, false, false},
		{"fe80::1", false, false, false}, {"224.0.0.1", false, false, false}, {"ff02::1", false, false, false},
		{"0.0.0.0", false, false, false}, {"0.1.2.3", false, false, false}, {"::", false, false, false},
		{"255.255.255.255", false, false, false}, {"240.0.0.1", false, false, false},
	} {
		for s, want := range map[*side]bool{loopback: c.loopback, open: c.open, lan: c.lan} {
			if got := s.allowed(nil, net.ParseIP(c.peer)); got != want {
				t.Errorf("listening on %s, private %t, peer %s: %t", s.listen, s.relay.private, c.peer, got)
			}
		}
	}
	if loopback.allowed(nil, nil) {
		t.Error("a peer without an address")
	}
}

// The relay's own sockets are no peers, whatever the permission says; relayed addresses are.
func TestOwnAddressesAreNoPeers(t *testing.T) {
	r := listenTest(t, nil)
	username, password := r.Credentials(testARN, "a", time.Now(), time.Minute)
	relayed, err := dial(t, r, overUDP, username, password).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer relayed.Close()
	own := net.UDPAddrFromAddrPort(r.udp)
	if _, err := relayed.WriteTo(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw, own); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the datagram is dropped", func() bool { return r.Stats().Misdirected > 0 })
	if r.Stats().BytesToPeers != 0 {
		t.Error("the relay spoke to itself")
	}
	everywhere := listenTest(t, func(c *Config) { c.UDP, c.TCP, c.PublicIP = "0.0.0.0:0", "", netip.MustParseAddr("203.0.113.7") })
	s, port := everywhere.sides[0], everywhere.udp.Port()
	for text, want := range map[string]bool{"127.0.0.1": false, "203.0.113.7": false, "203.0.113.8": true} {
		if s.reaches(netip.AddrPortFrom(netip.MustParseAddr(text), port)) != want {
			t.Errorf("%s:%d is reached: %t", text, port, !want)
		}
	}
	atOwn := netip.AddrPortFrom(netip.MustParseAddr("203.0.113.7"), 9)
	if s.reaches(atOwn) {
		t.Error("another port of the own address is reached")
	}
	everywhere.relayed[atOwn] = struct{}{}
	if !s.reaches(atOwn) {
		t.Error("a relayed address is not reached")
	}
}

// Two clients of one relay reach each other through it.
func TestRelayToRelay(t *testing.T) {
	r := listenTest(t, nil)
	username, password := r.Credentials(testARN, "a", time.Now(), time.Minute)
	here, err := dial(t, r, overTLS, username, password).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	there, err := dial(t, r, overDTLS, username, password).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if _, err := there.WriteTo([]byte("opens a permission"), here.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if _, err := here.WriteTo([]byte("hello there"), there.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 100)
	_ = there.SetReadDeadline(time.Now().Add(patience))
	if n, from, err := there.ReadFrom(p); err != nil || string(p[:n]) != "hello there" || from.String() != here.LocalAddr().String() {
		t.Errorf("%q from %v: %v", p[:n], from, err)
	}
}

func TestRelaysIPv6(t *testing.T) {
	if probe, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		t.Skipf("NOT TESTED: no IPv6 loopback: %v", err)
	} else {
		_ = probe.Close()
	}
	r := listenTest(t, func(c *Config) { c.UDP, c.TCP = "[::1]:0", "[::1]:0" })
	username, password := r.Credentials(testARN, "a", time.Now(), time.Minute)
	for _, over := range []string{overUDP, overTLS} {
		relayed, err := dial(t, r, over, username, password).Allocate()
		if err != nil {
			t.Fatalf("%s: %v", over, err)
		}
		if got := netip.MustParseAddrPort(relayed.LocalAddr().String()).Addr(); got != netip.IPv6Loopback() {
			t.Errorf("%s: relayed address %s", over, got)
		}
		echoes(t, relayed, echoPeerOn(t, "[::1]:0"), 100)
		_ = relayed.Close()
	}
}

// RFC 8656 7.2: 440 for a family that is not offered, and its address for one that is.
func TestAddressFamilies(t *testing.T) {
	ask := func(r *Relay, family byte) *stun.Message {
		username, password := r.Credentials(testARN, "a", time.Now(), time.Minute)
		conn, err := net.Dial("udp4", r.udp.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		allocate := func(more ...stun.Setter) *stun.Message {
			m := stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest),
				stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}},
				stun.RawAttribute{Type: stun.AttrRequestedAddressFamily, Value: []byte{family, 0, 0, 0}}}, more...)...)
			if _, err := m.WriteTo(conn); err != nil {
				t.Fatal(err)
			}
			answer := stun.New()
			if _, err := answer.ReadFrom(conn); err != nil || answer.TransactionID != m.TransactionID {
				t.Fatalf("answer %v: %v", answer, err)
			}
			return answer
		}
		var nonce stun.Nonce
		if err := nonce.GetFrom(allocate()); err != nil {
			t.Fatal(err)
		}
		return allocate(stun.NewUsername(username), stun.NewRealm(r.realm), nonce, stun.NewLongTermIntegrity(username, r.realm, password))
	}
	var problem stun.ErrorCodeAttribute
	if err := problem.GetFrom(ask(listenTest(t, nil), 2)); err != nil || problem.Code != stun.CodeAddrFamilyNotSupported || len(problem.Reason) == 0 {
		t.Errorf("IPv6 without an address: %v %v", problem, err)
	}
	both := listenTest(t, func(c *Config) { c.PublicIP6 = netip.IPv6Loopback() })
	for family, want := range map[byte]netip.Addr{1: netip.AddrFrom4([4]byte{127, 0, 0, 1}), 2: netip.IPv6Loopback()} {
		m := ask(both, family)
		var relayed stun.XORMappedAddress
		if err := relayed.GetFromAs(m, stun.AttrXORRelayedAddress); err != nil {
			t.Errorf("family %d: %v in %v", family, err, m)
		} else if got, _ := netip.AddrFromSlice(relayed.IP); got.Unmap() != want {
			t.Errorf("family %d: relayed address %s", family, got)
		}
	}
}
