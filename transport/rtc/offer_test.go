package rtc

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// browserOffer is what a browser offers that wants to see, hear, talk and chat: its own order of
// sections, payload types and extension numbers, and every H.264 profile in both packetization
// modes, the wrong one first.
func browserOffer() string {
	transport := []string{
		"c=IN IP4 0.0.0.0", "a=rtcp:9 IN IP4 0.0.0.0", "a=ice-ufrag:Zk3d", "a=ice-pwd:0123456789abcdefghijklmn", "a=ice-options:trickle",
		"a=fingerprint:sha-256 " + strings.TrimSuffix(strings.Repeat("AB:", 32), ":"), "a=setup:actpass",
	}
	lines := []string{
		"v=0", "o=- 4611731400430051336 2 IN IP4 127.0.0.1", "s=-", "t=0 0",
		"a=group:BUNDLE 0 1 2", "a=extmap-allow-mixed", "a=msid-semantic: WMS",
		"m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8",
	}
	lines = append(lines, transport...)
	lines = append(lines, "a=mid:0", "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
		"a=extmap:5 "+absCaptureTimeURI, "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
		"a=sendrecv", "a=msid:- mic", "a=rtcp-mux", "a=rtcp-rsize",
		"a=rtpmap:111 opus/48000/2", "a=rtcp-fb:111 transport-cc", "a=fmtp:111 minptime=10;useinbandfec=1",
		"a=rtpmap:63 red/48000/2", "a=fmtp:63 111/111", "a=rtpmap:9 G722/8000", "a=rtpmap:0 PCMU/8000", "a=rtpmap:8 PCMA/8000",
		"a=ssrc:3570614608 cname:4TOk42mSjXCkVIa6")
	type format struct{ pt, rtx int }
	h264 := []string{"42001f", "42e01f", "4d001f", "f4001f"}
	var formats []string
	var maps []string
	for i, profile := range h264 {
		for mode := range 2 {
			f := format{100 + 4*i + 2*mode, 101 + 4*i + 2*mode}
			formats = append(formats, fmt.Sprint(f.pt), fmt.Sprint(f.rtx))
			maps = append(maps, fmt.Sprintf("a=rtpmap:%d H264/90000", f.pt), fmt.Sprintf("a=rtcp-fb:%d goog-remb", f.pt),
				fmt.Sprintf("a=rtcp-fb:%d transport-cc", f.pt), fmt.Sprintf("a=rtcp-fb:%d ccm fir", f.pt),
				fmt.Sprintf("a=rtcp-fb:%d nack", f.pt), fmt.Sprintf("a=rtcp-fb:%d nack pli", f.pt),
				fmt.Sprintf("a=fmtp:%d level-asymmetry-allowed=1;packetization-mode=%d;profile-level-id=%s", f.pt, mode, profile),
				fmt.Sprintf("a=rtpmap:%d rtx/90000", f.rtx), fmt.Sprintf("a=fmtp:%d apt=%d", f.rtx, f.pt))
		}
	}
	lines = append(lines, "m=video 9 UDP/TLS/RTP/SAVPF 96 "+strings.Join(formats, " "))
	lines = append(lines, transport...)
	lines = append(lines, "a=mid:1", "a=extmap:5 "+absCaptureTimeURI, "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
		"a=recvonly", "a=rtcp-mux", "a=rtcp-rsize", "a=rtpmap:96 VP8/90000")
	lines = append(lines, maps...)
	lines = append(lines, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel")
	lines = append(lines, transport...)
	lines = append(lines, "a=mid:2", "a=sctp-port:5000", "a=max-message-size:262144", "")
	return strings.Join(lines, "\r\n")
}

func TestAnswerToABrowser(t *testing.T) {
	e := newEngine(t, EngineConfig{DataChannel: true, TWCC: true})
	p, answer, err := e.Answer(t.Context(), PeerConfig{Audio: messages.Opus}, browserOffer())
	must(t, err)
	defer func() { must(t, p.Close()) }()
	var d sdp.SessionDescription
	must(t, d.UnmarshalString(answer))
	if bundle, _ := d.Attribute("group"); bundle != "BUNDLE 0 1 2" || len(d.MediaDescriptions) != 3 {
		t.Fatalf("%d sections in group %q", len(d.MediaDescriptions), bundle)
	}
	for i, want := range []struct{ media, format, direction string }{
		{"audio", "111", "sendrecv"}, {"video", "106 107", "sendonly"}, {"application", "webrtc-datachannel", ""},
	} {
		m := d.MediaDescriptions[i]
		if m.MediaName.Media != want.media || strings.Join(m.MediaName.Formats, " ") != want.format || m.MediaName.Port.Value == 0 {
			t.Errorf("section %d is %v", i, m.MediaName)
		}
		if setup, _ := m.Attribute("setup"); setup != "passive" {
			t.Errorf("section %d: setup %q, want passive: we are the DTLS server", i, setup)
		}
		if _, ok := m.Attribute(want.direction); !ok && want.direction != "" {
			t.Errorf("section %d is not %s", i, want.direction)
		}
	}
	for _, want := range []string{
		"a=extmap:5 " + absCaptureTimeURI, "a=rtcp-fb:106 nack\r\n", "a=rtcp-fb:106 nack pli\r\n", "a=rtcp-fb:106 ccm fir\r\n",
		"a=rtcp-fb:106 transport-cc\r\n", "profile-level-id=42e01f", "a=ice-options:trickle",
	} {
		if !strings.Contains(answer, want) {
			t.Errorf("the answer lacks %q", want)
		}
	}
	if strings.Contains(answer, "ssrc-audio-level") || strings.Contains(answer, "VP8") {
		t.Error("the answer takes what we do not know")
	}
	if size := len(answer); size > 5000 { // base64 of its JSON must fit 10,000 characters (kvs-protocol.md 3.6)
		t.Errorf("the answer has %d bytes", size)
	}
}

func TestWhatAnOfferMayLeaveOut(t *testing.T) {
	e := newEngine(t, EngineConfig{DataChannel: true})
	for _, c := range []struct {
		name         string
		wish         wish
		video, audio bool
	}{
		{"sound", wish{video: true, data: true}, true, false},
		{"picture", wish{audio: true, data: true}, false, true},
		{"data channel", wish{video: true, audio: true}, true, true},
		{"picture and sound", wish{data: true}, false, false},
		{"Opus", wish{video: true, audio: true, codecs: videoAndOldAudio}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, d := connect(t, e, c.wish, PeerConfig{})
			for track, want := range map[messages.Track]bool{messages.Video: c.video, messages.Audio: c.audio} {
				f := &messages.Frame{Unit: &messages.AccessUnit{Track: track, Codec: map[messages.Track]messages.Codec{messages.Video: messages.H264, messages.Audio: messages.Opus}[track]}, Payloads: [][]byte{{0x41, 1, 2}}}
				n, _, err := d.WriteFrame(f, 0, len(f.Payloads), 0, false, time.Now())
				if err != nil || (n == 1) != want {
					t.Errorf("%s: %d packets, error %v", track, n, err)
				}
			}
		})
	}
}

