package device

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

// failingSink fails, and counts how often it was tried.
type failingSink struct{ tried chan struct{} }

func (*failingSink) Name() string { return "failing" }
func (f *failingSink) Open(context.Context, string) (*media.Talk, error) {
	f.tried <- struct{}{}
	return nil, errors.New("no speaker")
}

func speak(s *stage, clientID string, n int) {
	for i := range n {
		s.sys.Tell(pathSink, &messages.Spoken{ClientID: clientID, Sound: messages.Sound{Sequence: uint16(i), Timestamp: uint32(960 * i), Data: []byte{0xf8, 1, 2}}})
	}
}

// heard reads kvs_talk_packets_total.
func (s *stage) heard(outcome string) float64 {
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.common.metrics.talkPackets.WithLabelValues(outcome))
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		return -1
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

// Who speaks first is heard until a silence; the next one then, in a file of its own.
func TestOneViewerTalksAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "talk.ogg")
	synctest.Test(t, func(t *testing.T) {
		sink, err := media.NewFileSink(path)
		if err != nil {
			t.Fatal(err)
		}
		s := newStage(t, Config{Sink: sink}, "sink", func(p *parts) actor.Actor { return newSink(p) })
		defer s.stop(t)
		speak(s, "first", 10)
		synctest.Wait()
		speak(s, "second", 5)
		synctest.Wait()
		if s.heard("written") != 10 || s.heard("busy") != 5 {
			t.Fatalf("%v written, %v busy", s.heard("written"), s.heard("busy"))
		}
		time.Sleep(talkSilence / 2)
		speak(s, "first", 1) // late, but a sign of life
		time.Sleep(talkSilence * 3 / 4)
		speak(s, "second", 1)
		synctest.Wait()
		if s.heard("busy") != 6 {
			t.Fatal("the first was not heard out")
		}
		time.Sleep(talkSilence)
		synctest.Wait()
		speak(s, "second", 7)
		synctest.Wait()
		if s.heard("written") != 17 {
			t.Fatalf("%v written, want 17", s.heard("written"))
		}
	})
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "talk*.ogg"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v", files)
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Fatalf("the talk of the second: %v", err)
	}
}

// A flood is held to a rate.
func TestSinkBoundsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, err := media.NewFileSink(filepath.Join(t.TempDir(), "talk.ogg"))
		if err != nil {
			t.Fatal(err)
		}
		s := newStage(t, Config{Sink: sink}, "sink", func(p *parts) actor.Actor { return newSink(p) })
		defer s.stop(t)
		for range 10 {
			speak(s, "first", talkPacketsPerS/5)
			synctest.Wait()
		}
		if got := s.heard("rate"); got != talkPacketsPerS {
			t.Errorf("%v packets beyond the rate, want %v", got, talkPacketsPerS)
		}
	})
}

// A sink that fails is not tried for every packet.
func TestSinkRestsAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &failingSink{tried: make(chan struct{}, 100)}
		s := newStage(t, Config{Sink: sink}, "sink", func(p *parts) actor.Actor { return newSink(p) })
		defer s.stop(t)
		for range 100 {
			speak(s, "first", 1)
			synctest.Wait()
			time.Sleep(100 * time.Millisecond)
		}
		if n := len(sink.tried); n != 4 { // at 0, 1, 3 and 7 s
			t.Errorf("tried %d times in 10 s, want 4", n)
		}
	})
}
