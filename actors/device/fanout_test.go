package device

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/heliograph-rtc/heliograph/messages"
)

// unit is an access unit that packetises: an IDR or a slice NAL unit of some bytes.
func unit(i int, key bool) *messages.AccessUnit {
	nal := byte(0x41)
	if key {
		nal = 0x65
	}
	data := append([]byte{0, 0, 0, 1, nal}, make([]byte, 3000)...)
	for j := range data[5:] {
		data[5+j] = byte(1 + i%200) // no start code in it
	}
	return &messages.AccessUnit{Track: messages.Video, Codec: messages.H264, Data: data, KeyFrame: key, Seq: uint64(i), PTS: time.Duration(i) * 33 * time.Millisecond}
}

func stageFanout(t *testing.T) *stage {
	return newStage(t, Config{}, "fanout", func(p *parts) actor.Actor { return newFanout(p) }, "viewers", "one", "two")
}

func (s *stage) subscribe(viewer string) {
	s.sys.Tell("device/"+viewer, &say{s.sys.PID(pathFanout), &messages.Subscribe{}})
}

func TestFanoutAsksForARollCallWhenItStarts(t *testing.T) {
	s := stageFanout(t)
	defer s.stop(t)
	told[*messages.RollCall](t, s, "viewers")
}

func TestFanoutGivesTheCurrentGroupThenLiveFrames(t *testing.T) {
	s := stageFanout(t)
	defer s.stop(t)
	for i := range 10 {
		s.sys.Tell(pathFanout, unit(i, i == 0 || i == 6))
	}
	s.subscribe("one")
	group := told[*messages.CatchUp](t, s, "one").Frames
	if len(group) != 4 || !group[0].Unit.KeyFrame || group[0].Seq != 6 || group[3].Seq != 9 {
		t.Fatalf("caught up with %d frames", len(group))
	}
	s.subscribe("two")
	told[*messages.CatchUp](t, s, "two")
	s.sys.Tell(pathFanout, unit(10, false))
	first, second := told[*messages.Frame](t, s, "one"), told[*messages.Frame](t, s, "two")
	if first != second || first.Seq != 10 || len(first.Payloads) < 2 {
		t.Fatal("the viewers were not given the same frame, packetised once")
	}
	if len(group) != 4 {
		t.Fatal("a group that was given away has changed")
	}
}

func TestFanoutHoldsNothingBeforeAKeyFrame(t *testing.T) {
	s := stageFanout(t)
	defer s.stop(t)
	s.sys.Tell(pathFanout, unit(0, false))
	s.subscribe("one")
	if group := told[*messages.CatchUp](t, s, "one").Frames; len(group) != 0 {
		t.Fatalf("caught up with %d frames without a key frame", len(group))
	}
}

func TestFanoutLetsAnEndlessGroupGo(t *testing.T) {
	s := stageFanout(t)
	defer s.stop(t)
	units := make([]*messages.AccessUnit, groupFramesMax+1)
	for i := range units {
		units[i] = unit(i, i == 0)
	}
	s.subscribe("two") // tells what has been processed
	told[*messages.CatchUp](t, s, "two")
	for _, u := range units {
		s.sys.Tell(pathFanout, u)
		told[*messages.Frame](t, s, "two")
	}
	s.subscribe("one")
	if group := told[*messages.CatchUp](t, s, "one").Frames; len(group) != 0 {
		t.Fatalf("caught up with %d frames of a group past its bound", len(group))
	}
}

func TestFanoutForgetsWhoLeft(t *testing.T) {
	s := stageFanout(t)
	defer s.stop(t)
	s.subscribe("one")
	told[*messages.CatchUp](t, s, "one")
	s.subscribe("two")
	told[*messages.CatchUp](t, s, "two")
	s.sys.Tell("device/one", &leave{})
	quiet := 0 // frames in a row that only the other one was told
	for i := 0; quiet < 50; i++ {
		if i == 1000 {
			t.Fatal("still told after it has left")
		}
		s.sys.Tell(pathFanout, unit(i, true))
		told[*messages.Frame](t, s, "two")
		select {
		case <-s.inbox["one"]: // sent before the fan-out heard of the end
			quiet = 0
		default:
			quiet++
		}
	}
}

func TestFanoutSurvivesAUnitItCannotPacketise(t *testing.T) {
	s := stageFanout(t)
	defer s.stop(t)
	s.subscribe("one")
	told[*messages.CatchUp](t, s, "one")
	s.sys.Tell(pathFanout, &messages.AccessUnit{Codec: "VP8", Data: []byte{1}})
	s.sys.Tell(pathFanout, unit(1, true))
	if f := told[*messages.Frame](t, s, "one"); f.Seq != 0 {
		t.Fatalf("frame %d: a unit that was not sent was counted", f.Seq)
	}
}

func TestFanoutTellsWhoWatchesAndLetsTheGroupOfARestingSourceGo(t *testing.T) {
	s := newStage(t, Config{SourceOnDemand: true}, "fanout", func(p *parts) actor.Actor { return newFanout(p) }, "viewers", "encoder", "one", "two")
	defer s.stop(t)
	watched := func(want int) {
		t.Helper()
		if got := told[*messages.Watched](t, s, "encoder").Viewers; got != want {
			t.Fatalf("%d viewers told, want %d", got, want)
		}
	}
	s.sys.Tell(pathFanout, &messages.WatchedWanted{})
	watched(0)
	s.sys.Tell(pathFanout, unit(0, true))
	s.subscribe("one")
	watched(1)
	s.sys.Tell("device/one", &leave{})
	watched(0)
	s.sys.Tell(pathFanout, &messages.SourceRests{})
	s.subscribe("two")
	watched(1)
	if group := told[*messages.CatchUp](t, s, "two").Frames; len(group) != 0 {
		t.Fatal("caught up with pictures from before the rest")
	}
}

// A snapshot is the newest key frame, also when its group was let go; none before the first.
func TestFanoutGivesASnapshot(t *testing.T) {
	s := stageFanout(t)
	defer s.stop(t)
	ask := func(ticket uint64) *messages.Snapshot {
		s.sys.Tell("device/one", &say{s.sys.PID(pathFanout), &messages.SnapshotWanted{Ticket: ticket}})
		return told[*messages.Snapshot](t, s, "one")
	}
	if got := ask(1); got.Ticket != 1 || got.Unit != nil {
		t.Fatalf("got %+v before the first key frame", got)
	}
	for i := range 6 {
		s.sys.Tell(pathFanout, unit(i, i == 0 || i == 3))
	}
	s.sys.Tell(pathFanout, &messages.SourceRests{})
	if got := ask(2); got.Ticket != 2 || got.Unit == nil || got.Unit.Seq != 3 {
		t.Fatalf("got %+v", got)
	}
}
