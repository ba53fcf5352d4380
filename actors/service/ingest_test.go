package service

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// storing makes a channel that is mapped to a stream.
func (r *rig) storing(name string) (arn string) {
	r.Helper()
	arn = r.channel(name)
	r.store(arn, name, types.MediaStorageConfigurationStatusEnabled)
	return arn
}

// store turns the storage of a channel on or off; its stream is made at need.
func (r *rig) store(arn, stream string, status types.MediaStorageConfigurationStatus) {
	r.Helper()
	made, err := r.sdk().CreateStream(r.ctx, &kinesisvideo.CreateStreamInput{StreamName: &stream, DataRetentionInHours: sdkaws.Int32(1)})
	var streamARN *string
	if err == nil {
		streamARN = made.StreamARN
	} else {
		found, err := r.sdk().DescribeStream(r.ctx, &kinesisvideo.DescribeStreamInput{StreamName: &stream})
		if err != nil {
			r.Fatal(err)
		}
		streamARN = found.StreamInfo.StreamARN
	}
	_, err = r.sdk().UpdateMediaStorageConfiguration(r.ctx, &kinesisvideo.UpdateMediaStorageConfigurationInput{
		ChannelARN: &arn, MediaStorageConfiguration: &types.MediaStorageConfiguration{Status: status, StreamARN: streamARN}})
	if err != nil {
		r.Fatal(err)
	}
}

// join calls an operation of the storage session's API and returns what it said.
func (r *rig) join(operation string, body map[string]string) (status int, kind, text string) {
	r.Helper()
	in, _ := json.Marshal(body)
	resp := r.post("/"+operation, string(in), r.Credentials, time.Now())
	out, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("x-amzn-ErrorType"), string(out)
}

func (r *rig) joined(arn, clientID string) {
	r.Helper()
	operation, body := "joinStorageSession", map[string]string{"channelArn": arn}
	if clientID != "" {
		operation, body["clientId"] = "joinStorageSessionAsViewer", clientID
	}
	if status, kind, text := r.join(operation, body); status != 200 || text != "" {
		r.Fatalf("%s: %d %s %s", operation, status, kind, text)
	}
}

// party is a participant of a storage session: a real websocket and a real peer connection.
type party struct {
	*rig
	socket *signaling.Client
	pc     *webrtc.PeerConnection
	inbox  chan signaling.Inbound
	plis   atomic.Int64
	tracks [2]*webrtc.TrackLocalStaticRTP // of a master
	ssrcs  [2]uint32                      // likewise
	taken  chan *rtp.Packet               // by a viewer
	early  []messages.Candidate
	kinds  []string // of the service's candidates
}

func (r *rig) party(arn, clientID string) *party {
	r.Helper()
	p := &party{rig: r, socket: r.connect(arn, clientID), inbox: make(chan signaling.Inbound, 64), taken: make(chan *rtp.Packet, 1024)}
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		for {
			m, err := p.socket.Read(context.Background())
			if err != nil {
				return
			}
			p.inbox <- m
		}
	}()
	r.Cleanup(func() {
		_ = p.socket.Close()
		<-reading
	})
	return p
}

// open makes a new peer connection.
func (p *party) open() {
	p.Helper()
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	s.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	// Of pion's defaults only what asks and answers for lost packets: its sender reports say when a packet
	// was written, a camera's when it was captured.
	codecs, interceptors := &webrtc.MediaEngine{}, &interceptor.Registry{}
	if err := errors.Join(codecs.RegisterDefaultCodecs(), webrtc.ConfigureNack(codecs, interceptors)); err != nil {
		p.Fatal(err)
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(codecs), webrtc.WithInterceptorRegistry(interceptors))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = pc.GracefulClose() })
	p.pc = pc
	pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		if c == nil {
			return
		}
		init := c.ToJSON()
		payload, _ := signaling.EncodeCandidate(messages.Candidate{Candidate: init.Candidate, SDPMid: init.SDPMid, SDPMLineIndex: init.SDPMLineIndex})
		_ = p.socket.Write(context.Background(), signaling.Outbound{Action: signaling.ICECandidate, Payload: payload})
	})
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			packet, _, err := t.ReadRTP()
			if err != nil {
				return
			}
			select {
			case p.taken <- packet:
			default:
			}
		}
	})
}

