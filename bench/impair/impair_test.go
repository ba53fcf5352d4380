package impair

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Unix(1_700_000_000, 0)

func TestLineDelaysByHalfTheRoundTrip(t *testing.T) {
	l := newLine(Profile{RTT: 50 * time.Millisecond}, 1)
	due, f := l.admit(start, 1200)
	if f != delivered || due.Sub(start) != 25*time.Millisecond {
		t.Fatalf("due after %v, fate %d", due.Sub(start), f)
	}
}

func TestLineLosesTheSharePerSeed(t *testing.T) {
	const packets = 100_000
	pattern := func(seed, number uint64, loss float64) (fates []fate, n int) {
		l := newLine(Profile{Loss: loss, Seed: seed}, number)
		for range packets {
			_, f := l.admit(start, 100)
			fates = append(fates, f)
			if f == lost {
				n++
			}
		}
		return fates, n
	}
	for _, loss := range []float64{0, 0.01, 0.3, 1} {
		_, n := pattern(7, 1, loss)
		if share := float64(n) / packets; share < loss*0.9 || share > loss*1.1 {
			t.Errorf("loss %v: lost %v", loss, share)
		}
	}
	first, _ := pattern(7, 1, 0.3)
	same, _ := pattern(7, 1, 0.3)
	for _, other := range [][2]uint64{{8, 1}, {7, 2}} {
		fates, _ := pattern(other[0], other[1], 0.3)
		if equal(first, fates) {
			t.Errorf("seed and number %v lose the same packets as {7 1}", other)
		}
	}
	if !equal(first, same) {
		t.Error("the same seed lost other packets")
	}
}

func equal(a, b []fate) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

func TestLineCarriesItsRate(t *testing.T) {
	// 1 Mbit/s, packets of 1250 bytes with headers: 10 ms each, and a queue for 20 of them.
	l := newLine(Profile{RTT: 20 * time.Millisecond, RateBps: 1_000_000}, 1)
	var last time.Time
	passed := 0
	for range 100 {
		due, f := l.admit(start, 1250-headerBytes)
		if f == overflown {
			continue
		}
		passed++
		if want := start.Add(time.Duration(passed)*10*time.Millisecond + 10*time.Millisecond); !due.Equal(want) {
			t.Fatalf("packet %d due at %v, want %v", passed, due.Sub(start), want.Sub(start))
		}
		last = due
	}
	if passed != 20 {
		t.Errorf("a queue of 200 ms passed %d packets of 10 ms", passed)
	}
	if due, f := l.admit(last, 1250-headerBytes); f != delivered || due.Sub(last) != 20*time.Millisecond {
		t.Errorf("after the queue ran empty: due after %v, fate %d", due.Sub(last), f)
	}
}

// pair connects a socket on the bad network with a plain one.
func pair(t *testing.T, p Profile) (n *Net, bad net.PacketConn, plain *net.UDPConn) {
	t.Helper()
	n, err := NewNet(p)
	if err != nil {
		t.Fatal(err)
	}
	bad, err = n.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	plain, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bad.Close(); _ = plain.Close() })
	limit := time.Now().Add(10 * time.Second)
	_ = bad.SetReadDeadline(limit)
	_ = plain.SetReadDeadline(limit)
	return n, bad, plain
}

// TestBothDirectionsLoseWhatTheLineSays sends numbered packets both ways, in bursts that fit the
// kernel's buffers, and expects exactly the survivors of the pure line, in order.
func TestBothDirectionsLoseWhatTheLineSays(t *testing.T) {
	const bursts, burst = 6, 50
	p := Profile{RTT: 4 * time.Millisecond, Loss: 0.3, Seed: 42}
	n, bad, plain := pair(t, p)
	for _, d := range []struct {
		name     string
		line     line
		from, to net.PacketConn
	}{
		{"out", newLine(p, 2), bad, plain},
		{"in", newLine(p, 3), plain, bad},
	} {
		for b := range uint32(bursts) {
			var survivors []uint32
			for i := b * burst; i < (b+1)*burst; i++ {
				if _, err := d.from.WriteTo(binary.BigEndian.AppendUint32(nil, i), d.to.LocalAddr()); err != nil {
					t.Fatal(err)
				}
				if _, f := d.line.admit(start, 4); f == delivered {
					survivors = append(survivors, i)
				}
			}
			expect(t, d.name, d.from, d.to, survivors)
		}
	}
	s := n.Stats()
	if s.Sent+s.LostOut != bursts*burst || s.Received+s.LostIn < bursts*burst-burst || s.LostIn == 0 || s.LostOut == 0 {
		t.Errorf("stats %+v", s)
	}
}

func expect(t *testing.T, name string, from, to net.PacketConn, numbers []uint32) {
	t.Helper()
	buf := make([]byte, 100)
	for _, want := range numbers {
		k, peer, err := to.ReadFrom(buf)
		if err != nil || k != 4 || peer.String() != from.LocalAddr().String() {
			t.Fatalf("%s: read %d bytes from %v: %v", name, k, peer, err)
		}
		if got := binary.BigEndian.Uint32(buf); got != want {
			t.Fatalf("%s: packet %d came, want %d", name, got, want)
		}
	}
}

