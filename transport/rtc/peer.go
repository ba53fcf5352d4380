package rtc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/webrtc/v4"
	"go.uber.org/zap"
)

const (
	eventsMax = 64 // events that wait for Read; further ones make pion's goroutine wait

	remoteCandidatesMax = 100 // a viewer on many interfaces gathers some 30

	// closeGraceMax is how long Close waits for goodbyes (TURN deallocation above all) before it
	// cuts the network under them.
	closeGraceMax = 500 * time.Millisecond
)

// ErrClosed is returned by the methods of a Peer after Close.
var ErrClosed = errors.New("peer is closed")

// Peer is the connection to one viewer. Read, ReadReports and WriteFrame have one caller each;
// the other methods may be called from any goroutine.
type Peer struct {
	log          *zap.Logger
	pc           *webrtc.PeerConnection
	keys         *keying
	network      *network
	streams      *turnStreams
	hosts        int    // host candidates that will come
	credentials  string // ICE's of the viewer's last offer
	named        []messages.Candidate
	dataChannels bool
	count        *atomic.Int64     // the engine's, of open peers
	codecs       [2]messages.Codec // set before negotiation: what the stream is, by track
	sound        bool              // set before negotiation: the viewer's sound becomes events
	drain        func()            // set before negotiation: what drainAudioReports does; nil: as a viewer's peer
	out          *outgoing

	// What is sent; nil: not negotiated. Answer and Renew set them, the sender first.
	senders [2]*webrtc.RTPSender
	tracks  [2]atomic.Pointer[track]
	begun   [2]chan struct{} // closed when both are there

	reported time.Time // last sender reports; WriteFrame's

	events    chan any
	wished    atomic.Bool   // a key-frame wish waits in events
	blocking  atomic.Bool   // the selected pair goes through a stream to a TURN server
	connected chan struct{} // closed when DTLS is done
	closed    chan struct{}

	received         receivedCounters
	remoteCandidates atomic.Int64

	closing   sync.Once
	closeErr  error
	callbacks sync.WaitGroup // pion's goroutines that run our code and that pion does not wait for

	mu        sync.Mutex
	shut      bool // no further call-back may begin
	gone      bool // PeerGone was posted: it is the last word
	announced bool // PeerConnected was posted
	checking  time.Time
	paired    time.Time
	resuming  bool // ICE has restarted and PeerResumed is due

	channels     map[string]*webrtc.DataChannel // newest per label
	channelsOpen int
}

// listen subscribes to what pion reports.
func (p *Peer) listen() {
	p.pc.OnICEConnectionStateChange(p.onICEState)
	p.pc.OnConnectionStateChange(p.onState)
	p.pc.OnTrack(p.onTrack)
	p.pc.OnDataChannel(p.onDataChannel)
	p.pc.SCTP().Transport().ICETransport().OnSelectedCandidatePairChange(p.onPair)
}

// begin lets a track be sent, and what the viewer reports of it be read. It may be a later one, of a section
// that a renewed offer has added.
func (p *Peer) begin(kind messages.Track, sender *webrtc.RTPSender, t *track) {
	p.senders[kind] = sender
	p.tracks[kind].Store(t)
	select {
	case <-p.begun[kind]: // its first section is gone; its reports are read until then
	default:
		close(p.begun[kind])
	}
}

// onPair runs on the ICE agent's goroutine.
func (p *Peer) onPair(pair *webrtc.ICECandidatePair) {
	local := pair.Local
	p.out.batch.lose()
	p.blocking.Store(local.Typ == webrtc.ICECandidateTypeRelay && p.network.isStream(local.RelatedPort))
}