// sends makes the party a master: it will answer with both tracks, and count key-frame wishes.
func (p *party) sends() {
	p.Helper()
	for i, codec := range []webrtc.RTPCodecCapability{{MimeType: webrtc.MimeTypeH264, ClockRate: 90000}, {MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}} {
		track, err := webrtc.NewTrackLocalStaticRTP(codec, codec.MimeType[:5], "camera")
		if err != nil {
			p.Fatal(err)
		}
		sender, err := p.pc.AddTrack(track)
		if err != nil {
			p.Fatal(err)
		}
		p.tracks[i], p.ssrcs[i] = track, uint32(sender.GetParameters().Encodings[0].SSRC)
		go func() {
			for {
				packets, _, err := sender.ReadRTCP()
				if err != nil {
					return
				}
				for _, packet := range packets {
					if _, ok := packet.(*rtcp.PictureLossIndication); ok {
						p.plis.Add(1)
					}
				}
			}
		}()
	}
}

// offered waits for the service's offer; candidates that come before it wait.
func (p *party) offered() (sdp string) {
	p.Helper()
	for {
		m := p.receive()
		if m.MessageType == signaling.ICECandidate {
			p.early = append(p.early, p.candidate(m))
			continue
		}
		kind, sdp, err := signaling.DecodeDescription(m.Payload)
		if err != nil || m.MessageType != signaling.SDPOffer || kind != "offer" || m.SenderClientID != "" {
			p.Fatalf("got %s from %q: %v", m.MessageType, m.SenderClientID, err)
		}
		return sdp
	}
}

func (p *party) receive() signaling.Inbound {
	p.Helper()
	select {
	case m := <-p.inbox:
		return m
	case <-p.ctx.Done():
		p.Fatal("nothing came")
		panic("unreachable")
	}
}

// candidate reads one of the service's: it has no sdpMid (kvs-protocol.md 4.3).
func (p *party) candidate(m signaling.Inbound) messages.Candidate {
	p.Helper()
	c, err := signaling.DecodeCandidate(m.Payload)
	if err != nil || m.SenderClientID != "" || c.SDPMid != nil || c.SDPMLineIndex == nil {
		p.Fatalf("candidate %+v from %q: %v", c, m.SenderClientID, err)
	}
	_, kind, _ := strings.Cut(c.Candidate, " typ ")
	kind, _, _ = strings.Cut(kind, " ")
	p.kinds = append(p.kinds, kind)
	return c
}

// answers takes the offer, answers, and returns when connected.
func (p *party) answers(offer string) {
	p.Helper()
	up := make(chan struct{})
	var once sync.Once
	p.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(up) })
		}
	})
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		p.Fatal(err)
	}
	if p.tracks[0] == nil && p.pc.GetTransceivers()[0].Direction() != webrtc.RTPTransceiverDirectionRecvonly {
		p.Fatal("the service does not offer to send")
	}
	for _, c := range p.early {
		p.add(c)
	}
	answer, err := p.pc.CreateAnswer(nil)
	if err == nil {
		err = p.pc.SetLocalDescription(answer)
	}
	if err != nil {
		p.Fatal(err)
	}
	p.answer(answer.SDP, "")
	for {
		select {
		case m := <-p.inbox:
			if m.MessageType != signaling.ICECandidate {
				p.Fatalf("got %s", m.MessageType)
			}
			p.add(p.candidate(m))
		case <-up:
			return
		case <-p.ctx.Done():
			p.Fatal("not connected")
		}
	}
}

func (p *party) add(c messages.Candidate) {
	p.Helper()
	if err := p.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: c.Candidate, SDPMLineIndex: c.SDPMLineIndex}); err != nil {
		p.Fatal(err)
	}
}

