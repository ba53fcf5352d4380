package rtc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

const (
	// gatherCompleteMax bounds the wait for all candidates when the viewer does not trickle.
	gatherCompleteMax = 2 * time.Second

	// gatherHostsMax bounds the wait for the host candidates when it does. They take well under a
	// millisecond; each one that travels in the answer spares a signaling message.
	gatherHostsMax = 20 * time.Millisecond
)

// PeerConfig configures one Peer.
type PeerConfig struct {
	IceServers []messages.IceServer
	RelayOnly  bool                        // gather relay candidates only
	Reflexive  messages.ReflexiveAddresses // of the shared sockets; empty: the peer asks the STUN servers itself
	Video      messages.Codec              // the stream's; empty: H.264
	Audio      messages.Codec              // likewise; empty: not known yet, the answer has all that it may become
	Sound      bool                        // make events of what the viewer says
}

// Answer makes a peer for an SDP offer. It returns when the answer can be sent: at once when the
// viewer trickles, else when gathering is complete, at most 2 s later. An offer that cannot be
// answered gives an *OfferError, one of a viewer that cannot decode cfg.Video a *CodecError. Close the peer when done with it.
func (e *Engine) Answer(ctx context.Context, cfg PeerConfig, sdp string) (*Peer, string, error) {
	o, err := readOffer(sdp)
	if err != nil {
		return nil, "", err
	}
	if cfg, err = e.current(cfg); err != nil {
		return nil, "", err
	}
	p, err := e.peerFor(o, cfg)
	if err != nil {
		return nil, "", err
	}
	p.sound = cfg.Sound
	p.codecs = [2]messages.Codec{messages.Video: cmp.Or(cfg.Video, messages.H264), messages.Audio: cfg.Audio}
	answer, err := p.negotiate(ctx, o, cfg)
	if err != nil {
		return nil, "", errors.Join(err, p.Close())
	}
	return p, answer, nil
}

// current opens sockets for the machine's addresses of now, and leaves of the reflexive addresses those
// that are still of one.
func (e *Engine) current(cfg PeerConfig) (PeerConfig, error) {
	if err := e.sockets.refresh(time.Now()); err != nil {
		return cfg, fmt.Errorf("refresh ICE sockets: %w", err)
	}
	cfg.Reflexive = e.sockets.held(cfg.Reflexive)
	return cfg, nil
}

// ice is what a peer gathers with, and how many host candidates that gives.
func (e *Engine) ice(cfg PeerConfig) (c webrtc.Configuration, hosts int) {
	c.ICEServers = iceServers(cfg.IceServers, len(cfg.Reflexive.Addresses) > 0, e.log)
	if cfg.RelayOnly {
		c.ICETransportPolicy = webrtc.ICETransportPolicyRelay
		return c, 0
	}
	return c, len(e.sockets.current())
}

// peerFor takes the spare peer, or makes one.
func (e *Engine) peerFor(o offer, cfg PeerConfig) (*Peer, error) {
	if o.talks {
		return e.newPeer(cfg, e.media, e.talking, 0)
	}
	if p := e.spares.take(cfg, e.sockets.locals()); p != nil {
		return p, nil
	}
	return e.newPeer(cfg, e.media, e.watching, 0)
}

// newPeer makes a peer. With a pool of 1 it gathers its candidates at once (W3C WebRTC 4.2.1).
func (e *Engine) newPeer(cfg PeerConfig, media *webrtc.MediaEngine, interceptors *interceptor.Registry, pool uint8) (*Peer, error) {
	network := newNetwork(e.std, e.cfg.ConnectTo, e.out)
	settings := e.settings
	settings.SetNet(network)
	keys := &keying{}
	settings.SetDTLSServerHelloMessageHook(keys.onServerHello)
	settings.SetDTLSKeyLogWriter(keys)
	configuration, hosts := e.ice(cfg)
	streams := newTurnStreams(network, e.cfg.RootCAs)
	streams.trust(configuration.ICEServers)
	settings.SetICEProxyDialer(streams)
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(media),
		webrtc.WithInterceptorRegistry(interceptors))
	configuration.BundlePolicy = webrtc.BundlePolicyMaxBundle
	configuration.Certificates = []webrtc.Certificate{e.certificate}
	configuration.ICECandidatePoolSize = pool
	pc, err := api.NewPeerConnection(configuration)
	if err != nil {
		network.cut()
		return nil, fmt.Errorf("make peer connection: %w", err)
	}
	p := &Peer{
		log: e.log, pc: pc, keys: keys, network: network, streams: streams, hosts: hosts, dataChannels: e.cfg.DataChannel, out: newOutgoing(e.out),
		events: make(chan any, eventsMax), connected: make(chan struct{}), closed: make(chan struct{}),
		begun:    [2]chan struct{}{make(chan struct{}), make(chan struct{})},
		channels: map[string]*webrtc.DataChannel{}, count: &e.peers,
	}
	p.count.Add(1)
	p.listen()
	return p, nil
}