func videoAndOldAudio(m *webrtc.MediaEngine) error {
	err := m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: 0, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypePCMU, ClockRate: 8000,
	}}, webrtc.RTPCodecTypeAudio)
	if err != nil {
		return err
	}
	return m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: 102, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeH264, ClockRate: 90000, SDPFmtpLine: "packetization-mode=1;profile-level-id=42e01f",
	}}, webrtc.RTPCodecTypeVideo)
}

func TestOffersThatAreRefused(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	good := browserOffer()
	for name, bad := range map[string]string{
		"nothing":                  "",
		"no SDP":                   "hello",
		"JSON":                     `{"type":"offer","sdp":"v=0"}`,
		"no sections":              "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n",
		"cut off":                  good[:len(good)/2],
		"no mid":                   withoutLines(good, "a=mid:"),
		"no fingerprint":           withoutLines(good, "a=fingerprint:"),
		"no credentials":           withoutLines(good, "a=ice-ufrag:", "a=ice-pwd:"),
		"insists on DTLS server":   strings.ReplaceAll(good, "a=setup:actpass", "a=setup:passive"),
		"no H.264":                 withoutLines(strings.ReplaceAll(good, "H264", "VP9"), "a=fmtp:1"),
		"H.264 single NAL only":    strings.ReplaceAll(good, "packetization-mode=1", "packetization-mode=0"),
		"H.264 without fmtp":       withoutLines(good, "a=fmtp:1"),
		"too long":                 good + strings.Repeat("a=x\r\n", 20_000),
		"too many sections":        good + strings.Repeat("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n", 40),
		"extension number too big": strings.ReplaceAll(good, "a=extmap:5 ", "a=extmap:x "),
	} {
		t.Run(name, func(t *testing.T) {
			p, _, err := e.Answer(t.Context(), PeerConfig{}, bad)
			if err == nil {
				must(t, p.Close())
			}
			var refused *OfferError
			var deaf *CodecError
			if !errors.As(err, &refused) && !errors.As(err, &deaf) {
				t.Fatalf("got %v, want an OfferError or a CodecError", err)
			}
			for _, secret := range []string{"0123456789abcdefghijklmn", "Zk3d", "hello"} {
				if strings.Contains(err.Error(), secret) {
					t.Fatalf("the error quotes the offer: %v", err)
				}
			}
		})
	}
}

