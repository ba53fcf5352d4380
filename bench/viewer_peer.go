package bench

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"

	"github.com/heliograph-rtc/heliograph/bench/playback"
	"github.com/heliograph-rtc/heliograph/messages"
)

// The viewer's peer connection: what a browser offers, and the edges that read what comes.

const (
	absCaptureTimeURI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
	opusFrame         = 20 * time.Millisecond
	packetBytesMax    = 2048
	relayWaitDefault  = 50 * time.Millisecond
	videoClockHz      = 90_000
	replayWindow      = 1024 // packets, as in libwebrtc: one that is sent once more is an old one
)

func (v *Viewer) openPeer(servers []messages.IceServer) error {
	api, err := v.engine()
	if err != nil {
		return fmt.Errorf("set up WebRTC: %w", err)
	}
	var cfg webrtc.Configuration
	for _, s := range servers {
		cfg.ICEServers = append(cfg.ICEServers, webrtc.ICEServer{URLs: s.URLs, Username: s.Username, Credential: s.Password})
	}
	if v.cfg.RelayOnly {
		cfg.ICETransportPolicy = webrtc.ICETransportPolicyRelay
	}
	v.peer, err = api.NewPeerConnection(cfg)
	if err != nil {
		return fmt.Errorf("open peer connection: %w", err)
	}
	v.peer.OnICECandidate(v.onCandidate)
	v.peer.OnICEConnectionStateChange(v.onICEState)
	v.peer.OnConnectionStateChange(v.onState)
	v.peer.OnTrack(func(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		select {
		case v.tracks <- remoteTrack{t, r}:
		case <-v.life.Done():
		}
	})
	if v.cfg.Data {
		if v.data, err = v.peer.CreateDataChannel(dataLabel, nil); err != nil {
			return fmt.Errorf("create data channel: %w", err)
		}
		v.data.OnMessage(func(webrtc.DataChannelMessage) { v.pongs.Add(1) })
	}
	return v.addTransceivers()
}

// engine makes pion behave as a browser does where that matters: H.264 in packetization-mode 1 and
// Opus, NACK, receiver reports and transport-wide feedback. It hardly waits for a better pair, so that
// the figures are the device's and not this viewer's patience; but a relay may not win by a hair.
func (v *Viewer) engine() (*webrtc.API, error) {
	var m webrtc.MediaEngine
	if err := registerCodecs(&m, v.cfg.H265); err != nil {
		return nil, err
	}
	quiet := logging.NewDefaultLoggerFactory()
	quiet.Writer, quiet.DefaultLogLevel = io.Discard, logging.LogLevelDisabled
	var interceptors interceptor.Registry
	err := webrtc.RegisterDefaultInterceptorsWithOptions(&m, &interceptors, webrtc.WithInterceptorLoggerFactory(quiet))
	if err != nil {
		return nil, err
	}
	s := webrtc.SettingEngine{LoggerFactory: quiet}
	s.SetNet(v.network)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetIncludeLoopbackCandidate(v.cfg.Loopback || v.cfg.LoopbackOnly)
	if v.cfg.LoopbackOnly {
		s.SetIPFilter(net.IP.IsLoopback)
	}
	s.SetSRTPReplayProtectionWindow(replayWindow)
	s.SetHostAcceptanceMinWait(0)
	s.SetSrflxAcceptanceMinWait(0)
	s.SetPrflxAcceptanceMinWait(0)
	s.SetRelayAcceptanceMinWait(cmp.Or(v.cfg.RelayWait, relayWaitDefault))
	if v.cfg.RelayOnly {
		s.SetRelayAcceptanceMinWait(0)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithInterceptorRegistry(&interceptors), webrtc.WithSettingEngine(s)), nil
}

