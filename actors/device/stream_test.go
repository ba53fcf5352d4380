package device

import (
	"slices"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// recorded is a stream with what it has written.
type recorded struct {
	*stream
	t      *testing.T
	clock  time.Time
	frames []part // in order, the first part of each
	parts  []part
}

func newRecorded(t *testing.T) *recorded {
	return &recorded{stream: newStream(), t: t, clock: time.Unix(1_700_000_000, 0)}
}

// A recorded stream is told the time by its clock.
func (r *recorded) take(frame *messages.Frame)        { r.stream.take(frame, r.clock) }
func (r *recorded) begin(group []*messages.Frame)     { r.stream.begin(group, r.clock) }
func (r *recorded) next() (part, time.Duration, bool) { return r.stream.next(r.clock) }
func (r *recorded) wrote(packets, bytes int)          { r.stream.wrote(packets, bytes, r.clock) }

// write writes what is due until the pace asks for a rest, which it returns, or nothing is left.
func (r *recorded) write() (rest time.Duration) {
	for {
		p, rest, ok := r.next()
		if !ok {
			return rest
		}
		if r.parts = append(r.parts, p); p.from == 0 {
			r.frames = append(r.frames, p)
		}
		r.wrote(p.n, p.n*packetBytes)
	}
}

// flush writes all, and lets the time pass that it takes.
func (r *recorded) flush() {
	for len(r.backlog) > 0 {
		r.clock = r.clock.Add(r.write())
	}
}

func (r *recorded) seqs() []uint64 {
	var s []uint64
	for _, p := range r.frames {
		s = append(s, p.frame.Seq)
	}
	return s
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

func TestCatchUpIsSqueezedBeforeTheLiveEdge(t *testing.T) {
	s := newRecorded(t)
	s.begin(group(100, 159))
	s.flush()
	s.take(videoFrame(160, false))
	s.flush()
	if len(s.frames) != 61 || s.dropped != 0 {
		t.Fatalf("wrote %d frames, dropped %d", len(s.frames), s.dropped)
	}
	first, edge, live := s.frames[0], s.frames[59], s.frames[60]
	if !first.frame.Unit.KeyFrame || edge.pts-first.pts != 59*catchUpStep || edge.pts != edge.frame.Unit.PTS {
		t.Fatalf("catch-up from %v to %v", first.pts, edge.pts)
	}
	if live.pts != live.frame.Unit.PTS || !live.live || first.live {
		t.Fatalf("live frame at %v, stamped %v, catch-up stamped %v", live.pts, live.live, first.live)
	}
	for i := 1; i < len(s.frames); i++ {
		if s.frames[i].pts <= s.frames[i-1].pts {
			t.Fatalf("time of frame %d does not rise", i)
		}
	}
}

func TestCatchUpIsPaced(t *testing.T) {
	s := newRecorded(t)
	frames := group(0, 9)
	frames[0].Payloads = make([][]byte, 5*pacePackets) // a key frame is larger than a turn
	s.begin(frames)
	for turn := 1; turn <= 5; turn++ {
		if rest := s.write(); rest != paceEvery || len(s.frames) != 1 || len(s.parts) != turn || s.parts[turn-1].n != pacePackets {
			t.Fatalf("turn %d: rest of %v after %+v", turn, rest, s.parts)
		}
		s.clock = s.clock.Add(paceEvery)
	}
	s.take(videoFrame(10, false)) // a live frame waits behind the rest
	s.flush()
	for i, seq := range s.seqs() {
		if seq != uint64(i) {
			t.Fatalf("order %v", s.seqs())
		}
	}
}

func TestKeyFrameIsOutAfterOneRest(t *testing.T) {
	s := newRecorded(t)
	s.begin(nil)
	key := videoFrame(0, true)
	key.Payloads = make([][]byte, 2*pacePackets+39)
	s.take(key)
	if rest := s.write(); rest != paceEvery || len(s.parts) != 1 {
		t.Fatalf("rest of %v after %+v", rest, s.parts)
	}
	s.clock = s.clock.Add(paceEvery)
	if s.write(); len(s.frames) != 1 || len(s.parts) != 2 {
		t.Fatalf("after the rest: %+v", s.parts)
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
			s := newRecorded(t)
			s.begin(c.group)
			s.flush()
			for _, f := range c.live {
				s.take(f)
			}
			s.flush()
			got := s.seqs()
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
	s := newRecorded(t)
	s.take(videoFrame(0, true))
	if s.dropped != 1 || len(s.backlog) != 0 {
		t.Fatalf("dropped %d, backlog %d", s.dropped, len(s.backlog))
	}
}

func TestSecondCatchUpKeepsTimesRising(t *testing.T) {
	s := newRecorded(t)
	for range 2 {
		s.begin(group(0, 5))
		s.flush()
	}
	for i := 1; i < len(s.frames); i++ {
		if s.frames[i].pts <= s.frames[i-1].pts {
			t.Fatalf("time of frame %d goes back", i)
		}
	}
}

func TestBacklogIsBounded(t *testing.T) {
	s := newRecorded(t)
	s.begin(nil)
	s.take(videoFrame(0, true))
	for seq := uint64(1); seq < backlogMax+10; seq++ {
		s.take(videoFrame(seq, false)) // all at one instant
	}
	if len(s.backlog) != backlogMax || s.dropped != 10 || !s.needKey {
		t.Fatalf("backlog %d, dropped %d, needs a key frame %v", len(s.backlog), s.dropped, s.needKey)
	}
}

func TestKeyFrameOvertakesTheCatchUp(t *testing.T) {
	s := newRecorded(t)
	frames := group(0, 9)
	frames[0].Payloads = make([][]byte, 3*pacePackets)
	s.begin(frames)
	s.write()
	s.take(videoFrame(10, false))
	s.take(videoFrame(11, true))
	s.flush()
	if got := s.seqs(); !slices.Equal(got, []uint64{0, 10, 11}) || s.dropped != 9 {
		t.Fatalf("sent %v, dropped %d", got, s.dropped)
	}
}

func TestPeerThatDoesNotTakeIsLeftBehind(t *testing.T) {
	s := newRecorded(t)
	s.begin(group(0, 0))
	s.flush()
	s.take(videoFrame(1, false))
	if _, _, ok := s.next(); !ok { // the write hangs
		t.Fatal("nothing to write")
	}
	for seq := uint64(2); seq < 85; seq++ {
		s.clock = s.clock.Add(33 * time.Millisecond)
		s.take(videoFrame(seq, seq%60 == 0))
	}
	if limit := int(backlogAgeMax/(33*time.Millisecond)) + 2; len(s.backlog) > limit {
		t.Fatalf("%d frames wait, at most %d should", len(s.backlog), limit)
	}
	s.wrote(1, 100)
	s.flush()
	if got := s.seqs(); len(got) < 2 || got[1] != 60 {
		t.Fatalf("sent %v, want the next key frame after the one that hung", got)
	}
	if sent := s.frames[len(s.frames)-1].frame.Seq; s.dropped != 58 || sent != 84 {
		t.Fatalf("dropped %d frames, sent up to %d", s.dropped, sent)
	}
}

// play takes a stream of 10 packets a frame at 30 frames a second, 2.9 Mbit/s, every second one spare.
func (r *recorded) play(from, to uint64) {
	for seq := from; seq < to; seq++ {
		f := videoFrame(seq, seq%60 == 0)
		f.Payloads, f.Unit.Spare = make([][]byte, 10), seq%2 == 1
		r.take(f)
		next := r.clock.Add(33 * time.Millisecond)
		for wait := r.write(); wait > 0 && r.clock.Add(wait).Before(next); wait = r.write() {
			r.clock = r.clock.Add(wait)
		}
		r.clock = next
	}
}

func TestLimitedPathShedsSparesFirst(t *testing.T) {
	for _, c := range []struct {
		name             string
		bps              int
		keys, refs, rest int // share of the key frames, of the other references and of the spares, in percent: at least
		restMost         int
	}{
		{"wide enough", 4_000_000, 100, 100, 100, 100},
		{"half", 1_800_000, 100, 90, 0, 40},
		{"a tenth", 300_000, 40, 0, 0, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newRecorded(t)
			s.begin(nil)
			s.shedding.limit(c.bps, 0, s.clock)
			s.play(0, 1800)
			var sent [3]int
			for _, p := range s.frames {
				switch {
				case p.frame.Unit.KeyFrame:
					sent[0]++
				case !p.frame.Unit.Spare:
					sent[1]++
				default:
					sent[2]++
				}
			}
			keys, refs, spares := 100*sent[0]/30, 100*sent[1]/870, 100*sent[2]/900
			if keys < c.keys || refs < c.refs || spares < c.rest || spares > c.restMost {
				t.Fatalf("sent %d %% of the key frames, %d %% of the references, %d %% of the spares", keys, refs, spares)
			}
			if rate := float64(s.bytes*8) / 60; rate > 1.15*float64(c.bps) {
				t.Fatalf("sent %.0f bit/s over %d", rate, c.bps)
			}
		})
	}
}

// A path that suddenly carries a quarter of what it is sent: the pictures that wait are dropped, video goes
// on with a key frame, at the path's own rate, and it is told once.
func TestCollapsedPathGoesOnWithAKeyFrame(t *testing.T) {
	s := newRecorded(t)
	s.begin(nil)
	s.play(0, 60)
	if s.limit(2_500_000, 0.6, s.clock) {
		t.Fatal("a path that carries most of it has collapsed")
	}
	if s.limit(800_000, 0, s.clock) {
		t.Fatal("a path that loses nothing has collapsed: what is late still comes")
	}
	if !s.limit(700_000, 0.6, s.clock) || s.limit(650_000, 0.6, s.clock) {
		t.Fatal("the collapse is to be told once")
	}
	s.take(videoFrame(60, false))
	s.take(videoFrame(61, false))
	key := videoFrame(62, true)
	key.Payloads = make([][]byte, 20)
	s.take(key)
	began := s.clock
	s.flush()
	if last := s.frames[len(s.frames)-1].frame; last != key || s.dropped != 2 {
		t.Fatalf("video goes on with frame %d, %d dropped", last.Seq, s.dropped)
	}
	rate := float64((len(key.Payloads)-burstLeast)*packetBytes*8) / s.clock.Sub(began).Seconds()
	if rate > 1.1*700_000 {
		t.Fatalf("the key frame goes out with %.0f bit/s", rate)
	}
}

func TestLateTimersDoNotSlowThePace(t *testing.T) {
	s := newRecorded(t)
	s.begin(nil)
	key := videoFrame(0, true)
	key.Payloads = make([][]byte, 10*pacePackets)
	s.take(key)
	began := s.clock
	for rest := s.write(); rest > 0; rest = s.write() {
		s.clock = s.clock.Add(rest + 3*time.Millisecond)
	}
	nominal := 10 * paceEvery
	if took := s.clock.Sub(began); took > nominal+paceEvery+3*time.Millisecond {
		t.Fatalf("took %v, at the pace it is %v", took, nominal)
	}
	for _, p := range s.parts {
		if p.n > pacePackets*int(lateTurnMax/paceEvery) {
			t.Fatalf("%d packets at once", p.n)
		}
	}
}

// A key frame that takes seconds on a narrow path arrives whole, and at no more than the path's rate.
func TestNarrowPathGetsKeyFramesWhole(t *testing.T) {
	const bps = 300_000
	s := newRecorded(t)
	s.begin(nil)
	s.shedding.limit(bps, 0, s.clock)
	var due time.Time
	for seq := uint64(0); seq < 20*60; seq++ {
		f := videoFrame(seq, seq%60 == 0)
		f.Payloads = make([][]byte, 13)
		if f.Unit.KeyFrame {
			f.Payloads = make([][]byte, 100)
		}
		s.shedding.pay(s.clock)
		s.take(f)
		for next := s.clock.Add(33 * time.Millisecond); s.clock.Before(next); s.clock = s.clock.Add(time.Millisecond) {
			if !s.clock.Before(due) {
				due = s.clock.Add(s.write())
			}
		}
	}
	whole := 0
	for i, p := range s.parts {
		if p.frame.Unit.KeyFrame && p.from+p.n == len(p.frame.Payloads) {
			whole++
		}
		if i > 0 && p.from > 0 && s.parts[i-1].frame != p.frame {
			t.Fatalf("part %d of frame %d comes after frame %d", p.from, p.frame.Seq, s.parts[i-1].frame.Seq)
		}
	}
	if whole < 8 {
		t.Fatalf("%d key frames arrived whole in 40 s, the path has room for 12", whole)
	}
	if rate := float64(s.bytes*8) / 40; rate > 1.15*bps {
		t.Fatalf("sent %.0f bit/s", rate)
	}
}
