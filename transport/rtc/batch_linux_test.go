package rtc

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"
)

// largeFrame has payloads of one size, and a shorter last one.
func largeFrame(payloads int) *messages.Frame {
	f := &messages.Frame{Unit: &messages.AccessUnit{Track: messages.Video, Codec: messages.H264, KeyFrame: true}}
	for i := range payloads {
		payload := bytes.Repeat([]byte{byte(i)}, 1000)
		payload[0] = 0x41 // a slice, so that the viewer's depacketizer takes it
		f.Payloads = append(f.Payloads, payload)
	}
	f.Payloads[payloads-1] = f.Payloads[payloads-1][:100]
	return f
}

func (v *viewer) expectPayloads(f *messages.Frame) {
	v.t.Helper()
	for i, want := range f.Payloads {
		if got := wait(v.t, v.packets["video"], "a packet").Payload; !bytes.Equal(got, want) {
			v.t.Fatalf("payload %d is not the one that was sent", i)
		}
	}
}

func TestFrameLeavesInFewSends(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(listen, func(t *testing.T) {
			e := newEngine(t, EngineConfig{ListenUDP: listen, TWCC: true})
			v, d := connect(t, e, wish{video: true, extensions: []string{transportCCURI}, v6: listen[0] == '['}, PeerConfig{})
			f := largeFrame(40)
			before := e.Sent()
			n, _, err := d.WriteFrame(f, 0, len(f.Payloads), 0, false, time.Now())
			must(t, err)
			after := e.Sent()
			if got := after.Batched - before.Batched; n != 40 || got != 40 {
				t.Fatalf("%d packets, %d of them in batches", n, got)
			}
			// 16 + 16 + 8 packets; what ICE says meanwhile counts too.
			if calls := after.Calls - before.Calls; calls < 3 || calls > 8 {
				t.Fatalf("%d system calls for 40 packets", calls)
			}
			v.expectPayloads(f)
		})
	}
}

func TestPlainSendsWhereSegmentsAreRefused(t *testing.T) {
	for _, refusal := range []error{unix.EIO, unix.EINVAL} {
		t.Run(refusal.Error(), func(t *testing.T) {
			e := newEngine(t, EngineConfig{})
			v, d := connect(t, e, wish{video: true}, PeerConfig{})
			e.out.sendmmsg = func(fd int, messages []message) (int, error) {
				if messages[0].header.Control != nil {
					return 0, refusal
				}
				return sendmmsg(fd, messages)
			}
			f := largeFrame(20)
			for range 2 {
				_, _, err := d.WriteFrame(f, 0, len(f.Payloads), 0, false, time.Now())
				must(t, err)
				v.expectPayloads(f)
			}
			if got := e.Sent(); got.SegmentsRefused != 1 || got.Lost != 0 {
				t.Fatalf("%+v: want one attempt, then plain sends", got)
			}
		})
	}
}

func TestPacketsThatTheKernelDoesNotTakeAreCounted(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	_, d := connect(t, e, wish{video: true}, PeerConfig{})
	e.out.sendmmsg = func(int, []message) (int, error) { return 0, unix.EAGAIN }
	f := largeFrame(20)
	_, _, err := d.WriteFrame(f, 0, len(f.Payloads), 0, false, time.Now())
	must(t, err)
	if got := e.Sent(); got.Lost != 20 {
		t.Fatalf("%d packets were counted as lost, want 20", got.Lost)
	}
}

// collected is a socket that remembers its sends.
type collected struct{ sends []string }

func (c *collected) sendSegments(a *arena, segment int, to netip.AddrPort) error {
	c.sends = append(c.sends, fmt.Sprintf("%d/%d to %s", a.used, segment, to))
	return nil
}

