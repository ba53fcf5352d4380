package rtc

import (
	"slices"
	"strings"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// absCaptureTimeURI names the header extension that carries when a picture was taken.
const absCaptureTimeURI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"

const (
	videoClockHz = 90_000 // RFC 6184 8.2.1
	audioClockHz = 48_000 // RFC 7587 4.1: always, whatever the encoder's rate

	// retransmitPacketsMax is how far back a NACK is answered: about 3 s of a 4 Mbit/s stream.
	retransmitPacketsMax = 1024
)

// h264Profiles are the profiles that we answer to, best first. The stream is constrained baseline,
// which decoders of all these profiles decode; a camera's stream may be main or high.
var h264Profiles = []string{"42e0", "42c0", "4200", "4d00", "640c", "6400"}

// newMediaEngine registers what we negotiate, and the interceptors between us and the SRTP session.
func newMediaEngine(twcc bool) (*webrtc.MediaEngine, *interceptor.Registry, error) {
	m, r := &webrtc.MediaEngine{}, &interceptor.Registry{}
	if err := registerCodecs(m); err != nil {
		return nil, nil, err
	}
	for _, uri := range []string{absCaptureTimeURI, sdp.SDESMidURI} {
		for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
			if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind); err != nil {
				return nil, nil, err
			}
		}
	}
	responder, err := nack.NewResponderInterceptor(nack.ResponderSize(retransmitPacketsMax))
	if err != nil {
		return nil, nil, err
	}
	senderReports, err := report.NewSenderInterceptor()
	if err != nil {
		return nil, nil, err
	}
	receiverReports, err := report.NewReceiverInterceptor()
	if err != nil {
		return nil, nil, err
	}
	r.Add(responder)
	r.Add(senderReports)
	r.Add(receiverReports)
	if twcc {
		m.RegisterFeedback(webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBTransportCC}, webrtc.RTPCodecTypeVideo)
		m.RegisterFeedback(webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBTransportCC}, webrtc.RTPCodecTypeAudio)
		if err := webrtc.ConfigureTWCCHeaderExtensionSender(m, r); err != nil {
			return nil, nil, err
		}
	}
	return m, r, nil
}

func registerCodecs(m *webrtc.MediaEngine) error {
	feedback := []webrtc.RTCPFeedback{
		{Type: webrtc.TypeRTCPFBNACK}, {Type: webrtc.TypeRTCPFBNACK, Parameter: "pli"},
		{Type: webrtc.TypeRTCPFBCCM, Parameter: "fir"},
	}
	for i, profile := range h264Profiles {
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: webrtc.MimeTypeH264, ClockRate: videoClockHz, RTCPFeedback: feedback,
				SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=" + profile + "1f",
			},
			PayloadType: webrtc.PayloadType(96 + i),
		}, webrtc.RTPCodecTypeVideo); err != nil {
			return err
		}
	}
	return m.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: audioClockHz, Channels: 2,
			SDPFmtpLine: "minptime=10;useinbandfec=1",
		},
		PayloadType: 111,
	}, webrtc.RTPCodecTypeAudio)
}

// chooseCodec picks, from those that both sides know, the one we send. pion counts an H.264 that
// differs in packetization mode as a partial match; our FU-A packets are garbage to it (RFC 6184
// 5.4: mode 0 allows single NAL unit packets only), so those are not chosen.
func chooseCodec(track messages.Track, both []webrtc.RTPCodecParameters) (webrtc.RTPCodecParameters, bool) {
	if track == messages.Audio {
		i := slices.IndexFunc(both, func(c webrtc.RTPCodecParameters) bool {
			return strings.EqualFold(c.MimeType, webrtc.MimeTypeOpus)
		})
		if i < 0 {
			return webrtc.RTPCodecParameters{}, false
		}
		return both[i], true
	}
	best, bestRank := webrtc.RTPCodecParameters{}, len(h264Profiles)+1
	for _, c := range both {
		if !strings.EqualFold(c.MimeType, webrtc.MimeTypeH264) || fmtpValue(c.SDPFmtpLine, "packetization-mode") != "1" {
			continue
		}
		if rank := profileRank(c.SDPFmtpLine); rank < bestRank {
			best, bestRank = c, rank
		}
	}
	return best, bestRank <= len(h264Profiles)
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
