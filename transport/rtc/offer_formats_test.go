package rtc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/sdp/v3"
)

func parse(t *testing.T, text string) *sdp.SessionDescription {
	t.Helper()
	d := &sdp.SessionDescription{}
	must(t, d.UnmarshalString(text))
	return d
}

func TestTrimmedOfferHasOurFormatsAlone(t *testing.T) {
	text := strings.Replace(browserOffer(), "a=rtpmap:96 VP8/90000", "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:* ccm fir\r\na=fmtp:96 max-fs=12288", 1)
	o, err := readOffer(text)
	must(t, err)
	trimmed := parse(t, o.trimmed())
	for i, want := range [][]string{{"111", "0", "8"}, {"106", "107"}, {"webrtc-datachannel"}} {
		if got := trimmed.MediaDescriptions[i].MediaName.Formats; !slices.Equal(got, want) {
			t.Errorf("section %d has the formats %v, want %v", i, got, want)
		}
	}
	for i, offered := range o.parsed.MediaDescriptions {
		section, formats := trimmed.MediaDescriptions[i], trimmed.MediaDescriptions[i].MediaName.Formats
		var want []sdp.Attribute
		for _, a := range offered.Attributes {
			if payloadType, ok := formatOf(a); !ok || payloadType == "*" || slices.Contains(formats, payloadType) {
				want = append(want, a)
			}
		}
		if !slices.Equal(section.Attributes, want) {
			t.Errorf("section %d has the attributes %v, want %v", i, section.Attributes, want)
		}
	}
	if video := trimmed.MediaDescriptions[1].Attributes; len(video) != 22 || !slices.Contains(video, sdp.Attribute{Key: "rtcp-fb", Value: "* ccm fir"}) {
		t.Errorf("%d attributes of video: %v", len(video), video)
	}
	if len(o.parsed.MediaDescriptions[1].MediaName.Formats) != 17 {
		t.Error("the offer itself was changed")
	}
}

// A section without any format of ours is refused by what reads it next, with a reason.
func TestTrimmedOfferKeepsASectionWithoutOurs(t *testing.T) {
	text := strings.ReplaceAll(browserOffer(), "H264/90000", "VP9/90000")
	o, err := readOffer(text)
	must(t, err)
	if got := parse(t, o.trimmed()).MediaDescriptions[1].MediaName.Formats; len(got) != 17 {
		t.Errorf("the formats %v are left", got)
	}
}

// BenchmarkAnswer is what an offer costs, by its formats.
func BenchmarkAnswer(b *testing.B) {
	for _, others := range []int{0, 20} {
		b.Run(fmt.Sprintf("%d formats more", others), func(b *testing.B) {
			var numbers, maps strings.Builder
			for i := range others {
				fmt.Fprintf(&numbers, " %d", 30+i)
				fmt.Fprintf(&maps, "a=rtpmap:%d VP9/90000\r\na=rtcp-fb:%d nack pli\r\na=fmtp:%d profile-id=%d\r\n", 30+i, 30+i, 30+i, i)
			}
			text := strings.Replace(browserOffer(), "SAVPF 96", "SAVPF 96"+numbers.String(), 1)
			text = strings.Replace(text, "a=rtpmap:96 ", maps.String()+"a=rtpmap:96 ", 1)
			e := newEngine(b, EngineConfig{DataChannel: true, TWCC: true})
			b.ReportAllocs()
			for b.Loop() {
				p, _, err := e.Answer(context.Background(), PeerConfig{Video: messages.H264}, text)
				must(b, err)
				must(b, p.Close())
			}
		})
	}
}