func (p *party) answer(sdp, correlationID string) {
	p.Helper()
	payload, err := signaling.EncodeDescription("answer", sdp)
	if err != nil {
		p.Fatal(err)
	}
	p.send(p.socket, signaling.Outbound{Action: signaling.SDPAnswer, Payload: payload, CorrelationID: correlationID})
}

// master joins, answers, and sends both tracks at a camera's pace until the test ends or stop is called.
func (r *rig) master(arn string) (p *party, stop func()) {
	r.Helper()
	p = r.party(arn, "")
	p.open()
	p.sends()
	r.joined(arn, "")
	p.answers(p.offered())
	return p, p.streams()
}

func (p *party) streams() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := uint16(0); ; n++ {
			select {
			case <-tick.C:
			case <-done:
				return
			}
			video := rtp.Header{Version: 2, SequenceNumber: n, Timestamp: uint32(n/2) * 3000, Marker: n%2 == 1} // two packets a picture
			_ = p.tracks[0].WriteRTP(&rtp.Packet{Header: video, Payload: []byte{0x65, 1, 2, 3}})
			audio := rtp.Header{Version: 2, SequenceNumber: n, Timestamp: uint32(n) * 960}
			_ = p.tracks[1].WriteRTP(&rtp.Packet{Header: audio, Payload: []byte{1, 2}})
		}
	}()
	var once sync.Once
	stop = func() { once.Do(func() { close(done); <-ended }) }
	p.Cleanup(stop)
	return stop
}

// ingests is what /sessions shows of storage sessions.
func (r *rig) ingests() []messages.IngestStatus {
	r.Helper()
	var census struct{ Ingest []messages.IngestStatus }
	if err := json.NewDecoder(r.status(r.whep("GET", "/sessions", ""), 200).Body).Decode(&census); err != nil {
		r.Fatal(err)
	}
	return census.Ingest
}

