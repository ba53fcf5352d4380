package rtc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/webrtc/v4"
)

// gatheredSpare has a spare ready whose candidates are all there.
func gatheredSpare(t *testing.T, e *Engine, cfg PeerConfig) *spare {
	t.Helper()
	own, err := e.newSpare(cfg)
	must(t, err)
	wait(t, webrtc.GatheringCompletePromise(own.peer.pc), "the spare to gather")
	e.spares.put(own)
	return own
}

func TestSpareHasItsCandidates(t *testing.T) {
	e := newEngine(t, EngineConfig{})
	cfg := PeerConfig{IceServers: []messages.IceServer{{URLs: []string{stunServer(t, 100*time.Millisecond)}}}}
	own := gatheredSpare(t, e, cfg)
	v := newViewer(t, wish{video: true, audio: true})
	d := answerTo(t, e, v, true, cfg)
	if d.Peer != own.peer || e.SparesUsed() != 1 || e.spares.remove(own) {
		t.Fatalf("the spare was not taken, or is still there; used %d", e.SparesUsed())
	}
	wait(t, own.over, "the keeper to hear of it")
	lines := candidateLines(d.answer)
	if len(lines) != 2 || !strings.Contains(lines[0]+lines[1], "typ host") || !strings.Contains(lines[0]+lines[1], "typ srflx") {
		t.Fatalf("the answer holds the candidates %q, want host and srflx", lines)
	}
	wait(t, v.up, "the viewer to connect")
	d.connectedEvent()
	for _, event := range d.all {
		if late, ok := event.(*messages.PeerCandidate); ok {
			t.Fatalf("a second time: %v", late)
		}
	}
}

func TestSpareThatDoesNotFit(t *testing.T) {
	for name, w := range map[string]struct {
		wish wish
		cfg  PeerConfig
		over bool // the spare is of no use to anybody else either
	}{
		"servers": {wish{video: true}, PeerConfig{IceServers: []messages.IceServer{{URLs: []string{"stun:127.0.0.1:9"}}}}, true},
		"talks":   {wish{video: true, talk: true}, PeerConfig{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, EngineConfig{})
			own := gatheredSpare(t, e, PeerConfig{})
			v := newViewer(t, w.wish)
			d := answerTo(t, e, v, true, w.cfg)
			if d.Peer == own.peer || e.SparesUsed() != 0 {
				t.Fatal("the viewer got it")
			}
			if w.over {
				wait(t, own.over, "the keeper to hear of it")
			}
			if !e.spares.remove(own) {
				t.Fatal("it counts as taken")
			}
			must(t, own.peer.Close())
			wait(t, v.up, "the viewer to connect")
		})
	}
}

func TestKeeperOfTheSpareEndsWithItsContext(t *testing.T) {
	turn := []messages.IceServer{{URLs: []string{"turn:127.0.0.1:9?transport=udp"}, Username: "u", Password: "p"}}
	for name, servers := range map[string][]messages.IceServer{"TURN": turn, "none": nil} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, EngineConfig{})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- e.KeepSpare(ctx, PeerConfig{IceServers: servers}) }()
			cancel()
			if err := wait(t, ended, "the keeper to end"); !errors.Is(err, context.Canceled) {
				t.Fatalf("ended with %v", err)
			}
			if e.spares.ready != nil {
				t.Fatal("a spare is left")
			}
		})
	}
}