func TestPacketsAreLateInBothDirections(t *testing.T) {
	_, bad, plain := pair(t, Profile{RTT: 60 * time.Millisecond})
	for _, d := range []struct{ from, to net.PacketConn }{{bad, plain}, {plain, bad}} {
		began := time.Now()
		if _, err := d.from.WriteTo([]byte("x"), d.to.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.to.ReadFrom(make([]byte, 9)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 30*time.Millisecond {
			t.Errorf("a packet came after %v", took)
		}
	}
}

func TestReadDeadlineOfTheCallerHolds(t *testing.T) {
	_, bad, plain := pair(t, Profile{RTT: time.Hour})
	if _, err := plain.WriteTo([]byte("late"), bad.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, _, err := bad.ReadFrom(make([]byte, 9))
		done <- err
	}()
	if err := bad.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read: %v", err)
	}
}

func TestCloseLetsTheGoodbyeArrive(t *testing.T) {
	_, bad, plain := pair(t, Profile{RTT: 20 * time.Millisecond})
	if _, err := bad.WriteTo([]byte("bye"), plain.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if err := bad.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := bad.WriteTo([]byte("more"), plain.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	buf := make([]byte, 9)
	if n, _, err := plain.ReadFrom(buf); err != nil || string(buf[:n]) != "bye" {
		t.Fatalf("read %q: %v", buf[:n], err)
	}
}

func TestCutDropsWhatIsOnItsWay(t *testing.T) {
	n, bad, plain := pair(t, Profile{RTT: time.Hour})
	if _, err := bad.WriteTo([]byte("bye"), plain.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	n.Cut() // would wait half an hour if it drained
	if _, _, err := bad.ReadFrom(make([]byte, 9)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after cut: %v", err)
	}
	if _, err := n.ListenUDP("udp4", nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listen after cut: %v", err)
	}
}

func TestZeroProfileGivesTheSystemsSocket(t *testing.T) {
	n, bad, _ := pair(t, Profile{})
	if _, ok := bad.(*net.UDPConn); !ok {
		t.Fatalf("got %T", bad)
	}
	n.Cut()
	if _, _, err := bad.ReadFrom(make([]byte, 9)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after cut: %v", err)
	}
}

func TestConnectedSocket(t *testing.T) {
	n, _, plain := pair(t, Profile{RTT: 2 * time.Millisecond})
	c, err := n.DialUDP("udp4", nil, plain.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 9)
	k, peer, err := plain.ReadFrom(buf)
	if err != nil || string(buf[:k]) != "hello" {
		t.Fatalf("read %q: %v", buf[:k], err)
	}
	if _, err := plain.WriteTo([]byte("back"), peer); err != nil {
		t.Fatal(err)
	}
	if k, err := c.Read(buf); err != nil || string(buf[:k]) != "back" {
		t.Fatalf("read %q: %v", buf[:k], err)
	}
}

func TestBadNetworkHasNoTCP(t *testing.T) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, p := range []Profile{{}, {Loss: 0.1}} {
		n, err := NewNet(p)
		if err != nil {
			t.Fatal(err)
		}
		c, err := n.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
		if (err == nil) != p.IsZero() {
			t.Errorf("profile %+v: %v", p, err)
		}
		if err == nil {
			n.Cut()
			if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write after cut: %v", err)
			}
		}
	}
}

// silent expects that nothing comes, though something was sent.
func silent(t *testing.T, bad net.PacketConn) {
	t.Helper()
	if err := bad.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := bad.ReadFrom(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes: %v", n, err)
	}
	if err := bad.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
}

func TestLossInSparesWhatGoesOut(t *testing.T) {
	n, bad, plain := pair(t, Profile{LossIn: 1})
	if _, err := plain.WriteTo([]byte("in"), bad.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	silent(t, bad)
	if _, err := bad.WriteTo([]byte("out"), plain.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 9)
	if k, _, err := plain.ReadFrom(buf); err != nil || string(buf[:k]) != "out" {
		t.Fatalf("read %q: %v", buf[:k], err)
	}
	if s := n.Stats(); s.LostIn != 1 || s.LostOut != 0 || s.Sent != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestOutageLosesEverythingAndEnds(t *testing.T) {
	n, bad, plain := pair(t, Profile{RTT: 2 * time.Millisecond})
	if ends := n.Outage(time.Hour); time.Until(ends) < 59*time.Minute {
		t.Errorf("ends in %v", time.Until(ends))
	}
	for range 3 {
		if _, err := plain.WriteTo([]byte("lost"), bad.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	silent(t, bad)
	n.Outage(0)
	if _, err := plain.WriteTo([]byte("here"), bad.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 9)
	if k, _, err := bad.ReadFrom(buf); err != nil || string(buf[:k]) != "here" {
		t.Fatalf("read %q: %v", buf[:k], err)
	}
	if s := n.Stats(); s.LostIn != 3 {
		t.Errorf("stats %+v", s)
	}
}

func TestStallStopsTheReaderOfAStream(t *testing.T) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n, err := NewNet(Profile{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := n.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if _, err := far.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	n.Stall(40 * time.Millisecond)
	buf := make([]byte, 9)
	if k, err := c.Read(buf); err != nil || string(buf[:k]) != "late" || time.Since(began) < 40*time.Millisecond {
		t.Fatalf("read %q after %v: %v", buf[:k], time.Since(began), err)
	}
	n.Stall(time.Hour)
	ended := make(chan error)
	go func() {
		_, err := c.Read(buf)
		ended <- err
	}()
	n.Cut()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after cut: %v", err)
	}
}