// negotiate sets the offer, puts our tracks into its sections, and returns the answer.
func (p *Peer) negotiate(ctx context.Context, o offer, cfg PeerConfig) (string, error) {
	gathers := o.credentials != p.credentials // ICE starts, or starts again
	g := newGathering(p.hosts)
	if !cfg.RelayOnly {
		g.reflexive = cfg.Reflexive
	}
	p.pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		for _, event := range g.found(c) {
			p.post(event)
		}
	})
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.trimmed()}); err != nil {
		return "", &OfferError{"the WebRTC stack cannot apply it"} // pion's error may quote it
	}
	p.credentials, p.named = o.credentials, o.named
	for _, track := range []messages.Track{messages.Video, messages.Audio} {
		if mid, ok := o.receive[track]; ok && !p.sends(mid) {
			if err := p.addTrack(track, mid, o.talks); err != nil {
				return "", err
			}
		}
	}
	if err := p.hearOpus(); err != nil {
		return "", err
	}
	answer, err := p.pc.CreateAnswer(&webrtc.AnswerOptions{
		OfferAnswerOptions: webrtc.OfferAnswerOptions{ICETricklingSupported: o.trickle},
	})
	if err != nil {
		return "", fmt.Errorf("create answer: %w", err)
	}
	if err := p.pc.SetLocalDescription(answer); err != nil {
		return "", fmt.Errorf("apply answer: %w", err)
	}
	if !gathers {
		return answer.SDP, nil
	}
	if err := p.waitGathered(ctx, g, o.trickle); err != nil {
		return "", err
	}
	return g.take(answer.SDP)
}

// addTrack makes us send a track in the offer's section mid. A viewer that wants video and cannot
// decode ours is refused; one that lacks the sound's codec watches without.
func (p *Peer) addTrack(kind messages.Track, mid string, talks bool) error {
	for _, transceiver := range p.pc.GetTransceivers() {
		if transceiver.Mid() != mid {
			continue
		}
		may, preferred := p.formats(kind, transceiver.Receiver().GetParameters().Codecs, talks)
		if len(may) == 0 && kind == messages.Video {
			return &CodecError{p.codecs[kind]}
		}
		if len(may) == 0 {
			return nil
		}
		if err := transceiver.SetCodecPreferences(preferred); err != nil {
			return fmt.Errorf("prefer %s codec: %w", kind, err)
		}
		t := newTrack(kind, may, p.out)
		sender, err := p.pc.AddTrack(t)
		if err != nil {
			return fmt.Errorf("add %s track: %w", kind, err)
		}
		p.begin(kind, sender, t)
		return nil
	}
	return nil
}

// formats are what a track may be of what both sides know, and what the answer has for it. A viewer that
// talks is asked for Opus first, whatever it hears: each side sends any codec of the answer (RFC 3264 7).
func (p *Peer) formats(kind messages.Track, both []webrtc.RTPCodecParameters, talks bool) (may []messages.Codec, answer []webrtc.RTPCodecParameters) {
	wanted := []messages.Codec{p.codecs[kind]}
	if p.codecs[kind] == "" {
		wanted = []messages.Codec{messages.Opus, messages.PCMU, messages.PCMA}
	}
	if opus, ok := chooseCodec(messages.Opus, both); ok && talks && kind == messages.Audio && wanted[0] != messages.Opus {
		answer = append(answer, opus)
	}
	chosen := chooseCodecs(wanted, both)
	for _, codec := range wanted {
		format, ok := chosen[codec]
		if !ok {
			continue
		}
		may, answer = append(may, codec), append(answer, format)
		if rtx, ok := rtxOf(format, both); ok {
			answer = append(answer, rtx)
		}
	}
	return may, answer
}

// hearOpus leaves sections in which we send nothing Opus alone: it is what a viewer may say something in.
func (p *Peer) hearOpus() error {
	for _, transceiver := range p.pc.GetTransceivers() {
		if transceiver.Kind() != webrtc.RTPCodecTypeAudio || p.sends(transceiver.Mid()) {
			continue
		}
		opus, ok := chooseCodec(messages.Opus, transceiver.Receiver().GetParameters().Codecs)
		if !ok {
			continue
		}
		if err := transceiver.SetCodecPreferences([]webrtc.RTPCodecParameters{opus}); err != nil {
			return fmt.Errorf("prefer Opus: %w", err)
		}
	}
	return nil
}

// waitGathered waits for the candidates that travel in the answer.
func (p *Peer) waitGathered(ctx context.Context, g *gathering, trickle bool) error {
	enough, bound := g.done, gatherCompleteMax
	if trickle {
		enough, bound = g.allHosts, gatherHostsMax
	}
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-enough:
	case <-timer.C:
	case <-ctx.Done():
		return fmt.Errorf("gather candidates: %w", ctx.Err())
	}
	return nil
}
