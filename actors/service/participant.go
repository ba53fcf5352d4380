package service

// A participant of a storage session: the master or a viewer. Its edge makes the peer and reads it to
// its end; everything else is the ingest actor's.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// States of a participant: joining -> offered -> connecting -> connected; of a viewer then away.
const (
	partJoining    = "joining"    // its peer is being made
	partOffered    = "offered"    // its answer is awaited
	partConnecting = "connecting" // its answer was accepted
	partConnected  = "connected"
	partAway       = "away" // it has left, its slot waits for its return
)

// earlyMax bounds the candidates that come before the answer (kvs-protocol.md 7.4, point 15).
const earlyMax = 100

type participant struct {
	clientID string // empty: the master
	state    string
	joined   time.Time
	fed      time.Time // when media of the master was last seen
	away     time.Time
	edge     *actors.Edge
	peer     *rtc.Participant // nil while joining and away
	early    []messages.Candidate
	pair     string
	received [2]rtc.TrackCount // as counted last
}

func newParticipant(clientID string) *participant {
	now := time.Now()
	return &participant{clientID: clientID, state: partJoining, joined: now, fed: now}
}

func (p *participant) role() string {
	if p.clientID == "" {
		return "master"
	}
	return "viewer"
}

// converse is the edge of a participant: engine, peer, offer, events, in this order, and back.
func (p *participant) converse(e *actors.Edge, cfg rtc.EngineConfig, peerConfig rtc.PeerConfig, feed *rtc.Feed) error {
	engine, err := rtc.NewEngine(cfg)
	if err != nil {
		return fmt.Errorf("open engine: %w", err)
	}
	defer engine.Close()
	peer, offer, err := engine.Offer(peerConfig, feed, p.clientID != "")
	if err != nil {
		return fmt.Errorf("offer: %w", err)
	}
	defer peer.Close()
	if err := e.Post(&offered{p, peer, offer}); err != nil {
		return err
	}
	for {
		event, err := peer.Read(e.Context())
		if err != nil {
			return err
		}
		if err := e.Post(&heard{p, event}); err != nil {
			return err
		}
	}
}

// take applies an answer or a candidate. The errors go back to the participant.
func (p *participant) take(m signaling.Outbound) error {
	if m.Action == signaling.ICECandidate {
		return p.takeCandidate(m.Payload)
	}
	if p.state != partOffered {
		return errors.New("no offer waits for an answer")
	}
	kind, sdp, err := signaling.DecodeDescription(m.Payload)
	if err != nil {
		return err
	}
	if kind != "answer" {
		return errors.New("the description is not an answer")
	}
	if err := p.peer.Accept(sdp); err != nil {
		return err
	}
	p.state = partConnecting
	for _, c := range p.early {
		_ = p.peer.AddRemoteCandidate(c) // one that cannot be used makes the answer no worse
	}
	p.early = nil
	return nil
}

// takeCandidate holds what comes before the answer.
func (p *participant) takeCandidate(payload string) error {
	c, err := signaling.DecodeCandidate(payload)
	switch {
	case err != nil:
		return err
	case p.state == partConnecting || p.state == partConnected:
		return p.peer.AddRemoteCandidate(c)
	case len(p.early) >= earlyMax:
		return errors.New("too many candidates before the answer")
	}
	p.early = append(p.early, c)
	return nil
}

// over says whether a participant has had its time (kvs-protocol.md 4.5).
func (p *participant) over(now time.Time, l Limits) string {
	switch {
	case p.state == partAway:
		if now.Sub(p.away) >= l.IngestSlotMax {
			return "slot"
		}
	case now.Sub(p.joined) >= l.IngestMax:
		return "lifetime"
	case now.Sub(p.fed) >= l.IngestIdleMax:
		return "idle"
	}
	return ""
}

func (p *participant) status(now time.Time) messages.IngestParticipant {
	s := messages.IngestParticipant{ClientID: p.clientID, State: p.state, Pair: p.pair, Seconds: now.Sub(p.joined).Seconds()}
	if p.clientID == "" {
		track := func(c rtc.TrackCount) *messages.IngestTrack {
			return &messages.IngestTrack{Packets: c.Packets, Frames: c.Frames, Bytes: c.Bytes}
		}
		s.Video, s.Audio = track(p.received[messages.Video]), track(p.received[messages.Audio])
	}
	return s
}

// ingestEngine is what each participant's peer stands on. Like the public door, its sockets are on
// loopback unless that is told otherwise.
func (w *world) ingestEngine() rtc.EngineConfig {
	host, _, _ := net.SplitHostPort(w.cfg.Public) // checked by Start
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if addr, err := netip.ParseAddr(host); err != nil || addr.IsUnspecified() {
		host = ""
	}
	return rtc.EngineConfig{
		ListenUDP: net.JoinHostPort(host, "0"), IncludeLoopback: true, ConnectTo: w.ownRelay, Log: w.sys.Log().Named("ingest"),
	}
}

// ownRelay is where the relay listens: the address that clients know it by may be that of a NAT, which
// need not lead back from inside.
func (w *world) ownRelay(network, address string) string {
	listen := w.cfg.RelayUDP
	if strings.HasPrefix(network, "tcp") {
		listen = w.cfg.RelayTCP
	}
	host, _, err := net.SplitHostPort(listen)
	_, port, bad := net.SplitHostPort(address)
	if err != nil || bad != nil {
		return address
	}
	if addr, err := netip.ParseAddr(host); err != nil || addr.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// plainURL is the first of TURN without TLS: between the service and its own relay it would protect
// nothing.
func plainURL(urls []string) string {
	for _, url := range urls {
		if strings.HasPrefix(url, "turn:") {
			return url
		}
	}
	return ""
}
