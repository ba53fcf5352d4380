package rtc

// The service's side of a storage session: it offers, the master and the viewers answer
// (kvs-protocol.md 4.3). In order of execution:
//
//	Offer        makes the peer and the offer; candidates follow as events
//	Accept       checks and applies the participant's answer
//	onTrack      counts what the master sends and gives it to the feed (feed.go), or what a viewer says (voice.go)
//	Read         what happens meanwhile, as for any Peer
//	Close        the end

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// ingestResendsMax is how many packets back a viewer's NACK is answered: about 3 s of a 4 Mbit/s stream.
const ingestResendsMax = 1024

// Participant is the connection to the master or to a viewer of a storage session. Read, ReadReports and
// ReadVoiceReports have one caller each; the other methods may be called from any goroutine.
type Participant struct {
	peer   *Peer
	feed   *Feed
	viewer bool

	counts [2]trackCounters
	ssrcs  [2]atomic.Uint32 // of the master's tracks; 0: none yet
	clocks senderClocks

	voice   *webrtc.TrackLocalStaticRTP // to the master
	listens atomic.Bool                 // its answer takes that
}

// TrackCount is what came in on one track.
type TrackCount struct {
	Packets uint64
	Bytes   uint64 // of payload
	Frames  uint64 // pictures of video, packets of audio
}

// add counts one packet. The marker stands on the last packet of a picture (RFC 6184 5.1).
func (c *TrackCount) add(track messages.Track, p *rtp.Packet) {
	c.Packets++
	c.Bytes += uint64(len(p.Payload))
	if track == messages.Audio || p.Marker {
		c.Frames++
	}
}

type trackCounters struct{ packets, bytes, frames atomic.Uint64 }

// Offer makes the peer of one participant and the offer for it, which holds no candidates: each
// becomes an event. The master is asked for what goes into the feed, a viewer is offered what comes
// out of it. Close the participant when done with it.
func (e *Engine) Offer(cfg PeerConfig, feed *Feed, viewer bool) (*Participant, string, error) {
	if err := e.sockets.refresh(time.Now()); err != nil {
		return nil, "", fmt.Errorf("refresh ICE sockets: %w", err)
	}
	media, interceptors, err := newIngestEngine()
	if err != nil {
		return nil, "", fmt.Errorf("register codecs: %w", err)
	}
	peer, err := e.newPeer(cfg, media, interceptors, 0)
	if err != nil {
		return nil, "", err
	}
	s := &Participant{peer: peer, feed: feed, viewer: viewer}
	if !viewer {
		peer.drain = func() { _ = readReports(s.receiver(messages.Audio), s.onReport, nil) }
	}
	offer, err := s.offer()
	if err != nil {
		return nil, "", errors.Join(err, peer.Close())
	}
	return s, offer, nil
}

// newIngestEngine is newMediaEngine for one who receives: it asks again for what was lost and tells
// the sender what the network gives.
func newIngestEngine() (*webrtc.MediaEngine, *interceptor.Registry, error) {
	m, r := &webrtc.MediaEngine{}, &interceptor.Registry{}
	if err := registerCodecs(m, false); err != nil {
		return nil, nil, err
	}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.SDESMidURI}, kind); err != nil {
			return nil, nil, err
		}
	}
	generator, err := nack.NewGeneratorInterceptor()
	if err != nil {
		return nil, nil, err
	}
	responder, err := nack.NewResponderInterceptor(nack.ResponderSize(ingestResendsMax))
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
	for _, f := range []interceptor.Factory{generator, responder, senderReports, receiverReports} {
		r.Add(f)
	}
	return m, r, webrtc.ConfigureTWCCSender(m, r)
}

func (s *Participant) offer() (string, error) {
	pc := s.peer.pc
	pc.OnTrack(s.onTrack)
	pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		if c != nil { // without sdpMid (kvs-protocol.md 4.3); everything is bundled into the first section
			init := c.ToJSON()
			s.peer.post(&messages.PeerCandidate{Candidate: messages.Candidate{Candidate: init.Candidate, SDPMLineIndex: init.SDPMLineIndex}})
		}
	})
	for _, track := range []messages.Track{messages.Video, messages.Audio} {
		if err := s.addSection(track); err != nil {
			return "", fmt.Errorf("offer %s: %w", track, err)
		}
	}
	offer, err := pc.CreateOffer(&webrtc.OfferOptions{OfferAnswerOptions: webrtc.OfferAnswerOptions{ICETricklingSupported: true}})
	if err != nil {
		return "", fmt.Errorf("create offer: %w", err)
	}
	if err := pc.SetLocalDescription(offer); err != nil {
		return "", fmt.Errorf("apply offer: %w", err)
	}
	return offer.SDP, nil
}