// labelled is the value of one metric of a family.
func (r *rig) labelled(name, label string) float64 {
	r.Helper()
	families, err := r.door.metrics.registry.Gather()
	if err != nil {
		r.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

func TestStorageSession(t *testing.T) {
	for relay, kind := range map[string]string{Off: "host", "127.0.0.1:0": "relay"} {
		t.Run(kind, func(t *testing.T) {
			r := start(t, Config{RelayUDP: relay, RelayTCP: relay})
			arn := r.storing("cam")
			master, _ := r.master(arn)
			r.until("frames of both tracks are counted", func() bool {
				all := r.ingests()
				if len(all) != 1 || len(all[0].Participants) != 1 {
					return false
				}
				p := all[0].Participants[0]
				return p.State == partConnected && p.ClientID == "" && p.Seconds > 0 && p.Pair != "" && all[0].Channel == "cam" &&
					p.Video.Frames > 0 && p.Audio.Frames > 0 && p.Video.Packets > p.Video.Frames && p.Video.Bytes >= 4*p.Video.Packets
			})
			for _, track := range []string{"video", "audio"} {
				if r.labelled("kvs_ingest_packets_total", track) == 0 || r.labelled("kvs_ingest_frames_total", track) == 0 {
					t.Errorf("the metrics count no %s", track)
				}
			}
			r.until("a key frame is asked for", func() bool { return master.plis.Load() > 0 })
			for _, got := range master.kinds {
				if got != kind {
					t.Errorf("a candidate of type %s, want %s", got, kind)
				}
			}
			if len(master.kinds) == 0 {
				t.Error("no candidates came")
			}
		})
	}
}

// Each join is a new offer, and the newer one replaces the older.
func TestStorageRejoin(t *testing.T) {
	r := start(t, Config{})
	arn := r.storing("cam")
	master, stop := r.master(arn)
	stop()
	master.early, master.tracks = nil, [2]*webrtc.TrackLocalStaticRTP{}
	master.open()
	master.sends()
	r.joined(arn, "")
	master.answers(master.offered())
	master.streams()
	r.until("the new peer is the one", func() bool {
		all := r.ingests()
		return len(all) == 1 && len(all[0].Participants) == 1 && all[0].Participants[0].Video.Frames > 0
	})
	if r.labelled("kvs_ingest_ended_total", "replaced") != 1 || r.labelled("kvs_ingest_participants", "master") != 1 {
		t.Error("the older peer was not replaced")
	}
}

// A viewer gets what the master sends, and goes on when the master has joined anew.
func TestStorageViewers(t *testing.T) {
	r := start(t, Config{Limits: Limits{IngestViewersMax: 1, RequestRates: 100}})
	arn := r.storing("cam")
	viewer := r.party(arn, "alice")
	viewer.open()
	r.joined(arn, "alice") // before the master
	viewer.answers(viewer.offered())
	master, _ := r.master(arn)
	first := viewer.packet()
	r.until("the master is asked for a key frame", func() bool { return master.plis.Load() > 0 })
	r.connect(arn, "bob")
	if status, kind, text := r.join("joinStorageSession", map[string]string{"channelArn": arn, "clientId": "bob"}); status != 400 || kind != "ClientLimitExceededException" {
		t.Fatalf("one viewer too many: %d %s %s", status, kind, text)
	}
	if next := viewer.packet(); next.SSRC != first.SSRC {
		t.Error("the stream has changed")
	}
	_ = viewer.pc.Close()
	r.until("the viewer's slot waits for its return", func() bool {
		for _, p := range r.ingests()[0].Participants {
			if p.ClientID == "alice" && p.State == partAway {
				return true
			}
		}
		return false
	})
	if status, kind, _ := r.join("joinStorageSessionAsViewer", map[string]string{"channelArn": arn, "clientId": "bob"}); status != 400 || kind != "ClientLimitExceededException" {
		t.Errorf("the slot was given away: %d %s", status, kind)
	}
	viewer.early = nil
	viewer.open()
	r.joined(arn, "alice")
	viewer.answers(viewer.offered())
	viewer.packet()
}

// packet waits for a packet of video.
func (p *party) packet() *rtp.Packet {
	p.Helper()
	for {
		select {
		case packet := <-p.taken:
			if len(packet.Payload) == 4 {
				return packet
			}
		case <-p.ctx.Done():
			p.Fatal("no media came")
		}
	}
}

// The session's own seat takes no viewer's place.
func TestStorageSeatIsNoViewer(t *testing.T) {
	r := start(t, Config{Limits: Limits{ViewersMax: 1}})
	arn := r.storing("cam")
	master := r.party(arn, "")
	r.joined(arn, "")
	master.offered()
	r.connect(arn, "alice")
	if c := r.overview(); !c.Master || c.Viewers != 1 {
		t.Errorf("overview %+v", c)
	}
}

func TestJoinRefusals(t *testing.T) {
	policed := keyEntry{"OUTSIDER", "outsider-secret", allowing("arn:aws:kinesisvideo:*:*:channel/other/*", "kinesisvideo:*")}
	r := start(t, Config{Dir: dirWith(t, policed)})
	stored, plain := r.storing("stored"), r.channel("plain")
	r.connect(plain, "")
	for _, c := range []struct {
		name, operation string
		body            map[string]string
		status          int
		kind            string
	}{
		{"no channel", "joinStorageSession", map[string]string{}, 400, "InvalidArgumentException"},
		{"no ARN", "joinStorageSession", map[string]string{"channelArn": "cam"}, 400, "InvalidArgumentException"},
		{"unknown channel", "joinStorageSession", map[string]string{"channelArn": stored + "0"}, 404, "ResourceNotFoundException"},
		{"not mapped", "joinStorageSession", map[string]string{"channelArn": plain}, 400, "InvalidArgumentException"},
		{"not connected", "joinStorageSession", map[string]string{"channelArn": stored}, 400, "InvalidArgumentException"},
		{"viewer not connected", "joinStorageSessionAsViewer", map[string]string{"channelArn": stored, "clientId": "v"}, 400, "InvalidArgumentException"},
		{"viewer without an id", "joinStorageSessionAsViewer", map[string]string{"channelArn": stored}, 400, "InvalidArgumentException"},
		{"viewer's id", "joinStorageSessionAsViewer", map[string]string{"channelArn": stored, "clientId": "aws_v"}, 400, "InvalidArgumentException"},
	} {
		status, kind, text := r.join(c.operation, c.body)
		if status != c.status || kind != c.kind || !strings.HasPrefix(text, `{"message":"`) {
			t.Errorf("%s: %d %s %s, want %d %s", c.name, status, kind, text, c.status, c.kind)
		}
	}
	outsider := r.as(messages.Credentials{AccessKeyID: "OUTSIDER", SecretAccessKey: "outsider-secret"})
	for _, operation := range []string{"joinStorageSession", "joinStorageSessionAsViewer"} {
		status, kind, text := outsider.join(operation, map[string]string{"channelArn": stored, "clientId": "v"})
		if action := "kinesisvideo:J" + operation[1:] + " "; status != 403 || kind != "AccessDeniedException" || !strings.Contains(text, action) || !strings.HasPrefix(text, `{"message":"`) {
			t.Errorf("%s by an outsider: %d %s %s", operation, status, kind, text)
		}
	}
}

// The buckets do not refill within the test.
func TestJoinRate(t *testing.T) {
	r := start(t, Config{Limits: Limits{RequestRates: 0.001}})
	in := &messages.JoinStorageWanted{ChannelARN: "arn:aws:kinesisvideo:us-west-2:000000000000:channel/cam/1"}
	if err := r.door.JoinStorage(r.ctx, in); !refusedAs(err, "ResourceNotFoundException") {
		t.Fatal(err)
	}
	if err := r.door.JoinStorage(r.ctx, in); !refusedAs(err, "ClientLimitExceededException") {
		t.Errorf("a second one at once: %v", err)
	}
	if q := newQuotas(Limits{RequestRates: 1}); q.of(quotaKey{joinMaster, "cam"}).Burst() != 2 || q.of(quotaKey{joinMaster, "cam"}).Limit() != 2 {
		t.Error("a channel's rate is not 2 a second")
	}
}

// A bad answer is reported to who can be told which (kvs-protocol.md 4.3); a good one is still taken.
func TestBadStorageAnswer(t *testing.T) {
	r := start(t, Config{})
	arn := r.storing("cam")
	master := r.party(arn, "")
	master.open()
	r.joined(arn, "")
	offer := master.offered()
	refusals := 0
	refused := func(sdp string) {
		t.Helper()
		master.answer(sdp, "c1")
		for {
			m := master.receive()
			if m.MessageType == signaling.ICECandidate {
				master.early = append(master.early, master.candidate(m))
				continue
			}
			s := m.Status
			if s == nil || s.CorrelationID != "c1" || s.ErrorType != "InvalidArgumentException" || s.StatusCode != "400" || !s.Failed || s.Description == "" {
				t.Fatalf("got %+v %+v", m, s)
			}
			refusals++
			return
		}
	}
	refused("garbage")
	if err := master.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		t.Fatal(err)
	}
	answer, err := master.pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, instead := range map[string]string{"a=sendonly": "a=inactive", " H264/": " VP8/", " opus/": " PCMU/"} {
		bad := strings.ReplaceAll(answer.SDP, what, instead)
		if bad == answer.SDP {
			t.Fatalf("the answer holds no %s", what)
		}
		refused(bad)
	}
	master.open()
	master.sends()
	master.answers(offer)
	if refusals != 4 || r.counter("kvs_service_malformed_total") != 4 {
		t.Errorf("%d refusals, %v counted", refusals, r.counter("kvs_service_malformed_total"))
	}
}

// While storage is enabled master and viewers do not reach each other (kvs-protocol.md 3.7); whoever is
// connected when that changes is told.
func TestStorageSwitchesDirections(t *testing.T) {
	r := start(t, Config{Limits: Limits{RequestRates: 100}})
	arn := r.channel("cam")
	master, viewer := r.connect(arn, ""), r.connect(arn, "alice")
	toViewer := signaling.Outbound{Action: signaling.ICECandidate, RecipientClientID: "alice", Payload: payload("c"), CorrelationID: "m"}
	toMaster := signaling.Outbound{Action: signaling.SDPOffer, Payload: payload("o"), CorrelationID: "v"}
	flows := func() {
		t.Helper()
		r.send(master, toViewer)
		r.expect(viewer, signaling.Inbound{MessageType: signaling.ICECandidate, Payload: payload("c")})
		r.send(viewer, toMaster)
		r.expect(master, signaling.Inbound{MessageType: signaling.SDPOffer, SenderClientID: "alice", Payload: payload("o")})
	}
	blocked := func(c *signaling.Client, m signaling.Outbound) {
		t.Helper()
		r.send(c, m)
		r.expect(c, signaling.Inbound{MessageType: signaling.StatusResponse, Status: &signaling.Status{CorrelationID: m.CorrelationID, ErrorType: "InvalidArgumentException", StatusCode: "400"}})
	}
	switched := func(status types.MediaStorageConfigurationStatus) {
		t.Helper()
		before := r.back.Stats().Delivered
		r.store(arn, "cam", status)
		r.until("both are told", func() bool { return r.back.Stats().Delivered >= before+2 })
	}
	flows()
	switched(types.MediaStorageConfigurationStatusEnabled)
	blocked(master, toViewer)
	blocked(viewer, toMaster)
	blocked(r.connect(arn, "bob"), toMaster) // came later
	resp := r.status(r.whep("POST", "/whep/cam", playerOffer), 409)
	if text, _ := io.ReadAll(resp.Body); !strings.Contains(string(text), "stored") {
		t.Errorf("WHEP was told %s", text)
	}
	_, err := r.door.AlexaOffer(r.ctx, &messages.AlexaOfferWanted{ChannelARN: arn, ClientID: "alexa", Payload: payload("o")})
	if !refusedAs(err, "InvalidArgumentException") {
		t.Errorf("Alexa: %v", err)
	}
	switched(types.MediaStorageConfigurationStatusDisabled)
	flows()
}

func TestStorageSessionEnds(t *testing.T) {
	for reason, limits := range map[string]Limits{
		"idle":     {IngestIdleMax: time.Millisecond},
		"lifetime": {IngestMax: time.Millisecond},
	} {
		r := start(t, Config{Limits: limits})
		arn := r.storing("cam")
		master := r.party(arn, "")
		r.joined(arn, "")
		master.offered()
		r.until("the session has ended", func() bool { return len(r.ingests()) == 0 && r.actors("ingest") == 0 })
		if r.labelled("kvs_ingest_ended_total", reason) != 1 {
			t.Errorf("it did not end as %s", reason)
		}
	}
	r := start(t, Config{Limits: Limits{RequestRates: 100}})
	arn := r.storing("cam")
	master, _ := r.master(arn)
	_ = master.pc.Close()
	r.until("the master has left", func() bool { return r.actors("ingest") == 0 })
	r.master(arn) // takes the first one's place on the channel
	r.store(arn, "cam", types.MediaStorageConfigurationStatusDisabled)
	r.until("storage is disabled", func() bool { return r.actors("ingest") == 0 })
	if r.labelled("kvs_ingest_ended_total", "left") != 1 || r.labelled("kvs_ingest_ended_total", "disabled") != 1 {
		t.Error("the reasons are wrong")
	}
	info, err := r.door.DescribeChannel(r.ctx, &messages.DescribeChannel{ARN: arn})
	if err != nil {
		t.Fatal(err)
	}
	r.until("its seat is free", func() bool {
		seats, err := r.back.Seats(r.ctx, info.ID)
		return err == nil && len(seats) == 1 && seats[0].Role == backplane.RoleMaster
	})
}
