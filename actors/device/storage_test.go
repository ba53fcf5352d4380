package device

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// storageStage is the storage actor in virtual time. The service is the test, but for its REST calls; a peer
// connection needs real sockets, so a peer is an actor that shows what it was told.
type storageStage struct {
	*stage
	t      *testing.T
	joins  atomic.Int64 // calls of JoinStorageSession
	refuse atomic.Bool  // all of them
	peers  chan *storedPeer
}

// storedPeer stands in for a peer; its parent is told of it by the test.
type storedPeer struct {
	epoch  uint64
	config rtc.PeerConfig
	inbox  chan any
	ended  chan struct{} // closed when it has stopped
	self   *actor.PID
}

func (p *storedPeer) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		p.self = ctx.Self()
	case *actor.Stopped:
		close(p.ended)
	case *leave:
		ctx.Stop(ctx.Self())
	case *messages.Offer, *messages.RemoteCandidate:
		p.inbox <- msg
	}
}

func (p *storedPeer) stopped() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// RoundTrip answers the REST calls.
func (s *storageStage) RoundTrip(r *http.Request) (*http.Response, error) {
	body, status := `{"IceServerList":[{"Uris":["turn:192.0.2.1:443?transport=udp"],"Username":"u","Password":"p","Ttl":300}]}`, http.StatusOK
	if strings.HasSuffix(r.URL.Path, "/joinStorageSession") {
		s.joins.Add(1)
		body = ""
		if s.refuse.Load() {
			body, status = `{"message":"no"}`, http.StatusBadRequest
		}
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// onStorage runs a test of the storage actor. It has credentials and an open websocket.
func onStorage(t *testing.T, run func(t *testing.T, s *storageStage)) {
	synctest.Test(t, func(t *testing.T) {
		s := &storageStage{t: t, peers: make(chan *storedPeer, 64)}
		cfg := Config{StorageChannel: "cam", StorageLife: storageLifeDefault, Region: "us-west-2"}
		s.stage = newStage(t, cfg, "storage", func(p *parts) actor.Actor {
			p.aws = aws.NewClient(aws.ClientConfig{Region: "us-west-2", HTTP: &http.Client{Transport: s}})
			made := newStorage(p)
			made.newPeer = func(_ *parts, epoch uint64, config rtc.PeerConfig) actor.Actor {
				peer := &storedPeer{epoch: epoch, config: config, inbox: make(chan any, 64), ended: make(chan struct{})}
				s.peers <- peer
				return peer
			}
			return made
		}, "session", "storage-session", "credentials")
		defer s.stop(t)
		s.tell(&messages.Credentials{AccessKeyID: "key", SecretAccessKey: "secret"})
		s.socket(true)
		run(t, s)
	})
}

// tell tells the actor something, and waits until that has had its effects.
func (s *storageStage) tell(msg any) {
	s.sys.Tell(pathStorage, msg)
	synctest.Wait()
}

func (s *storageStage) socket(fresh bool) {
	s.tell(&messages.StorageSocket{
		ChannelARN: "arn", StreamARN: "stream", HTTPSEndpoint: "https://kvs.test", JoinEndpoint: "https://w.kvs.test", Fresh: fresh,
	})
}

func (s *storageStage) passes(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// is checks the state and the number of joins so far.
func (s *storageStage) is(state string, joins int64) *messages.StorageStatus {
	s.t.Helper()
	reply, err := s.sys.Ask(context.Background(), pathStorage, &messages.StorageStatusWanted{})
	if err != nil {
		s.t.Fatal(err)
	}
	status := reply.(*messages.StorageStatus)
	if status.State != state || s.joins.Load() != joins {
		s.t.Fatalf("%s after %d joins, want %s after %d: %+v", status.State, s.joins.Load(), state, joins, status)
	}
	return status
}

// offers has the service offer, and returns the peer that it is for.
func (s *storageStage) offers() *storedPeer {
	s.t.Helper()
	s.tell(&messages.Offer{SDP: "offer"})
	select {
	case peer := <-s.peers:
		return peer
	default:
		s.t.Fatal("no peer was made for the offer")
		return nil
	}
}

// delivers has a peer send its first picture.
func (s *storageStage) delivers(p *storedPeer) {
	s.tell(&messages.ViewerStatus{Epoch: p.epoch, VideoFrames: 1})
}

func (s *storageStage) ends(p *storedPeer) {
	s.sys.Tell(strings.TrimPrefix(p.self.Id, "/"), &leave{})
	synctest.Wait()
	if !p.stopped() {
		s.t.Fatal("the peer goes on")
	}
}

// An offer that does not come in time is asked for again; one that comes then is answered, with the candidates
// that came before it.
func TestStorageOfferIsLate(t *testing.T) {
	onStorage(t, func(t *testing.T, s *storageStage) {
		s.is(storageJoining, 1)
		s.passes(storageOfferWithin - time.Millisecond)
		s.is(storageJoining, 1)
		s.passes(time.Millisecond)
		if got := s.is(storageBackingOff, 1); got.NoOffers != 1 || got.Failures != 0 || got.LastError == "" {
			t.Errorf("%+v", got)
		}
		s.tell(&messages.Offer{SDP: "stray"})
		if len(s.peers) > 0 {
			t.Error("an offer that nobody waits for was answered")
		}
		s.passes(backOffMin)
		s.is(storageJoining, 2)
		s.tell(&messages.RemoteCandidate{Candidate: messages.Candidate{Candidate: "early"}})
		peer := s.offers()
		s.is(storageConnecting, 2)
		s.tell(&messages.RemoteCandidate{Candidate: messages.Candidate{Candidate: "late"}})
		offer := (<-peer.inbox).(*messages.Offer)
		if offer.SDP != "offer" || offer.Setup[messages.PhaseJoinStorageSession] <= 0 || len(peer.config.IceServers) == 0 {
			t.Errorf("the peer was given %+v with %+v", offer, peer.config)
		}
		for _, want := range []string{"early", "late"} {
			if got := (<-peer.inbox).(*messages.RemoteCandidate); got.Candidate.Candidate != want {
				t.Errorf("candidate %s, want %s", got.Candidate.Candidate, want)
			}
		}
		s.delivers(peer)
		if got := s.is(storageStoring, 2); got.LastError != "" || got.Rejoins != 0 {
			t.Errorf("%+v", got)
		}
		s.passes(storageOfferWithin) // nothing waits for an offer any more
		s.is(storageStoring, 2)
	})
}

// Five joins without an offer are a failure, and five failures within ten minutes a reason to rest until
// the first of them is that long ago (kvs-protocol.md 4.6).
func TestStorageGivesUpAndComesBack(t *testing.T) {
	onStorage(t, func(t *testing.T, s *storageStage) {
		s.refuse.Store(true)
		var first time.Time
		for end := time.Now().Add(storageFailuresFor); first.IsZero() || time.Now().Before(end); {
			status, _ := s.sys.Ask(context.Background(), pathStorage, &messages.StorageStatusWanted{})
			if failures := status.(*messages.StorageStatus).Failures; failures > 0 && first.IsZero() {
				first = time.Now()
			} else if failures >= storageFailuresMax {
				break
			}
			s.passes(100 * time.Millisecond)
		}
		status := s.is(storageGivenUp, s.joins.Load())
		if status.Failures != storageFailuresMax || !strings.Contains(status.LastError, "JoinStorageSession") {
			t.Fatalf("%+v", status)
		}
		if n := s.joins.Load(); n > storageTriesMax*storageFailuresMax {
			t.Errorf("%d calls before it gave up", n)
		}
		before := s.joins.Load()
		s.passes(time.Until(first.Add(storageFailuresFor - time.Second)))
		s.is(storageGivenUp, before)
		s.refuse.Store(false)
		s.passes(2 * time.Second)
		s.is(storageJoining, before+1)
		s.delivers(s.offers())
		s.is(storageStoring, before+1)
	})
}

// A new websocket ends the rest: the service may be another one.
func TestStorageComesBackWithAnotherSocket(t *testing.T) {
	onStorage(t, func(t *testing.T, s *storageStage) {
		for range storageFailuresMax {
			s.ends(s.offers())               // before it has delivered
			s.passes(storageOfferWithin / 2) // the next join is made, and waits for its offer
		}
		joins := s.joins.Load()
		s.is(storageGivenUp, joins)
		s.socket(true)
		s.is(storageJoining, joins+1)
		s.delivers(s.offers())
		s.is(storageStoring, joins+1)
	})
}

// A service that cannot use the answer is a failure of that peer, and of no other.
func TestStorageAnswerIsRefused(t *testing.T) {
	onStorage(t, func(t *testing.T, s *storageStage) {
		s.tell(&messages.StorageRefused{Reason: "nobody asked"})
		s.is(storageJoining, 1)
		peer := s.offers()
		s.tell(&messages.StorageRefused{Reason: "it takes no audio"})
		if got := s.is(storageBackingOff, 1); !peer.stopped() || got.Failures != 1 || !strings.Contains(got.LastError, "it takes no audio") {
			t.Fatalf("stopped %v: %+v", peer.stopped(), got)
		}
		s.passes(backOffMin)
		s.is(storageJoining, 2)
		stores := s.offers()
		s.delivers(stores)
		s.passes(storageLifeDefault)
		s.is(storageStoring, 3)
		refused := s.offers()
		s.tell(&messages.StorageRefused{Reason: "not now"})
		if got := s.is(storageStoring, 3); !refused.stopped() || stores.stopped() || got.Failures != 1 { // the first one was an hour ago
			t.Fatalf("%+v", got)
		}
		s.passes(storageOfferWithin / 2)
		s.is(storageStoring, 4)
	})
}

// A source that cannot be stored is told of once, and not tried again before the rest is over.
func TestStorageSourceIsUnfit(t *testing.T) {
	onStorage(t, func(t *testing.T, s *storageStage) {
		stores := s.offers()
		s.delivers(stores)
		s.passes(storageLifeDefault)
		s.is(storageStoring, 2) // the join for the next peer is under way
		const reason = "a storage session needs H.264, the source's video is H265: set --video-codec h264"
		for range 3 { // frames
			s.tell(&unfit{stores.epoch, reason})
		}
		if got := s.is(storageGivenUp, 2); !stores.stopped() || got.LastError != reason || got.Failures != storageFailuresMax || len(got.Peers) != 0 {
			t.Fatalf("%+v", got)
		}
		s.tell(&messages.Offer{SDP: "too late"})
		s.passes(storageFailuresFor - time.Second)
		s.is(storageGivenUp, 2)
		s.passes(time.Second)
		s.is(storageJoining, 3)
		s.delivers(s.offers())
		s.is(storageStoring, 3)
	})
}

// Ahead of the service's hour the next peer comes; the one before goes on until that one delivers, and a
// while longer. So it does every hour, and with a new websocket.
func TestStorageJoinsAheadOfTheHour(t *testing.T) {
	onStorage(t, func(t *testing.T, s *storageStage) {
		current := s.offers()
		s.delivers(current)
		joins, delivered := int64(1), time.Now()
		for hour := range uint64(3) {
			s.passes(time.Until(delivered.Add(storageLifeDefault - time.Second)))
			s.is(storageStoring, joins)
			s.passes(time.Second)
			joins++
			s.is(storageStoring, joins)
			next := s.offers()
			s.passes(20 * time.Second) // of connecting
			if got := s.is(storageStoring, joins); current.stopped() || len(got.Peers) != 2 || got.Rejoins != hour {
				t.Fatalf("while the next one connects: %+v", got)
			}
			s.delivers(next)
			delivered = time.Now()
			s.passes(storageFormerFor - time.Millisecond)
			if got := s.is(storageStoring, joins); current.stopped() || got.Rejoins != hour+1 {
				t.Fatalf("while the service takes over: %+v", got)
			}
			s.passes(time.Millisecond)
			if got := s.is(storageStoring, joins); !current.stopped() || next.stopped() || len(got.Peers) != 1 || got.Failures != 0 {
				t.Fatalf("afterwards: %+v", got)
			}
			current = next
		}
		s.socket(false) // of the same service
		s.is(storageStoring, joins)
		s.socket(true)
		joins++
		s.is(storageStoring, joins)
		s.ends(current) // before the offer has come
		s.is(storageJoining, joins)
		next := s.offers()
		if got := s.is(storageConnecting, joins); got.Failures != 0 {
			t.Errorf("%+v", got)
		}
		s.delivers(next)
		s.ends(next)
		if got := s.is(storageBackingOff, joins); got.Failures != 1 {
			t.Errorf("%+v", got)
		}
		s.passes(backOffMin)
		s.is(storageJoining, joins+1)
	})
}

// judge is an actor that asks a storage peer of each frame whether it fits.
type judge struct {
	*viewer
	fit chan bool
}

func (j *judge) Receive(ctx actor.Context) {
	if frame, ok := ctx.Message().(*messages.Frame); ok {
		j.fit <- j.fits(ctx, frame)
	}
}

// What cannot be stored is refused with the remedy (kvs-protocol.md 4.4); silence is given some seconds first.
func TestStorageFits(t *testing.T) {
	of := func(codec messages.Codec) *messages.Frame {
		return &messages.Frame{Unit: &messages.AccessUnit{Track: codec.Track(), Codec: codec}}
	}
	for _, c := range []struct {
		name     string
		pictures uint64 // sent before
		sounds   bool   // came before
		frame    *messages.Frame
		remedy   string // empty: it fits
	}{
		{"H.264", 0, false, of(messages.H264), ""},
		{"Opus", 0, false, of(messages.Opus), ""},
		{"H.265", 0, false, of(messages.H265), "--video-codec h264"},
		{"G.711", 0, false, of(messages.PCMA), "--audio opus"},
		{"no sound yet", soundlessMax, false, of(messages.H264), ""},
		{"no sound", soundlessMax + 1, false, of(messages.H264), "--audio auto or silence"},
		{"sound", soundlessMax + 1, true, of(messages.H264), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			fit := make(chan bool, 1)
			s := newStage(t, Config{StorageChannel: "cam"}, "judge", func(p *parts) actor.Actor {
				v := newStorageViewer(p, 7, rtc.PeerConfig{}).(*viewer)
				v.stream, v.sounds = newStream(), c.sounds
				v.stream.frames[messages.Video] = c.pictures
				return &judge{v, fit}
			}, "storage")
			defer s.stop(t)
			s.sys.Tell("device/judge", c.frame)
			if got := <-fit; got != (c.remedy == "") {
				t.Fatalf("fits: %v", got)
			}
			if c.remedy == "" {
				return
			}
			if got := told[*unfit](t, s, "storage"); got.epoch != 7 || !strings.Contains(got.reason, c.remedy) {
				t.Errorf("%+v", got)
			}
		})
	}
}