func TestBatchHoldsOneSizeAndOneDestination(t *testing.T) {
	s, b := newBatches(), &batch{}
	s.change(func(all map[uint32]*batch) { all[7] = b })
	one, two := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2")
	rtp := func(size int, ssrc byte) []byte {
		p := make([]byte, size)
		p[0], p[1], p[11] = 0x80, 96, ssrc
		return p
	}
	out := &collected{}
	if s.collect(out, rtp(100, 7), one) {
		t.Fatal("taken before the batch was open")
	}
	b.begin()
	for _, p := range []struct {
		packet []byte
		to     netip.AddrPort
		taken  bool
	}{
		{rtp(100, 7), one, true}, {rtp(100, 7), one, true}, {rtp(60, 7), one, true}, // the short one ends it
		{rtp(100, 7), one, true}, {rtp(120, 7), one, true}, // a larger one begins another
		{rtp(120, 7), two, true},
		{append([]byte{0x40, 0, 0, 120}, rtp(120, 7)...), two, true}, // ChannelData
		{rtp(100, 8), one, false},                                    // another viewer's
		{append([]byte{0x80, 200}, rtp(100, 7)[2:]...), one, false},  // RTCP
		{[]byte{0, 1, 0, 0}, one, false},                             // STUN
		{[]byte{22, 254, 253}, one, false},                           // DTLS
		{rtp(datagramBytesMax+1, 7), one, false},
	} {
		if got := s.collect(out, p.packet, p.to); got != p.taken {
			t.Fatalf("packet % x of %d bytes: taken %v, want %v", p.packet[:3], len(p.packet), got, p.taken)
		}
	}
	must(t, b.end())
	want := []string{"260/100 to 192.0.2.1:1", "100/100 to 192.0.2.1:1", "120/120 to 192.0.2.1:1", "120/120 to 192.0.2.2:2", "124/124 to 192.0.2.2:2"}
	if !slices.Equal(out.sends, want) {
		t.Fatalf("got  %q\nwant %q", out.sends, want)
	}
}

func TestSocketClosesUnderItsUsers(t *testing.T) {
	s, err := listenUDP(netip.MustParseAddrPort("127.0.0.1:0"), newSending())
	must(t, err)
	nowhere, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer nowhere.Close()
	ended := make(chan error, 2)
	go func() {
		_, _, err := s.ReadFrom(make([]byte, 100))
		ended <- err
	}()
	sending := make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			if _, err := s.WriteTo([]byte{1}, nowhere.LocalAddr()); err != nil {
				ended <- err
				return
			}
			if i == 0 {
				close(sending)
			}
		}
	}()
	wait(t, sending, "the writer")
	must(t, s.Close())
	must(t, s.Close())
	wait(t, ended, "the reader and the writer")
	wait(t, ended, "the reader and the writer")
	if _, err := s.WriteTo([]byte{1}, s.LocalAddr()); err == nil {
		t.Fatal("a closed socket sends")
	}
}

// Packets are sealed for the way that pion has shown last, through a TURN server too.
func TestSealedPacketsGoTheWayOfPions(t *testing.T) {
	seals, err := newSealer(sealing(srtp.ProtectionProfileAeadAes128Gcm, make([]byte, 16), make([]byte, nonceBytes)))
	must(t, err)
	for name, front := range map[string][]byte{"direct": nil, "relayed": {0x40, 1, 0, 112}} {
		t.Run(name, func(t *testing.T) {
			s, b, to := newBatches(), &batch{}, netip.MustParseAddrPort("192.0.2.1:1")
			s.change(func(all map[uint32]*batch) { all[7] = b })
			out, kept := &collected{}, &arena{}
			header, payload := &rtp.Header{Version: 2, SSRC: 7}, make([]byte, 100)
			b.begin()
			if n, err := b.seal(seals, header, payload, 1); n != 0 || err != nil {
				t.Fatalf("%d bytes, %v, before there is a way", n, err)
			}
			shown := make([]byte, 112)
			shown[0], shown[1], shown[11] = 0x80, 96, 7
			if !s.collect(out, append(slices.Clone(front), shown...), to) {
				t.Fatal("pion's packet was not taken")
			}
			b.flush()
			for index := range uint64(3) {
				n, err := b.seal(seals, header, payload[:100-index], index)
				must(t, err)
				if want := 12 + 100 - int(index) + 16; n != want {
					t.Fatalf("%d bytes, want %d", n, want)
				}
				if index == 0 {
					*kept = *b.packets
				}
			}
			must(t, b.end())
			size := len(front) + 128
			want := []string{
				fmt.Sprintf("%d/%d to %s", len(front)+112, len(front)+112, to),
				fmt.Sprintf("%d/%d to %s", 2*size-1, size, to), fmt.Sprintf("%d/%d to %s", size-2, size-2, to),
			}
			if !slices.Equal(out.sends, want) {
				t.Fatalf("got  %q\nwant %q", out.sends, want)
			}
			if front != nil && !bytes.Equal(kept.buf[:4], []byte{0x40, 1, 0, 128}) {
				t.Fatalf("% x before the packet", kept.buf[:4])
			}
			if packet := kept.buf[len(front):]; packet[0] != 0x80 || packet[11] != 7 {
				t.Fatalf("no RTP: % x", packet[:12])
			}
			b.begin()
			b.lose()
			if n, _ := b.seal(seals, header, payload, 4); n != 0 {
				t.Fatal("sealed for a way that is lost")
			}
			must(t, b.end())
		})
	}
}