// addSection offers to receive a track of the master, or to send one to a viewer; sound goes both ways
// (kvs-protocol.md 4.4).
func (s *Participant) addSection(track messages.Track) (err error) {
	pc := s.peer.pc
	switch {
	case !s.viewer && track == messages.Video:
		_, err = pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		return err
	case !s.viewer:
		if s.voice, err = webrtc.NewTrackLocalStaticRTP(opusTrack, track.String(), "viewers"); err != nil {
			return err
		}
	}
	direction := webrtc.RTPTransceiverDirectionSendonly
	if track == messages.Audio {
		direction = webrtc.RTPTransceiverDirectionSendrecv
	}
	out := s.voice
	if s.viewer {
		out = s.feed.lanes[track].out
	}
	t, err := pc.AddTransceiverFromTrack(out, webrtc.RTPTransceiverInit{Direction: direction})
	if err == nil {
		s.peer.begin(track, t.Sender(), nil)
	}
	return err
}

// Accept applies the participant's answer. One that a storage session cannot use gives an *AnswerError.
func (s *Participant) Accept(answer string) error {
	listens, err := checkAnswer(answer, s.viewer)
	if err != nil {
		return err
	}
	if err := s.peer.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return &AnswerError{"the WebRTC stack cannot apply it"} // pion's error may quote it
	}
	s.listens.Store(listens)
	return nil
}

// Read waits for the next event: *messages.PeerCandidate, *PeerPhase, *PeerConnected, *PeerGone; of a
// viewer *PeerKeyFrameWish, of a master *PeerTookOver.
func (s *Participant) Read(ctx context.Context) (any, error) { return s.peer.Read(ctx) }

// ReadReports pumps the RTCP of a viewer, as Peer's does, or the master's.
func (s *Participant) ReadReports(ctx context.Context) error {
	if s.viewer {
		return s.peer.ReadReports(ctx)
	}
	return s.readClocks(ctx)
}

// ReadVoiceReports pumps what the master reports about the viewers' sound, until the peer is closed.
func (s *Participant) ReadVoiceReports() error {
	err := readReports(s.peer.senders[messages.Audio], func(rtcp.Packet) {}, nil)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return fmt.Errorf("read voice reports: %w", err)
}

// AddRemoteCandidate adds a trickled candidate; the answer must have been accepted. One with a name is left
// out: a service shares no local network with its clients, and their checks show where they come from (RFC
// 8445 7.3.1.3).
func (s *Participant) AddRemoteCandidate(c messages.Candidate) error {
	if Named(c) {
		return nil
	}
	return s.peer.AddRemoteCandidate(c)
}

// Received returns what the master has sent so far, by messages.Track.
func (s *Participant) Received() (counts [2]TrackCount) {
	for i := range s.counts {
		c := &s.counts[i]
		counts[i] = TrackCount{c.packets.Load(), c.bytes.Load(), c.frames.Load()}
	}
	return counts
}

// RequestKeyFrame sends a PLI (RFC 4585 6.3.1) once the master's video has begun.
func (s *Participant) RequestKeyFrame() error {
	ssrc := s.ssrcs[messages.Video].Load()
	if ssrc == 0 {
		return nil
	}
	if err := s.peer.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}}); err != nil {
		return fmt.Errorf("request key frame: %w", err)
	}
	return nil
}

// Close ends the connection, as Peer's does.
func (s *Participant) Close() error { return s.peer.Close() }

// onTrack takes in a track of the master, or a viewer's sound, on the goroutine that pion gives it. The
// recording is to begin with a key frame.
func (s *Participant) onTrack(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	if !s.peer.enter() {
		return
	}
	defer s.peer.callbacks.Done()
	if s.viewer {
		s.hear(remote)
		return
	}
	track := messages.Audio
	if remote.Kind() == webrtc.RTPCodecTypeVideo {
		track = messages.Video
	}
	s.ssrcs[track].Store(uint32(remote.SSRC()))
	if track == messages.Video {
		_ = s.RequestKeyFrame() // fails only when the peer closes
	}
	receive(remote, func(p *rtp.Packet) { s.take(track, p) })
}

// receive reads a track to its end. Each packet may be kept.
func receive(remote *webrtc.TrackRemote, take func(*rtp.Packet)) {
	buf := make([]byte, reportBytesMax)
	for {
		n, _, err := remote.Read(buf)
		if err != nil {
			return
		}
		p := &rtp.Packet{}
		if p.Unmarshal(bytes.Clone(buf[:n])) == nil { // the SRTP session has read the header before: it cannot be malformed
			take(p)
		}
	}
}

// take counts one packet and gives it to the feed, which may keep it.
func (s *Participant) take(track messages.Track, p *rtp.Packet) {
	c := &s.counts[track]
	c.packets.Add(1)
	c.bytes.Add(uint64(len(p.Payload)))
	if track == messages.Audio || p.Marker {
		c.frames.Add(1)
	}
	if took := s.feed.write(s, track, p, time.Now()); took != nil {
		took.peer.post(&messages.PeerTookOver{})
	}
}

// hear takes in a viewer's sound, the only thing that it may send. Packets without a payload are a
// browser's probes.
func (s *Participant) hear(remote *webrtc.TrackRemote) {
	receive(remote, func(p *rtp.Packet) {
		if strings.EqualFold(remote.Codec().MimeType, webrtc.MimeTypeOpus) && len(p.Payload) > 0 {
			s.feed.speak(s, p, time.Now())
		}
	})
}