func registerCodecs(m *webrtc.MediaEngine, h265 bool) error {
	if h265 {
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: webrtc.MimeTypeH265, ClockRate: videoClockHz, SDPFmtpLine: "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST",
				RTCPFeedback: []webrtc.RTCPFeedback{{Type: "ccm", Parameter: "fir"}},
			},
			PayloadType: 49,
		}, webrtc.RTPCodecTypeVideo); err != nil {
			return err
		}
	}
	for i, profile := range []string{"42e01f", "42001f", "4d001f", "64001f"} {
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: webrtc.MimeTypeH264, ClockRate: videoClockHz,
				SDPFmtpLine:  "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=" + profile,
				RTCPFeedback: []webrtc.RTCPFeedback{{Type: "ccm", Parameter: "fir"}},
			},
			PayloadType: webrtc.PayloadType(102 + 2*i),
		}, webrtc.RTPCodecTypeVideo); err != nil {
			return err
		}
	}
	if err := registerOthers(m); err != nil {
		return err
	}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: absCaptureTimeURI}, kind); err != nil {
			return err
		}
	}
	return m.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48_000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
		},
		PayloadType: 111,
	}, webrtc.RTPCodecTypeAudio)
}

// otherFormats are what a browser offers besides, by its payload type; what is left of those is an RTX's.
var otherFormats = []struct {
	payloadType, rtx webrtc.PayloadType
	format           webrtc.RTPCodecCapability
}{
	{96, 97, webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: videoClockHz}},
	{98, 99, webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP9, ClockRate: videoClockHz, SDPFmtpLine: "profile-id=0"}},
	{100, 101, webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP9, ClockRate: videoClockHz, SDPFmtpLine: "profile-id=2"}},
	{45, 46, webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeAV1, ClockRate: videoClockHz, SDPFmtpLine: "level-idx=5;profile=0;tier=0"}},
	{103, 105, singleNAL("42e01f")}, {107, 109, singleNAL("42001f")}, {112, 113, singleNAL("4d001f")}, {114, 115, singleNAL("64001f")},
	{116, 117, webrtc.RTPCodecCapability{MimeType: "video/red", ClockRate: videoClockHz}},
	{118, 0, webrtc.RTPCodecCapability{MimeType: "video/ulpfec", ClockRate: videoClockHz}},
	{63, 0, webrtc.RTPCodecCapability{MimeType: "audio/red", ClockRate: 48_000, Channels: 2, SDPFmtpLine: "111/111"}},
	{9, 0, webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeG722, ClockRate: 8000}},
	{13, 0, webrtc.RTPCodecCapability{MimeType: "audio/CN", ClockRate: 8000}},
	{110, 0, webrtc.RTPCodecCapability{MimeType: "audio/telephone-event", ClockRate: 48_000}},
	{126, 0, webrtc.RTPCodecCapability{MimeType: "audio/telephone-event", ClockRate: 8000}},
}

// singleNAL is H.264 in the mode that we do not send (RFC 6184 5.4).
func singleNAL(profile string) webrtc.RTPCodecCapability {
	return webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeH264, ClockRate: videoClockHz,
		SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=" + profile,
	}
}

// registerOthers makes offers as long as a browser's: how long an answer takes depends on that.
func registerOthers(m *webrtc.MediaEngine) error {
	for _, other := range otherFormats {
		kind := webrtc.RTPCodecTypeVideo
		if strings.HasPrefix(other.format.MimeType, "audio/") {
			kind = webrtc.RTPCodecTypeAudio
		}
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: other.format, PayloadType: other.payloadType}, kind); err != nil {
			return err
		}
		if other.rtx == 0 {
			continue
		}
		rtx := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: videoClockHz, SDPFmtpLine: fmt.Sprintf("apt=%d", other.payloadType)}
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: rtx, PayloadType: other.rtx}, kind); err != nil {
			return err
		}
	}
	return nil
}

// addTransceivers asks for video and audio, and sends audio where there is some.
func (v *Viewer) addTransceivers() error {
	receive := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
	if _, err := v.peer.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, receive); err != nil {
		return fmt.Errorf("offer video: %w", err)
	}
	if len(v.cfg.Audio) == 0 {
		if _, err := v.peer.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, receive); err != nil {
			return fmt.Errorf("offer audio: %w", err)
		}
		return nil
	}
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "audio", v.cfg.ClientID)
	if err != nil {
		return fmt.Errorf("make audio track: %w", err)
	}
	sender, err := v.peer.AddTrack(track)
	if err != nil {
		return fmt.Errorf("offer audio: %w", err)
	}
	v.edges.Go("send audio", func() error { return v.sendAudio(track) })
	v.edges.Go("read audio reports", func() error { return drain(sender) })
	return nil
}

