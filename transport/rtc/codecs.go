package rtc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// The header extensions that carry when a picture was taken, and the number of a packet among all of
// its viewer's (draft-holmer-rmcat-transport-wide-cc-extensions-01).
const (
	absCaptureTimeURI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
	transportCCURI    = sdp.TransportCCURI
)

const (
	videoClockHz = 90_000 // RFC 6184 8.2.1
	audioClockHz = 48_000 // RFC 7587 4.1: always, whatever the encoder's rate
	g711ClockHz  = 8_000  // RFC 3551 4.5.14

	// Our payload types, the first of each kind; in an answer those of the offer stand.
	payloadTypeH264 = 96
	payloadTypeH265 = 103
	payloadTypeRTX  = 116
	payloadTypeOpus = 111
	payloadTypePCMU = 0 // these two are fixed (RFC 3551 6)
	payloadTypePCMA = 8
)

// h264Profiles are the profiles that we answer to, best first. The stream is constrained baseline,
// which decoders of all these profiles decode; a camera's stream may be main or high.
var h264Profiles = []string{"42e0", "42c0", "4200", "4d00", "640c", "6400"}

// h265Main is what sources of H.265 make (RFC 7798 7.1); the level is the viewer's to judge.
const h265Main = "profile-id=1;tier-flag=0;tx-mode=SRST"

// newMediaEngine registers what we negotiate.
func newMediaEngine(twcc bool) (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	if err := registerCodecs(m, twcc); err != nil {
		return nil, err
	}
	if err := registerG711(m, twcc); err != nil {
		return nil, err
	}
	extensions := []string{absCaptureTimeURI, sdp.SDESMidURI}
	if twcc {
		extensions = append(extensions, transportCCURI)
	}
	for _, uri := range extensions {
		for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
			if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// newInterceptors returns what stands between pion and a viewer's streams: nothing on the way out,
// where track answers NACKs and reports by itself, and receiver reports on what a viewer says.
func newInterceptors(talks bool) (*interceptor.Registry, error) {
	r := &interceptor.Registry{}
	if !talks {
		return r, nil
	}
	reports, err := report.NewReceiverInterceptor()
	if err != nil {
		return nil, err
	}
	r.Add(reports)
	return r, nil
}

func registerCodecs(m *webrtc.MediaEngine, twcc bool) error {
	var both []webrtc.RTCPFeedback
	if twcc {
		both = []webrtc.RTCPFeedback{{Type: webrtc.TypeRTCPFBTransportCC}}
	}
	video := append(slices.Clone(both), webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBNACK},
		webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBNACK, Parameter: "pli"}, webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBCCM, Parameter: "fir"})
	formats := []webrtc.RTPCodecParameters{{PayloadType: payloadTypeH265, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeH265, ClockRate: videoClockHz, RTCPFeedback: video, SDPFmtpLine: "level-id=93;" + h265Main,
	}}}
	for i, profile := range h264Profiles {
		formats = append(formats, webrtc.RTPCodecParameters{PayloadType: webrtc.PayloadType(payloadTypeH264 + i), RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeH264, ClockRate: videoClockHz, RTCPFeedback: video,
			SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=" + profile + "1f",
		}})
	}
	for i, format := range formats {
		if err := m.RegisterCodec(format, webrtc.RTPCodecTypeVideo); err != nil {
			return err
		}
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: webrtc.PayloadType(payloadTypeRTX + i), RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeRTX, ClockRate: videoClockHz, SDPFmtpLine: fmt.Sprintf("apt=%d", format.PayloadType),
		}}, webrtc.RTPCodecTypeVideo); err != nil {
			return err
		}
	}
	return m.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: audioClockHz, Channels: 2, RTCPFeedback: both,
			SDPFmtpLine: "minptime=10;useinbandfec=1",
		},
		PayloadType: payloadTypeOpus,
	}, webrtc.RTPCodecTypeAudio)
}