func TestIceServersThatAreUsed(t *testing.T) {
	const secret = "p"
	servers := []messages.IceServer{
		{URLs: []string{"stun:192.0.2.1:443"}},
		{Username: "u", Password: secret, URLs: []string{ // the order of AWS, kvs-protocol.md 2.1
			"turn:192.0.2.2:443?transport=udp", "turns:192.0.2.2:443?transport=udp", "turns:192.0.2.2:443?transport=tcp",
			"turn:192.0.2.3:443?transport=udp", "turn:192.0.2.3:443?transport=tcp",
		}},
		{URLs: []string{"turn:192.0.2.4:443?transport=udp", "http://192.0.2.4", "stun:", "stuns:192.0.2.4"}},
	}
	for udpWorks, want := range map[bool]string{
		false: "[stun:192.0.2.1:443 turn:192.0.2.2:443?transport=udp turns:192.0.2.2:443?transport=tcp]",
		true:  "[turn:192.0.2.2:443?transport=udp]",
	} {
		var got []string
		for _, s := range iceServers(servers, udpWorks, newEngine(t, EngineConfig{}).log) {
			got = append(got, s.URLs...)
		}
		if fmt.Sprint(got) != want {
			t.Fatalf("UDP works: %v: got %v, want %v", udpWorks, got, want)
		}
	}
	tls := []messages.IceServer{{Username: "u", Password: secret, URLs: []string{"turns:192.0.2.2:443?transport=tcp"}}}
	if got := iceServers(tls, true, newEngine(t, EngineConfig{}).log); len(got) != 1 {
		t.Fatalf("the only server there is was left out: %v", got)
	}
}

func FuzzReadOffer(f *testing.F) {
	f.Add(browserOffer())
	f.Add("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 9 X 96\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := readOffer(text)
		var refused *OfferError
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("got %v, want an OfferError", err)
		}
		if err == nil && o.sdp != text {
			t.Fatal("the offer was changed")
		}
		if err != nil {
			return
		}
		// What is no SDP though the parser takes it may read otherwise, or not at all.
		if trimmed, err := readOffer(o.trimmed()); err == nil && len(trimmed.parsed.MediaDescriptions) != len(o.parsed.MediaDescriptions) {
			t.Fatalf("%d of %d sections are left", len(trimmed.parsed.MediaDescriptions), len(o.parsed.MediaDescriptions))
		}
	})
}