// sendAudio talks back to the device in real time, over and over.
func (v *Viewer) sendAudio(track *webrtc.TrackLocalStaticSample) error {
	ticks := time.NewTicker(opusFrame)
	defer ticks.Stop()
	for n := 0; ; n++ {
		select {
		case <-ticks.C:
			// Before the connection is up the packet goes nowhere; afterwards its state tells.
			_ = track.WriteSample(media.Sample{Data: v.cfg.Audio[n%len(v.cfg.Audio)], Duration: opusFrame})
		case <-v.life.Done():
			return nil
		}
	}
}

// drain reads RTCP, which feeds pion's interceptors, until the connection is closed.
func drain(from interface {
	Read([]byte) (int, interceptor.Attributes, error)
}) error {
	buf := make([]byte, packetBytesMax)
	for {
		if _, _, err := from.Read(buf); err != nil {
			return nil
		}
	}
}

func (v *Viewer) makeOffer(options *webrtc.OfferOptions) (string, error) {
	offer, err := v.peer.CreateOffer(options)
	if err != nil {
		return "", fmt.Errorf("create offer: %w", err)
	}
	v.begin(gathering)
	if err := v.peer.SetLocalDescription(offer); err != nil {
		return "", fmt.Errorf("start gathering: %w", err)
	}
	return offer.SDP, nil
}

// applyAnswer and addCandidate keep the device's text out of their errors: it holds secrets.
func (v *Viewer) applyAnswer(sdp string) error {
	if rejected, reason := rejectsAll(sdp); rejected {
		return fmt.Errorf("%w: %s", errRefused, reason)
	}
	if v.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}) != nil {
		return errors.New("apply answer: it does not fit the offer")
	}
	return nil
}

// errRefused is what a viewer ends with when every section of its offer was rejected.
var errRefused = errors.New("the device refused the offer")

// rejectsAll also gives the reason that the answer states.
func rejectsAll(text string) (rejected bool, reason string) {
	var d sdp.SessionDescription
	if d.UnmarshalString(text) != nil || len(d.MediaDescriptions) == 0 ||
		slices.ContainsFunc(d.MediaDescriptions, func(m *sdp.MediaDescription) bool { return m.MediaName.Port.Value != 0 }) {
		return false, ""
	}
	if d.SessionInformation != nil {
		reason = string(*d.SessionInformation)
	}
	return true, reason
}

func (v *Viewer) addCandidate(c messages.Candidate) {
	if v.peer.AddICECandidate(webrtc.ICECandidateInit{
		Candidate: c.Candidate, SDPMid: c.SDPMid, SDPMLineIndex: c.SDPMLineIndex, UsernameFragment: c.UsernameFragment,
	}) != nil {
		v.candidatesDropped.Add(1)
	}
}

// gathering begins for all types of candidates at once; each phase ends with the last of its type.
const gathering = "gathering"

func (v *Viewer) onCandidate(c *webrtc.ICECandidate) {
	if c == nil {
		return // KVS does not signal the end of candidates (kvs-protocol.md 3.6)
	}
	v.mu.Lock()
	switch took := time.Since(v.began[gathering]); c.Typ {
	case webrtc.ICECandidateTypeHost:
		v.phases[messages.PhaseGatherHost] = took
	case webrtc.ICECandidateTypeSrflx:
		v.phases[messages.PhaseGatherSrflx] = took
	case webrtc.ICECandidateTypeRelay:
		v.phases[messages.PhaseGatherRelay] = took
	}
	v.mu.Unlock()
	init := c.ToJSON()
	select {
	case v.outgoing <- messages.Candidate{
		Candidate: init.Candidate, SDPMid: init.SDPMid, SDPMLineIndex: init.SDPMLineIndex, UsernameFragment: init.UsernameFragment,
	}:
	default:
		v.candidatesDropped.Add(1)
	}
}

