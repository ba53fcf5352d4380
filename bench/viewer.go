// Package bench measures the engine from outside: simulated viewers over the real signed protocol, a
// world in one process to run them against, and the load test. The device's and the service's own
// figures are used for what only they can know.
package bench

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/bench/impair"
	"github.com/heliograph-rtc/heliograph/bench/playback"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// Flow of a Viewer, all owned by Run: join (REST calls, websocket) -> call (offer, candidates) -> the
// signaling edge applies answer and candidates -> one edge per track reads packets into its account ->
// leave. Pion's callbacks only mark phases and hand over through channels.

const (
	playWithinDefault = 20 * time.Second // from Run to the first decodable key frame
	dataEvery         = time.Second
	candidatesMax     = 64 // of this viewer, on their way to the socket
	earlyMax          = 64 // of the device, before its answer
)

// The channel that KVS's samples use, and what the device answers with "pong".
const (
	dataLabel = "kvsDataChannel"
	dataPing  = "ping"
)

// ViewerConfig says whom a simulated viewer watches and through what network.
type ViewerConfig struct {
	Number       int    // in tables and rows
	ClientID     string // required
	Channel      string // name of the signaling channel; required
	Region       string // AWS region; required
	ControlPlane string // URL of the control plane; empty: AWS's of the region
	RootCAs      *x509.CertPool
	Credentials  aws.Provider                         // required
	ConnectTo    func(network, address string) string // where to go for a host:port, as curl's --connect-to; nil: there

	NoServers    bool // use neither STUN nor TURN
	RelayOnly    bool
	RelayWait    time.Duration // for a direct path, before a relayed one is taken; 0: 50 ms
	RelayURL     string        // the TURN server to use; empty: the first one over UDP
	Loopback     bool          // gather loopback candidates too
	LoopbackOnly bool          // gather no others
	H265         bool          // offer H.265 too
	Data         bool          // open a data channel and send a ping every second
	Audio        [][]byte      // Opus packets of 20 ms to send, over and over; nil: none
	Network      impair.Profile

	Hold       func(ctx context.Context) // is called when the viewer has joined; the offer waits for it. nil: it does not
	OnVideo    func(*rtp.Packet)         // is called with each packet of video as it comes; it may not keep it. nil: nobody is
	Save       string                    // Matroska file for what comes, from the first key frame on; empty: none
	PlayWithin time.Duration             // bound from Run to the first decodable key frame; default 20 s
}

// Viewer is one simulated viewer. It joins once: make another one to join again.
type Viewer struct {
	cfg     ViewerConfig
	network *impair.Net
	life    context.Context
	end     context.CancelCauseFunc

	// Owned by Run.
	edges  actors.Group
	client *signaling.Client
	peer   *webrtc.PeerConnection
	data   *webrtc.DataChannel
	row    Row

	offerSent time.Time
	answered  time.Time // the signaling edge's, while it runs

	// Of the track edges while they run, then of Run.
	video *playback.Video
	audio *playback.Audio

	saver *saver // nil: nothing is kept
	saved error  // of its edge

	// Handed over between pion's callbacks and Run's edges.
	tracks   chan remoteTrack
	outgoing chan messages.Candidate
	playing  chan struct{} // closed at the first decodable key frame
	seen     sync.Once

	mu     sync.Mutex // pion calls back on goroutines of its own
	phases messages.Phases
	began  map[string]time.Time

	connected         atomic.Bool
	vanished          atomic.Bool
	pictures, lost    atomic.Uint64
	pongs             atomic.Uint64
	candidatesDropped atomic.Uint64
	signalingLost     atomic.Bool
	restarting        atomic.Bool // the answer to a further offer is due
	measuredFrom      atomic.Pointer[time.Time]
	outageEnds        atomic.Pointer[time.Time]
	recovery          atomic.Int64 // ns from the end of the outage to a picture captured after it; 0: none yet
}

// remoteTrack is a track that the device has begun to send.
type remoteTrack struct {
	track    *webrtc.TrackRemote
	receiver *webrtc.RTPReceiver
}

// errLeft ends a viewer's life when its time is up.
var errLeft = errors.New("left")

// NewViewer returns a viewer that does nothing before Run.
func NewViewer(cfg ViewerConfig) (*Viewer, error) {
	if cfg.ClientID == "" || cfg.Channel == "" || cfg.Region == "" || cfg.Credentials == nil {
		return nil, errors.New("viewer: client id, channel, region and credentials are required")
	}
	if cfg.PlayWithin == 0 {
		cfg.PlayWithin = playWithinDefault
	}
	network, err := impair.NewNet(cfg.Network)
	if err != nil {
		return nil, err
	}
	network.ConnectTo(cfg.ConnectTo)
	v := &Viewer{
		cfg: cfg, network: network, video: playback.NewVideo(), audio: playback.NewAudio(),
		tracks: make(chan remoteTrack, 4), outgoing: make(chan messages.Candidate, candidatesMax),
		playing: make(chan struct{}), phases: messages.Phases{}, began: map[string]time.Time{},
	}
	v.life, v.end = context.WithCancelCause(context.Background())
	return v, nil
}