// registerG711 registers what many network cameras' sound is, and every WebRTC endpoint takes (RFC 7874 3).
// Storage sessions do not.
func registerG711(m *webrtc.MediaEngine, twcc bool) error {
	var feedback []webrtc.RTCPFeedback
	if twcc {
		feedback = []webrtc.RTCPFeedback{{Type: webrtc.TypeRTCPFBTransportCC}}
	}
	for _, format := range []webrtc.RTPCodecParameters{
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMU}, PayloadType: payloadTypePCMU},
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMA}, PayloadType: payloadTypePCMA},
	} {
		format.ClockRate, format.RTCPFeedback = g711ClockHz, feedback
		if err := m.RegisterCodec(format, webrtc.RTPCodecTypeAudio); err != nil {
			return err
		}
	}
	return nil
}

// rtxOf finds the retransmission format of a codec (RFC 4588 8.6).
func rtxOf(codec webrtc.RTPCodecParameters, both []webrtc.RTPCodecParameters) (webrtc.RTPCodecParameters, bool) {
	apt := strconv.Itoa(int(codec.PayloadType))
	for _, c := range both {
		if strings.EqualFold(c.MimeType, webrtc.MimeTypeRTX) && fmtpValue(c.SDPFmtpLine, "apt") == apt {
			return c, true
		}
	}
	return webrtc.RTPCodecParameters{}, false
}

// chooseCodec picks, from those that both sides know, the one we send. pion counts an H.264 that
// differs in packetization mode as a partial match; our FU-A packets are garbage to it (RFC 6184
// 5.4: mode 0 allows single NAL unit packets only), so those are not chosen.
func chooseCodec(codec messages.Codec, both []webrtc.RTPCodecParameters) (best webrtc.RTPCodecParameters, ok bool) {
	bestRank := len(h264Profiles) + 1
	for _, c := range both {
		if !strings.EqualFold(c.MimeType, mimeTypes[codec]) {
			continue
		}
		rank := 0
		switch {
		case codec == messages.H264 && fmtpValue(c.SDPFmtpLine, "packetization-mode") != "1":
			continue
		case codec == messages.H264:
			rank = profileRank(c.SDPFmtpLine)
		case codec == messages.H265 && !isH265Main(c.SDPFmtpLine):
			continue
		}
		if rank < bestRank {
			best, bestRank, ok = c, rank, true
		}
	}
	return best, ok
}

// chooseCodecs does so for each of several.
func chooseCodecs(wanted []messages.Codec, both []webrtc.RTPCodecParameters) map[messages.Codec]webrtc.RTPCodecParameters {
	chosen := map[messages.Codec]webrtc.RTPCodecParameters{}
	for _, codec := range wanted {
		if format, ok := chooseCodec(codec, both); ok {
			chosen[codec] = format
		}
	}
	return chosen
}

var mimeTypes = map[messages.Codec]string{
	messages.H264: webrtc.MimeTypeH264, messages.H265: webrtc.MimeTypeH265,
	messages.Opus: webrtc.MimeTypeOpus, messages.PCMU: webrtc.MimeTypePCMU, messages.PCMA: webrtc.MimeTypePCMA,
}

// isH265Main tells whether a format takes main profile in one stream; what it leaves out has these values
// (RFC 7798 7.1).
func isH265Main(fmtp string) bool {
	for part := range strings.SplitSeq(h265Main, ";") {
		key, want, _ := strings.Cut(part, "=")
		if value := fmtpValue(fmtp, key); value != "" && !strings.EqualFold(value, want) {
			return false
		}
	}
	return true
}

func profileRank(fmtp string) int {
	id := strings.ToLower(fmtpValue(fmtp, "profile-level-id"))
	for i, profile := range h264Profiles {
		if strings.HasPrefix(id, profile) {
			return i
		}
	}
	return len(h264Profiles)
}

// fmtpValue returns one parameter of an a=fmtp line, "" when it is absent.
func fmtpValue(fmtp, key string) string {
	for part := range strings.SplitSeq(fmtp, ";") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		if strings.EqualFold(k, key) {
			return v
		}
	}
	return ""
}
