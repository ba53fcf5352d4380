package device

import (
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// written is a peer that records what it was given.
type written struct {
	frames  []due
	packets int
}

func (w *written) WriteFrame(f *messages.Frame, from, packetsMax int, pts time.Duration, live bool) (int, int, error) {
	n := min(packetsMax, len(f.Payloads)-from)
	if w.packets += n; from == 0 {
		w.frames = append(w.frames, due{frame: f, pts: pts, live: live})
	}
	return n, 100, nil
}

func videoFrame(seq uint64, key bool) *messages.Frame {
	return &messages.Frame{Seq: seq, Payloads: make([][]byte, 1), Unit: &messages.AccessUnit{Track: messages.Video, KeyFrame: key, PTS: time.Duration(seq) * 33 * time.Millisecond}}
}

func group(from, to uint64) []*messages.Frame {
	frames := []*messages.Frame{videoFrame(from, true)}
	for seq := from + 1; seq <= to; seq++ {
		frames = append(frames, videoFrame(seq, false))
	}
	return frames
}

func seqs(frames []due) []uint64 {
	var s []uint64
	for _, d := range frames {
		s = append(s, d.frame.Seq)
	}
	return s
}

func TestCatchUpIsSqueezedBeforeTheLiveEdge(t *testing.T) {
	peer := &written{}
	s := newStream(peer)
	s.begin(group(100, 159))
	for len(s.backlog) > 0 {
		if err := s.send(); err != nil {
			t.Fatal(err)
		}
	}
	s.take(videoFrame(160, false))
	if err := s.send(); err != nil {
		t.Fatal(err)
	}
	if len(peer.frames) != 61 || s.dropped != 0 {
		t.Fatalf("wrote %d frames, dropped %d", len(peer.frames), s.dropped)
	}
	first, edge, live := peer.frames[0], peer.frames[59], peer.frames[60]
	if !first.frame.Unit.KeyFrame || edge.pts-first.pts != 59*catchUpStep || edge.pts != edge.frame.Unit.PTS {
		t.Fatalf("catch-up from %v to %v", first.pts, edge.pts)
	}
	if live.pts != live.frame.Unit.PTS || !live.live || first.live {
		t.Fatalf("live frame at %v, stamped %v, catch-up stamped %v", live.pts, live.live, first.live)
	}
	for i := 1; i < len(peer.frames); i++ {
		if peer.frames[i].pts <= peer.frames[i-1].pts {
			t.Fatalf("time of frame %d does not rise", i)
		}
	}
}

func TestCatchUpIsPaced(t *testing.T) {
	peer := &written{}
	s := newStream(peer)
	frames := group(0, 9)
	frames[0].Payloads = make([][]byte, 3*pacePackets) // a key frame is larger than a turn
	s.begin(frames)
	for turn := 1; turn <= 3; turn++ {
		if err := s.send(); err != nil {
			t.Fatal(err)
		}
		if len(peer.frames) != 1 || peer.packets != turn*pacePackets {
			t.Fatalf("turn %d: %d packets of %d frames", turn, peer.packets, len(peer.frames))
		}
	}
	s.take(videoFrame(10, false)) // a live frame waits behind the rest
	for len(s.backlog) > 0 {
		if err := s.send(); err != nil {
			t.Fatal(err)
		}
	}
	for i, seq := range seqs(peer.frames) {
		if seq != uint64(i) {
			t.Fatalf("order %v", seqs(peer.frames))
		}
	}
}

func TestNoFrameWithoutItsReferences(t *testing.T) {
	for name, c := range map[string]struct {
		group []*messages.Frame
		live  []*messages.Frame
		want  []uint64
	}{
		"no group yet: waits for a key frame": {nil, []*messages.Frame{videoFrame(5, false), videoFrame(6, true), videoFrame(7, false)}, []uint64{6, 7}},
		"gap: waits for the next key frame":   {group(0, 1), []*messages.Frame{videoFrame(2, false), videoFrame(4, false), videoFrame(5, false), videoFrame(6, true)}, []uint64{0, 1, 2, 6}},
		"gap that ends in a key frame":        {group(0, 1), []*messages.Frame{videoFrame(4, true), videoFrame(5, false)}, []uint64{0, 1, 4, 5}},
		"fan-out started again at 0":          {group(7, 8), []*messages.Frame{videoFrame(0, false), videoFrame(1, true)}, []uint64{7, 8, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			peer := &written{}
			s := newStream(peer)
			s.begin(c.group)
			for _, f := range c.live {
				s.take(f)
			}
			for len(s.backlog) > 0 {
				if err := s.send(); err != nil {
					t.Fatal(err)
				}
			}
			got := seqs(peer.frames)
			if len(got) != len(c.want) {
				t.Fatalf("got %v, want %v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Fatalf("got %v, want %v", got, c.want)
				}
			}
			if want := uint64(len(c.group) + len(c.live) - len(c.want)); s.dropped != want {
				t.Fatalf("counted %d dropped, want %d", s.dropped, want)
			}
		})
	}
}

func TestFramesBeforeTheCatchUpAreDropped(t *testing.T) {
	s := newStream(&written{})
	s.take(videoFrame(0, true))
	if s.dropped != 1 || len(s.backlog) != 0 {
		t.Fatalf("dropped %d, backlog %d", s.dropped, len(s.backlog))
	}
}

func TestSecondCatchUpKeepsTimesRising(t *testing.T) {
	peer := &written{}
	s := newStream(peer)
	for range 2 {
		s.begin(group(0, 5))
		for len(s.backlog) > 0 {
			if err := s.send(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := 1; i < len(peer.frames); i++ {
		if peer.frames[i].pts <= peer.frames[i-1].pts {
			t.Fatalf("time of frame %d goes back", i)
		}
	}
}

func TestBacklogIsBounded(t *testing.T) {
	s := newStream(&written{})
	s.begin(nil)
	s.take(videoFrame(0, true))
	for seq := uint64(1); seq < backlogMax+10; seq++ {
		s.take(videoFrame(seq, false))
	}
	if len(s.backlog) != backlogMax || s.dropped != 10 || !s.needKey {
		t.Fatalf("backlog %d, dropped %d, needs a key frame %v", len(s.backlog), s.dropped, s.needKey)
	}
}