// Read waits for the next event: *messages.PeerCandidate, *PeerPhase, *PeerConnected, *PeerResumed,
// *PeerGone, *PeerData, *PeerSound or *PeerKeyFrameWish.
func (p *Peer) Read(ctx context.Context) (any, error) {
	select {
	case event := <-p.events:
		if _, wish := event.(*messages.PeerKeyFrameWish); wish {
			p.wished.Store(false)
		}
		return event, nil
	case <-p.closed:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// post hands an event to Read and waits for room.
func (p *Peer) post(event any) {
	select {
	case p.events <- event:
	case <-p.closed:
	}
}

// Named are the candidates of the viewer's last offer that Resolve must be asked about. They are not added yet.
func (p *Peer) Named() []messages.Candidate { return p.named }

// AddRemoteCandidate adds a trickled candidate of the viewer, which must have an address.
func (p *Peer) AddRemoteCandidate(c messages.Candidate) error {
	if p.remoteCandidates.Add(1) > remoteCandidatesMax {
		return fmt.Errorf("add remote candidate: the viewer sent more than %d", remoteCandidatesMax)
	}
	err := p.pc.AddICECandidate(webrtc.ICECandidateInit{
		Candidate: c.Candidate, SDPMid: c.SDPMid, SDPMLineIndex: c.SDPMLineIndex, UsernameFragment: c.UsernameFragment,
	})
	if err != nil {
		return fmt.Errorf("add remote candidate: %w", err)
	}
	return nil
}

// WriteFrame sends payloads of a frame to this viewer, from the one numbered from, packetsMax of them
// at most, as one batch. It returns what went out, RTP headers and SRTP tags included. The RTP time is
// a random base plus pts. A frame at the live edge carries its capture time when the viewer negotiated
// abs-capture-time. A track that was not negotiated, or sound that the viewer does not take, gives 0, 0, nil.
func (p *Peer) WriteFrame(f *messages.Frame, from, packetsMax int, pts time.Duration, live bool, now time.Time) (packets, bytes int, err error) {
	t := p.tracks[f.Unit.Track].Load()
	switch {
	case t == nil:
		return 0, 0, nil
	case t.takes(f.Unit.Codec):
	case t.sends == "" && t.kind == messages.Audio: // it is not to be had in what the viewer takes
		return 0, 0, nil
	default:
		return 0, 0, fmt.Errorf("write %s frame: the stream has become %s, and %s was negotiated; the viewer must offer again", t.kind, f.Unit.Codec, t.sends)
	}
	packets, bytes, err = t.write(f, from, packetsMax, pts, live, now)
	if packets > 0 {
		p.reportDue(now)
	}
	return packets, bytes, err
}

// Forget has the viewer's wishes for video that was sent so far refused: it goes on with a key frame, and
// to send the rest once more would delay that.
func (p *Peer) Forget() {
	if t := p.tracks[messages.Video].Load(); t != nil {
		t.history.forget()
	}
}

// Estimate is what the path to this viewer carries, as its feedback tells.
func (p *Peer) Estimate() Estimate { return p.out.estimate() }

// CanBlock tells whether WriteFrame may wait for the network: for a TURN server over TCP or TLS, it does.
func (p *Peer) CanBlock() bool { return p.blocking.Load() }

// Cut takes the network from the peer: whatever waits for it fails. Close comes after it.
func (p *Peer) Cut() { p.network.cut() }

// Resent counts what the viewer asked for once more.
func (p *Peer) Resent() Resent {
	if t := p.tracks[messages.Video].Load(); t != nil {
		return t.again.read()
	}
	return Resent{}
}

// Pair returns the types of the selected candidate pair, local first ("host/srflx"), or "".
func (p *Peer) Pair() string {
	pair, err := p.pc.SCTP().Transport().ICETransport().GetSelectedCandidatePair()
	if err != nil || pair == nil {
		return ""
	}
	return pair.Local.Typ.String() + "/" + pair.Remote.Typ.String()
}

// onICEState runs on the ICE agent's goroutine, one call at a time.
func (p *Peer) onICEState(state webrtc.ICEConnectionState) {
	now := time.Now()
	p.mu.Lock()
	var found time.Duration
	switch {
	case state == webrtc.ICEConnectionStateChecking && p.checking.IsZero():
		p.checking = now
	case state == webrtc.ICEConnectionStateConnected && p.paired.IsZero() && !p.checking.IsZero():
		p.paired, found = now, now.Sub(p.checking)
	}
	p.mu.Unlock()
	if found > 0 {
		p.post(&messages.PeerPhase{Name: messages.PhaseFindPair, Took: found})
	}
	if state == webrtc.ICEConnectionStateConnected && p.resume() {
		p.post(&messages.PeerResumed{Pair: p.Pair()})
	}
}

// onState runs on a goroutine of its own for each call, so states may overtake one another.
func (p *Peer) onState(state webrtc.PeerConnectionState) {
	if !p.enter() {
		return
	}
	defer p.callbacks.Done()
	switch state {
	case webrtc.PeerConnectionStateConnected:
		p.onConnected(time.Now())
	case webrtc.PeerConnectionStateFailed:
		p.onGone(p.failure())
	case webrtc.PeerConnectionStateClosed:
		p.onGone("closed by the viewer")
	}
}

func (p *Peer) onConnected(now time.Time) {
	p.mu.Lock()
	first := !p.announced && !p.gone
	p.announced = p.announced || first
	handshake := now.Sub(p.paired)
	p.mu.Unlock()
	if !first {
		return
	}
	if err := p.takeOver(); err != nil {
		p.log.Debug("media stays with pion", zap.Error(err))
	}
	close(p.connected)
	p.post(&messages.PeerPhase{Name: messages.PhaseDTLSHandshake, Took: handshake})
	p.post(&messages.PeerConnected{Pair: p.Pair()})
	p.drainAudioReports()
}

// takeOver lets packets leave, and feedback come in, without pion from now on: the handshake has shown that
// the viewer is who the offer says it is.
func (p *Peer) takeOver() error {
	keys, err := p.keys.keys()
	if err != nil {
		return err
	}
	s, err := newSealer(keys)
	if err != nil {
		return err
	}
	h, err := newHearer(keys, p.onFeedback)
	if err != nil {
		return err
	}
	p.out.sealer.Store(s)
	p.out.hearer.Store(h)
	return nil
}

func (p *Peer) onGone(reason string) {
	p.mu.Lock()
	first := !p.gone
	p.gone = true
	p.mu.Unlock()
	if first {
		p.post(&messages.PeerGone{Reason: reason})
	}
}

// failure says why the connection failed.
func (p *Peer) failure() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.announced:
		return "the viewer does not answer any more"
	case p.paired.IsZero():
		return "no candidate pair works"
	default:
		return "the DTLS handshake failed"
	}
}

// enter counts a call-back in; false when the peer is being closed.
func (p *Peer) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		return false
	}
	p.callbacks.Add(1)
	return true
}

// Close ends the connection, releases Read and ReadReports, and waits until nothing of the peer runs
// any more, except pion's receivers, which end by themselves a moment later. The wait is bounded:
// what says goodbye for longer than half a second loses its network.
func (p *Peer) Close() error {
	p.closing.Do(func() {
		p.mu.Lock()
		p.shut = true
		p.mu.Unlock()
		close(p.closed)
		timer := time.AfterFunc(closeGraceMax, p.network.cut)
		if err := p.pc.GracefulClose(); err != nil {
			p.closeErr = fmt.Errorf("close peer connection: %w", err)
		}
		timer.Stop()
		p.network.cut()
		p.out.batch.lose()
		p.callbacks.Wait()
		p.count.Add(-1)
	})
	return p.closeErr
}