func (v *Viewer) onICEState(s webrtc.ICEConnectionState) {
	switch s {
	case webrtc.ICEConnectionStateChecking:
		v.begin(messages.PhaseFindPair)
	case webrtc.ICEConnectionStateConnected:
		v.finish(messages.PhaseFindPair)
		v.begin(messages.PhaseDTLSHandshake)
	}
}

func (v *Viewer) onState(s webrtc.PeerConnectionState) {
	switch s {
	case webrtc.PeerConnectionStateConnected:
		v.finish(messages.PhaseDTLSHandshake)
		v.connected.Store(true)
	case webrtc.PeerConnectionStateFailed:
		v.end(errors.New("the connection failed"))
	case webrtc.PeerConnectionStateClosed:
		v.end(errors.New("the device closed the connection"))
	}
}

// pair names the types of the candidates in use, this viewer's first.
func (v *Viewer) pair() string {
	if v.peer == nil {
		return ""
	}
	for _, t := range v.peer.GetTransceivers() {
		if t.Receiver() == nil || t.Receiver().Transport() == nil {
			continue
		}
		if p, err := t.Receiver().Transport().ICETransport().GetSelectedCandidatePair(); err == nil && p != nil {
			return p.Local.Typ.String() + "/" + p.Remote.Typ.String()
		}
	}
	return ""
}

// readTrack starts the edges of a track.
func (v *Viewer) readTrack(t remoteTrack) {
	var stamp uint8
	for _, ext := range t.receiver.GetParameters().HeaderExtensions {
		if ext.URI == absCaptureTimeURI {
			stamp = uint8(ext.ID)
		}
	}
	video := t.track.Kind() == webrtc.RTPCodecTypeVideo
	push, read := v.audio.Push, playback.NoNAL
	if video {
		read = playback.H264
		if t.track.Codec().MimeType == webrtc.MimeTypeH265 {
			read = playback.H265
		}
		push = func(now time.Time, p playback.Packet) { v.pushVideo(now, p, uint32(t.track.SSRC())) }
	}
	keep := v.keep(t, stamp)
	v.edges.Go("read "+t.track.Kind().String(), func() error {
		buf := make([]byte, packetBytesMax)
		var p rtp.Packet
		for {
			n, _, err := t.track.Read(buf)
			if err != nil {
				return nil // closed: leave or the connection's state says why
			}
			if p.Unmarshal(buf[:n]) == nil {
				if video && v.cfg.OnVideo != nil {
					v.cfg.OnVideo(&p)
				}
				keep(&p)
				push(time.Now(), playback.NewPacket(&p, n, stamp, read))
			}
		}
	})
	v.edges.Go("read reports", func() error { return drain(t.receiver) })
}

// keep gives what is to be done with each packet of a track that is saved.
func (v *Viewer) keep(t remoteTrack, stamp uint8) func(*rtp.Packet) {
	if v.saver == nil {
		return func(*rtp.Packet) {}
	}
	track, codec := messages.Audio, messages.Opus
	if t.track.Kind() == webrtc.RTPCodecTypeVideo {
		track, codec = messages.Video, messages.H264
		if t.track.Codec().MimeType == webrtc.MimeTypeH265 {
			codec = messages.H265
		}
	}
	return func(p *rtp.Packet) { v.saver.take(track, codec, p, stamp) }
}

func (v *Viewer) pushVideo(now time.Time, p playback.Packet, ssrc uint32) {
	if from := v.measuredFrom.Load(); from != nil {
		v.video.LatencyFrom = *from
	}
	if v.video.Push(now, p) {
		_ = v.peer.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}}) // asked again if it is lost
	}
	v.pictures.Store(v.video.Pictures)
	v.lost.Store(v.video.Lost())
	if ends := v.outageEnds.Load(); ends != nil && v.recovery.Load() == 0 && v.video.Shown.After(*ends) {
		v.recovery.Store(int64(now.Sub(*ends)))
	}
	if !v.video.FirstKey.IsZero() {
		v.seen.Do(func() { close(v.playing) })
	}
}
