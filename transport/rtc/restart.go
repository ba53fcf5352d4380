package rtc

import (
	"context"
	"fmt"
	"slices"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// SessionOf names the peer connection that an offer is of: its session id (RFC 8866 5.2) and its
// certificate. Offers that renew one another have the same; "" when there is none to be read.
func SessionOf(text string) string {
	var d sdp.SessionDescription
	if len(text) > offerBytesMax || d.UnmarshalString(text) != nil || len(d.MediaDescriptions) == 0 {
		return ""
	}
	fingerprint, ok := inherited(&d, d.MediaDescriptions[0], "fingerprint")
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s %d %s", d.Origin.Username, d.Origin.SessionID, fingerprint)
}

// Renew answers a further offer of the same connection: the viewer restarts ICE (RFC 8839 4.4.1.1.1),
// because its network is another one now, or changes its sections. DTLS, tracks and their numbers go on.
// While ICE restarts, pion has no pair and loses in silence what is written: write nothing from before
// the call until *messages.PeerResumed comes, or, when restarted is false, until Renew returns. Trickled
// candidates wait for the return as well. One call at a time.
func (e *Engine) Renew(ctx context.Context, p *Peer, cfg PeerConfig, text string) (answer string, restarted bool, err error) {
	o, err := readOffer(text)
	if err != nil {
		return "", false, err
	}
	if cfg, err = e.current(cfg); err != nil {
		return "", false, err
	}
	restarted = o.credentials != p.credentials
	if restarted {
		if err := e.prepareRestart(p, cfg); err != nil {
			return "", false, err
		}
	}
	answer, err = p.negotiate(ctx, o, cfg)
	return answer, restarted, err
}

// prepareRestart gives the peer what it gathers with: the ICE servers' credentials may have expired.
func (e *Engine) prepareRestart(p *Peer, cfg PeerConfig) error {
	configuration, hosts := e.ice(cfg)
	p.streams.trust(configuration.ICEServers)
	p.hosts = hosts
	if err := p.pc.SetConfiguration(configuration); err != nil {
		return fmt.Errorf("set ICE servers for the restart: %w", err)
	}
	p.remoteCandidates.Store(0)
	p.mu.Lock()
	p.resuming = true
	p.mu.Unlock()
	return nil
}

// resume is told when ICE has a pair; true when that ends a restart.
func (p *Peer) resume() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	resumed := p.resuming
	p.resuming = false
	if resumed {
		p.out.batch.lose() // onPair may be called later
	}
	return resumed
}

// sends tells whether a track goes out in the section already.
func (p *Peer) sends(mid string) bool {
	return slices.ContainsFunc(p.pc.GetTransceivers(), func(t *webrtc.RTPTransceiver) bool {
		return t.Mid() == mid && t.Sender() != nil && slices.Contains(p.senders[:], t.Sender())
	})
}
