package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

const storedChannel = "heliograph-stored"

// storing maps a channel to a stream.
func storing(t *testing.T, s *service.Service, name string) {
	t.Helper()
	if err := mapStorage(t.Context(), s.PublicURL, s.Region, s.Credentials, s.CA, name); err != nil {
		t.Fatal(err)
	}
}

// storageWorld is a world whose device stores by a channel of its own.
func storageWorld(t *testing.T, on func(*service.Config), cam func(*device.Config)) *World {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	w, err := StartWorld(ctx, WorldConfig{Log: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)), Service: on, Device: func(w *World, c *device.Config) {
		storing(t, w.Service, storedChannel)
		c.StorageChannel = storedChannel
		if cam != nil {
			cam(c)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// taken is what the service's storage session tells of itself.
func taken(t *testing.T, w *World) []messages.IngestStatus {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Service.LocalURL+"/sessions", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var census struct{ Ingest []messages.IngestStatus }
	if err := json.NewDecoder(resp.Body).Decode(&census); err != nil {
		t.Fatal(err)
	}
	return census.Ingest
}

// asks tries again until ask has nothing to object to.
func asks(t *testing.T, within time.Duration, ask func() error) {
	t.Helper()
	deadline := time.After(within)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}

// The device joins the storage session of one channel, and a viewer watches by another.
func TestDeviceStores(t *testing.T) {
	w := storageWorld(t, nil, nil)
	asks(t, readyWithin, func() error {
		all := taken(t, w)
		if len(all) != 1 || len(all[0].Participants) != 1 || all[0].Participants[0].Video.Frames < 30 || all[0].Participants[0].Audio.Frames < 30 {
			return fmt.Errorf("the service takes in %+v", all)
		}
		return nil
	})
	status, err := w.Device.Storage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.State != "storing" || len(status.Peers) != 1 || status.Failures != 0 || !strings.Contains(status.StreamARN, "stream/"+storedChannel) {
		t.Errorf("%+v", status)
	}
	phases := status.Peers[0].Phases
	for _, phase := range []string{messages.PhaseJoinStorageSession, messages.PhaseFindPair, messages.PhaseDTLSHandshake, messages.PhaseFirstFrame, messages.PhaseConnectWebsocket} {
		if phases[phase] <= 0 {
			t.Errorf("phase %s was not measured: %v", phase, phases)
		}
	}
	v, err := NewViewer(w.Viewer(1, "watcher"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	select {
	case <-v.Playing():
	case <-time.After(readyWithin):
		t.Error("nobody can watch meanwhile")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// alawSample is the sample with sound in A-law.
type alawSample struct{ media.Source }

func (alawSample) AudioCodec() messages.Codec { return messages.PCMA }

func (s alawSample) Run(ctx context.Context, emit func(*messages.AccessUnit) error) error {
	return s.Source.Run(ctx, func(u *messages.AccessUnit) error {
		if u.Track == messages.Audio {
			u.Codec, u.Data = messages.PCMA, make([]byte, 160)
		}
		return emit(u)
	})
}

// A storage session takes Opus alone: a source of G.711 is told so, and what to do.
func TestStorageNeedsOpus(t *testing.T) {
	sample, err := media.NewSample()
	if err != nil {
		t.Fatal(err)
	}
	w := storageWorld(t, nil, func(c *device.Config) { c.Source = alawSample{sample} })
	const want = "a storage session needs Opus, the source's sound is PCMA: set --audio opus"
	asks(t, readyWithin, func() error {
		if status, err := w.Device.Storage(t.Context()); err != nil || status.State != "given up" || status.LastError != want {
			return fmt.Errorf("%+v, %v", status, err)
		}
		return nil
	})
}

// The hour is compressed: the service ends a storage peer after ten seconds, and the device joins anew
// after four and a half, of which the next picture to begin with is up to two away. So it does ten times
// within a minute. The numbers of the pictures that pass at the ingest say whether any was lost or came twice.
func TestTenRejoins(t *testing.T) {
	const hour, life, rejoins = 10 * time.Second, 4500 * time.Millisecond, 10
	seen := newPassage()
	w := storageWorld(t, func(c *service.Config) {
		c.Limits.IngestMax = hour
		c.IngestTap = func(string) rtc.Tap { return seen.take }
	}, func(c *device.Config) { c.StorageLife = life })
	began := time.Now()
	asks(t, hour*rejoins, func() error {
		status, err := w.Device.Storage(t.Context())
		if err == nil && status.Rejoins < rejoins {
			err = fmt.Errorf("%d of %d re-joins: %+v", status.Rejoins, rejoins, status)
		}
		return err
	})
	status, err := w.Device.Storage(t.Context())
	if err != nil || status.Failures > 0 {
		t.Errorf("%+v %v", status, err)
	}
	seen.judge(t, time.Since(began))
}

// passage is what has passed at an ingest.
type passage struct {
	mu     sync.Mutex
	tracks [2][]passed
}

// passed is one packet.
type passed struct {
	sequence uint16
	time     uint32
	captured time.Time
	ends     bool // a picture, or a packet of sound
}

func newPassage() *passage { return &passage{} }

func (p *passage) take(track messages.Track, packet *rtp.Packet, captured time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tracks[track] = append(p.tracks[track], passed{packet.SequenceNumber, packet.Timestamp, captured, track == messages.Audio || packet.Marker})
}

// judge wants every number once, and the time of one frame between any two.
func (p *passage) judge(t *testing.T, took time.Duration) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for track, step := range map[messages.Track]int64{messages.Video: 3000, messages.Audio: 960} {
		sequences, times, captured := []int64{}, []int64{}, time.Duration(0)
		var sequence, at int64 // of the packet before, without the wrap-arounds
		all := p.tracks[track]
		for i, packet := range all {
			if i > 0 {
				sequence += int64(int16(packet.sequence - all[i-1].sequence))
				at += int64(int32(packet.time - all[i-1].time))
			}
			sequences = append(sequences, sequence)
			if packet.ends {
				times = append(times, at)
			}
		}
		slices.Sort(sequences)
		slices.Sort(times)
		lost, twice, uneven := 0, 0, 0
		for i := 1; i < len(sequences); i++ {
			if sequences[i] != sequences[i-1]+1 {
				t.Errorf("%s: packet %d behind %d", track, sequences[i], sequences[i-1])
			}
		}
		for i := 1; i < len(times); i++ {
			switch d := times[i] - times[i-1]; {
			case d > step*3/2:
				lost += int((d+step/2)/step) - 1
			case d < step/2:
				twice++
			case max(d-step, step-d) > 2:
				uneven++
			}
		}
		if n := len(all); n > 0 {
			captured = all[n-1].captured.Sub(all[slices.IndexFunc(all, func(q passed) bool { return !q.captured.IsZero() })].captured)
		}
		t.Logf("%s: %d frames in %v of %v: %d lost, %d twice, %d with another time than the step between two", track, len(times), captured, took, lost, twice, uneven)
		if lost > 0 || twice > 0 || uneven > 0 || len(times) == 0 {
			t.Errorf("%s: %d lost, %d twice, %d uneven", track, lost, twice, uneven)
		}
	}
}