// Playing is closed when the first decodable key frame is complete.
func (v *Viewer) Playing() <-chan struct{} { return v.playing }

// Progress is how a viewer that runs is doing.
type Progress struct {
	Connected, Playing bool
	Pictures, Lost     uint64 // complete pictures, lost packets
	Pongs              uint64 // answers on the data channel
}

// Progress may be asked at any time.
func (v *Viewer) Progress() Progress {
	p := Progress{Connected: v.connected.Load(), Pictures: v.pictures.Load(), Lost: v.lost.Load(), Pongs: v.pongs.Load()}
	select {
	case <-v.playing:
		p.Playing = true
	default:
	}
	return p
}

// MeasureFrom leaves pictures captured before t out of the latencies.
func (v *Viewer) MeasureFrom(t time.Time) { v.measuredFrom.Store(&t) }

// Outage loses all that comes in for d (impair.Net.Outage), and has the viewer note how long after it
// there is a new picture.
func (v *Viewer) Outage(d time.Duration) {
	ends := v.network.Outage(d)
	v.outageEnds.Store(&ends)
}

// SetRate changes what the viewer's network carries (impair.Net.SetRate).
func (v *Viewer) SetRate(bps int) { v.network.SetRate(bps) }

// Vanish makes the viewer disappear as a killed process does: its sockets are closed, and nobody is
// told. Run returns nil.
func (v *Viewer) Vanish() {
	v.vanished.Store(true) // before the cut, whose errors are none then
	v.network.Cut()
	v.end(errLeft)
}

// RestartICE sends a further offer on the connection, as a browser does whose network has changed
// (RTCPeerConnection.restartIce). Call it while the viewer plays.
func (v *Viewer) RestartICE() error {
	offer, err := v.makeOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		return err
	}
	v.restarting.Store(true)
	return v.sendOffer(offer)
}

// Run joins the channel and watches until ctx ends, then takes leave. It fails when the viewer cannot
// join, when no key frame can be decoded in time, or when the connection is lost.
func (v *Viewer) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { v.end(errLeft) })
	defer stop()
	late := time.AfterFunc(v.cfg.PlayWithin, func() {
		v.end(fmt.Errorf("no decodable key frame within %v", v.cfg.PlayWithin))
	})
	defer late.Stop()
	err := v.join()
	if err == nil && v.cfg.Hold != nil {
		v.cfg.Hold(v.life)
	}
	if err == nil {
		err = v.call()
	}
	if err != nil {
		v.end(err)
	}
	v.watch(late)
	v.leave()
	err = context.Cause(v.life)
	if err == errLeft || v.vanished.Load() {
		return nil
	}
	v.row.Error = err.Error()
	return err
}

// watch hands tracks to edges until the viewer's life ends.
func (v *Viewer) watch(late *time.Timer) {
	if v.cfg.Save != "" {
		v.saver = newSaver(v.cfg.Save)
		v.edges.Go("save", func() error {
			v.saved = v.saver.run(v.life)
			return v.saved
		})
	}
	ticks := time.NewTicker(dataEvery)
	defer ticks.Stop()
	playing := v.playing
	for {
		select {
		case t := <-v.tracks:
			v.readTrack(t)
		case <-playing:
			late.Stop()
			playing = nil
		case <-ticks.C:
			if v.data != nil && v.data.ReadyState() == webrtc.DataChannelStateOpen {
				_ = v.data.SendText(dataPing) // a lost connection is noticed by its own state
			}
		case <-v.life.Done():
			return
		}
	}
}

// leave closes everything, waits for the edges and draws up the row.
func (v *Viewer) leave() {
	ended := time.Now()
	pair := v.pair()
	if v.client != nil {
		_ = v.client.Close() // says goodbye as well as it can
	}
	if v.peer != nil {
		_ = v.peer.GracefulClose()
	}
	_ = v.edges.Wait() // edges report through end
	v.network.Cut()
	v.video.Finish(ended)
	v.row = v.result(pair)
	if v.saved != nil {
		v.row.Error = v.saved.Error()
	}
}

// begin notes when a phase begins, and finish when it ends. Only the first of each counts.
func (v *Viewer) begin(phase string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.began[phase].IsZero() {
		v.began[phase] = time.Now()
	}
}

func (v *Viewer) finish(phase string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, done := v.phases[phase]; !done && !v.began[phase].IsZero() {
		v.phases[phase] = time.Since(v.began[phase])
	}
}
