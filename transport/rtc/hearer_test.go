package rtc

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
)

func TestHearerTakesFeedbackAlone(t *testing.T) {
	var keys srtp.Config
	keys.Profile = srtp.ProtectionProfileAeadAes128Gcm
	keys.Keys.RemoteMasterKey, keys.Keys.RemoteMasterSalt = make([]byte, 16), make([]byte, nonceBytes)
	var heard [][]byte
	h, err := newHearer(keys, func(packet []byte) { heard = append(heard, bytes.Clone(packet)) })
	must(t, err)
	viewer, err := srtp.CreateContext(keys.Keys.RemoteMasterKey, keys.Keys.RemoteMasterSalt, keys.Profile)
	must(t, err)
	s, from := newHearers(), netip.MustParseAddrPort("192.0.2.1:1")
	s.change(func(all map[netip.AddrPort]*hearer) { all[from] = h })

	said := func(reference byte) []byte { // of no packet; readFeedback's tests have others
		return []byte{0x80 | rtcp.FormatTCC, byte(rtcp.TypeTransportSpecificFeedback), 0, 4, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 0, 0, 0, 0, reference, 1}
	}
	wish, err := (&rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: 2}).Marshal()
	must(t, err)
	for _, c := range []struct {
		name  string
		plain []byte
		heard int
	}{
		{"one", said(1), 1},
		{"two", append(said(2), said(3)...), 2},
		{"with a wish for a key frame", append(said(4), wish...), 0},
		{"behind one", append(bytes.Clone(wish), said(5)...), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			heard = nil
			packet, err := viewer.EncryptRTCP(nil, c.plain, nil)
			must(t, err)
			kept := bytes.Clone(packet)
			if s.take(packet, netip.MustParseAddrPort("192.0.2.1:2")) {
				t.Fatal("taken from a stranger")
			}
			if got := s.take(packet, from); got != (c.heard > 0) || len(heard) != c.heard {
				t.Fatalf("taken %v, %d heard", got, len(heard))
			}
			if !bytes.Equal(packet, kept) {
				t.Fatal("what pion is to read was written to")
			}
			if got := bytes.Join(heard, nil); c.heard > 0 && !bytes.Equal(got, c.plain) {
				t.Fatalf("heard % x, want % x", got, c.plain)
			}
			if c.heard > 0 && s.take(packet, from) {
				t.Fatal("heard twice")
			}
			packet[len(packet)-6] ^= 1
			if s.take(packet, from) {
				t.Fatal("a forged packet was heard")
			}
		})
	}
	if got := s.heard.Load(); got != 2 {
		t.Fatalf("%d packets counted, want 2", got)
	}
}
