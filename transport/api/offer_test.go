package api

import (
	"fmt"
	"strings"
	"testing"
)

const offerHead = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-options:trickle renomination\r\na=ice-ufrag:abcd\r\na=fingerprint:sha-256 00:11\r\n"

func TestFitOfferRemovesTrickle(t *testing.T) {
	offer := offerHead + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=ice-options:trickle\r\na=mid:0\r\na=rtpmap:96 VP8/90000\r\n"
	got, err := fitOffer(offer)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(offer, "a=ice-options:trickle\r\n", "", 1)
	want = strings.Replace(want, "trickle renomination", "renomination", 1)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// An offer with every codec there is loses those that no device has, and only then.
func TestFitOfferDropsCodecs(t *testing.T) {
	var formats, lines strings.Builder
	add := func(id int, codec, fmtp string) {
		fmt.Fprintf(&formats, " %d", id)
		fmt.Fprintf(&lines, "a=rtpmap:%d %s/90000\r\na=rtcp-fb:%d nack pli\r\na=fmtp:%d %s\r\n", id, codec, id, id, fmtp)
	}
	add(96, "H264", "packetization-mode=1;profile-level-id=42e01f")
	add(97, "rtx", "apt=96")
	for id := 100; id < 200; id += 2 {
		add(id, "AV1", "profile=0;level-idx=5")
		add(id+1, "rtx", fmt.Sprintf("apt=%d", id))
	}
	got, err := fitOffer(offerHead + "m=video 9 UDP/TLS/RTP/SAVPF" + formats.String() + "\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtcp-fb:* transport-cc\r\n" + lines.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n", "a=rtpmap:96 H264", "a=fmtp:97 apt=96", "a=rtcp-fb:96 nack pli", "a=rtcp-fb:* transport-cc"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is gone", want)
		}
	}
	if strings.Contains(got, "AV1") || strings.Contains(got, "apt=100") || !fits(got) {
		t.Errorf("not fitted: %d characters", len(got))
	}
}

func FuzzFitOffer(f *testing.F) {
	f.Add(offerHead + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 H264/90000\r\n")
	f.Add("v=0\r\n")
	f.Fuzz(func(t *testing.T, offer string) {
		fitted, err := fitOffer(offer)
		if err == nil && !fits(fitted) {
			t.Error("an offer passed that does not fit a message")
		}
	})
}
