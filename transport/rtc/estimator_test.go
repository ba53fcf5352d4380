package rtc

import (
	"maps"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

const mbit = 1_000_000

func TestEstimatorKeepsAStreamThatFits(t *testing.T) {
	b := newBench(t, newEstimator(1*mbit, mbit/10, 20*mbit), 10*mbit, 4*mbit)
	b.run(time.Minute)
	lowest, highest := targets(b.since(2 * time.Second))
	if lowest < 4*mbit || highest > 9*mbit {
		t.Errorf("target %d to %d for 4 Mbit/s on 10 Mbit/s", lowest, highest)
	}
	if n := overuses(b.log); n > 0 {
		t.Errorf("%d moments of overuse at 40 %% of the capacity", n)
	}
	last := b.log[len(b.log)-1]
	if last.Acknowledged < 3*mbit || last.Acknowledged > 6*mbit || last.Loss != 0 {
		t.Errorf("acknowledged %d, loss %v", last.Acknowledged, last.Loss)
	}
	if last.RoundTrip < 40*time.Millisecond || last.RoundTrip > 80*time.Millisecond {
		t.Errorf("round trip %v over a path of 40 ms", last.RoundTrip)
	}
}

func TestEstimatorFollowsTheCapacity(t *testing.T) {
	b := newBench(t, newEstimator(1*mbit, mbit/10, 20*mbit), 4*mbit, 4*mbit)
	b.follow(4 * mbit)
	b.run(20 * time.Second)
	if lowest, _ := targets(b.since(10 * time.Second)); lowest < 2.8*mbit {
		t.Errorf("target %d on 4 Mbit/s", lowest)
	}

	b.capacity = 0.8 * mbit
	b.run(3 * time.Second)
	if b.e.target() > 0.9*mbit {
		t.Errorf("target %d, 3 s after the capacity fell to 800 kbit/s", b.e.target())
	}
	b.run(2 * time.Second)
	b.queued = 0
	b.run(15 * time.Second)
	lowest, highest := targets(b.since(25 * time.Second))
	if lowest < 0.5*mbit || highest > 0.9*mbit {
		t.Errorf("target %d to %d on 800 kbit/s", lowest, highest)
	}
	if b.queued > 200*time.Millisecond { // a key frame alone is 120 ms
		t.Errorf("packets wait for %v", b.queued)
	}

	b.capacity = 4 * mbit
	b.run(15 * time.Second)
	if _, highest := targets(b.since(40 * time.Second)); highest < 3*mbit {
		t.Errorf("target %d, 15 s after the capacity rose to 4 Mbit/s", highest)
	}
	b.queued = 0
	b.run(30 * time.Second)
	if lowest, _ := targets(b.since(55 * time.Second)); lowest < 2.8*mbit {
		t.Errorf("target %d on 4 Mbit/s", lowest)
	}
	if b.queued > 270*time.Millisecond { // a key frame alone is 150 ms
		t.Errorf("packets wait for %v", b.queued)
	}
}

// A camera that cannot go slower sends a quarter of what suddenly fits. What arrives says what the path
// carries as soon as its queue overflows: the average of the last half second is of the wide path.
func TestEstimatorSeesACollapseAtOnce(t *testing.T) {
	e := newEstimator(1_000_000, 100_000, 100_000_000)
	b := newBench(t, e, 4_000_000, 3_000_000)
	b.queueMax = 200 * time.Millisecond
	b.run(5 * time.Second)
	b.capacity = 800_000
	b.run(500 * time.Millisecond)
	if got := e.target(); got > 800_000 || got < 400_000 || !e.limited() {
		t.Fatalf("target %d of 800000 bit/s after 500 ms, limited %v", got, e.limited())
	}
}

// A camera begins with more than the path carries. Its queue of 400 ms is full after 600, before the trend
// knows anything, and a full queue grows no more; of what is lost then the sender hears half a second later.
func TestEstimatorSeesAStreamTooLargeFromItsFirstFrame(t *testing.T) {
	for _, keyFactor := range []float64{1, 3, 6} {
		e := newEstimator(estimateStartBps, estimateFloorBps, estimateCeilingBps)
		b := newBench(t, e, 2*mbit, 3*mbit)
		b.delay, b.queueMax, b.keyFactor = 0, 400*time.Millisecond, keyFactor
		b.feedbackMin = b.feedbackMax
		b.run(1600 * time.Millisecond)
		if got := e.target(); got > 2*mbit || got < 1*mbit || !e.limited() {
			t.Errorf("key frames of %v times: target %d after 1.6 s on 2 Mbit/s, limited %v", keyFactor, got, e.limited())
		}
	}
}

func TestEstimatorBearsLittleLoss(t *testing.T) {
	b := newBench(t, newEstimator(4*mbit, mbit/10, 20*mbit), 10*mbit, 4*mbit)
	b.loss = 0.02
	b.run(time.Minute)
	if lowest, _ := targets(b.log); lowest < 4*mbit {
		t.Errorf("target %d at 2 %% loss", lowest)
	}
	if all := b.e.loss; all.share == 0 || all.share > 0.1 {
		t.Errorf("loss %v", all.share)
	}
}

func TestEstimatorFallsWithMuchLoss(t *testing.T) {
	b := newBench(t, newEstimator(4*mbit, mbit/10, 20*mbit), 10*mbit, 4*mbit)
	b.follow(4 * mbit)
	b.run(5 * time.Second)
	b.loss = 0.15
	b.run(10 * time.Second)
	if b.e.target() > 2*mbit {
		t.Errorf("target %d after 10 s of 15 %% loss", b.e.target())
	}
	b.loss = 0
	b.run(20 * time.Second)
	if b.e.target() < 4*mbit {
		t.Errorf("target %d, 20 s after the loss ended", b.e.target())
	}
}

func TestEstimatorBearsJitter(t *testing.T) {
	b := newBench(t, newEstimator(4*mbit, mbit/10, 20*mbit), 50*mbit, 4*mbit)
	b.jitter = 5 * time.Millisecond
	b.run(2 * time.Minute)
	if n := overuses(b.log); n > 0 {
		t.Errorf("%d moments of overuse in jitter of 5 ms", n)
	}
	if lowest, _ := targets(b.log); lowest < 4*mbit {
		t.Errorf("target %d in jitter of 5 ms", lowest)
	}
}

// The viewer's clock is fast and its 24 bits wrap around on the way, as do the packets' numbers.
func TestEstimatorDoesNotDrift(t *testing.T) {
	b := newBench(t, newEstimator(1*mbit, mbit/10, 20*mbit), 10*mbit, 4*mbit)
	b.viewer.skew = 200e-6
	b.viewer.reference = (1<<referenceBits)*referenceUnit - 5*time.Minute
	b.run(10 * time.Minute)
	lowest, highest := targets(b.since(time.Minute))
	if lowest < 4*mbit || highest > 9*mbit || highest > lowest*11/10 {
		t.Errorf("target %d to %d over ten minutes", lowest, highest)
	}
	if n := overuses(b.log); n > 0 {
		t.Errorf("%d moments of overuse", n)
	}

	b = newBench(t, newEstimator(1*mbit, mbit/10, 20*mbit), 4*mbit, 4*mbit)
	b.follow(4 * mbit)
	b.run(10 * time.Minute)
	for from := 10 * time.Second; from < 10*time.Minute; from += time.Minute {
		if lowest, highest := targets(b.since(from)); lowest < 2.8*mbit || highest > 4.8*mbit {
			t.Fatalf("target %d to %d on 4 Mbit/s after %v", lowest, highest, from)
		}
	}
}

func TestEstimatorOfAStreamThatPauses(t *testing.T) {
	b := newBench(t, newEstimator(1*mbit, mbit/10, 20*mbit), 10*mbit, 4*mbit)
	b.run(20 * time.Second)
	before, camera := b.e.target(), b.rate
	b.rate = func() float64 { return 0 }
	b.run(30 * time.Second)
	if b.e.target() != before {
		t.Errorf("target %d went to %d while only sound was sent", before, b.e.target())
	}
	b.audio = false
	b.run(10 * time.Second)
	b.rate = camera
	b.run(10 * time.Second)
	if lowest, _ := targets(b.since(50 * time.Second)); lowest < before {
		t.Errorf("target %d went to %d after a pause", before, lowest)
	}
}

func TestEstimatorTakesLostFeedbackForNoLoss(t *testing.T) {
	b := newBench(t, newEstimator(4*mbit, mbit/10, 20*mbit), 10*mbit, 4*mbit)
	b.feedbackLoss, b.feedbackSwap = 0.3, 0.2
	b.run(20 * time.Second)
	b.mute = true
	before := b.e.target()
	b.run(6 * time.Second)
	if b.e.target() != before {
		t.Errorf("target %d went to %d in silence", before, b.e.target())
	}
	b.mute = false
	b.run(30 * time.Second)
	if lowest, _ := targets(b.log); lowest < 4*mbit {
		t.Errorf("target %d with feedback that is lost and reordered", lowest)
	}
	for _, m := range b.log {
		if m.Loss > 0 || m.Acknowledged > 7*mbit || m.at > time.Second && m.Acknowledged < 2*mbit {
			t.Fatalf("loss %v, acknowledged %d after %v; nothing but feedback was lost", m.Loss, m.Acknowledged, m.at)
		}
	}
	if n := overuses(b.log); n > 0 {
		t.Errorf("%d moments of overuse", n)
	}
}

func TestEstimatorKeepsBounds(t *testing.T) {
	for _, c := range []struct{ start, floor, ceiling, want int }{
		{500, 100, 1000, 500}, {50, 100, 1000, 100}, {5000, 100, 1000, 1000}, {500, 800, 100, 800},
	} {
		if got := newEstimator(c.start, c.floor, c.ceiling).target(); got != c.want {
			t.Errorf("%+v: target %d", c, got)
		}
	}
	b := newBench(t, newEstimator(2*mbit, 1.5*mbit, 3*mbit), 10*mbit, 4*mbit)
	b.run(10 * time.Second)
	b.capacity = mbit
	b.run(10 * time.Second)
	if lowest, highest := targets(b.log); lowest != 1.5*mbit || highest != 3*mbit {
		t.Errorf("target %d to %d", lowest, highest)
	}
}

// sentPackets makes an estimator that has sent n packets of 1000 bytes, from number 0 on, one each
// millisecond.
func sentPackets(n int) (*estimator, time.Time) {
	e, at := newEstimator(mbit, mbit/10, 20*mbit), time.Unix(1e9, 0)
	for i := range n {
		e.sent(uint16(i), 1000, at.Add(time.Duration(i)*time.Millisecond))
	}
	return e, at.Add(time.Duration(n) * time.Millisecond)
}

func TestEstimatorCountsAPacketOnce(t *testing.T) {
	e, now := sentPackets(11)
	all := make([]arrival, 11)
	for i := range all {
		all[i] = arrival{uint16(i), time.Duration(i) * time.Millisecond}
	}
	gap := append(append([]arrival{}, all[:4]...), all[6:10]...)
	e.feedback(encodeFeedback(t, 0, 0, gap), now)
	if e.loss.lost != 0 || e.loss.doubtful != 2 || e.loss.got != 8 {
		t.Fatalf("%d lost, %d doubtful, %d arrived; want none, 2 and 8", e.loss.lost, e.loss.doubtful, e.loss.got)
	}
	before := *e
	e.feedback(encodeFeedback(t, 0, 0, gap), now.Add(time.Millisecond))
	if *e != before {
		t.Error("the same feedback again changes the estimator")
	}
	e.feedback(encodeFeedback(t, 4, 1, all[4:5]), now.Add(2*time.Millisecond))
	if e.loss.lost != 1 || e.loss.doubtful != 0 || e.loss.got != 9 {
		t.Errorf("%d lost, %d doubtful, %d arrived after one of the two came; want 1, none and 9", e.loss.lost, e.loss.doubtful, e.loss.got)
	}
	e.feedback(encodeFeedback(t, 5, 1, append(append([]arrival{}, all[5]), all[10])), now.Add(3*time.Millisecond))
	if e.loss.lost != 0 || e.loss.got != 11 {
		t.Errorf("%d lost, %d arrived after the other came still later; want 0 and 11", e.loss.lost, e.loss.got)
	}
}

func TestEstimatorIgnoresWhatItDidNotSend(t *testing.T) {
	e := newEstimator(mbit, mbit/10, 20*mbit)
	fb := encodeFeedback(t, 0, 0, []arrival{{0, 0}, {5000, time.Second}})
	if e.feedback(fb, time.Unix(1e9, 0)) {
		t.Error("feedback before the first packet changes the target")
	}
	e, now := sentPackets(3000) // 0 to 951 have left the ring
	before := *e
	if e.feedback(encodeFeedback(t, 10, 0, []arrival{{10, 0}, {951, time.Second}}), now); *e != before {
		t.Error("feedback about forgotten packets changes the estimator")
	}
	if e.feedback(encodeFeedback(t, 3000, 0, []arrival{{3000, 0}, {4000, time.Second}}), now); *e != before {
		t.Error("feedback about packets that were not sent changes the estimator")
	}
	e.feedback(encodeFeedback(t, 950, 0, []arrival{{950, 0}, {953, 0}}), now)
	if e.loss.got != 1 || e.loss.doubtful != 1 {
		t.Errorf("%d arrived, %d doubtful; want 953 and 952 alone", e.loss.got, e.loss.doubtful)
	}
}

func TestSentDoesNotAllocate(t *testing.T) {
	e, at := newEstimator(mbit, mbit/10, 20*mbit), time.Unix(1e9, 0)
	seq := uint16(0)
	if n := testing.AllocsPerRun(5000, func() { e.sent(seq, 1200, at); seq++ }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEstimatorSent(b *testing.B) {
	e, at := newEstimator(mbit, mbit/10, 20*mbit), time.Now()
	seq := uint16(0)
	for b.Loop() {
		e.sent(seq, 1200, at)
		seq++
	}
}

// A feedback about 100 ms of a 4 Mbit/s stream, with what it takes to send the packets.
func BenchmarkEstimatorFeedback(b *testing.B) {
	e, now := newEstimator(mbit, mbit/10, 20*mbit), time.Now()
	got := make([]arrival, 42)
	for i := range got {
		got[i] = arrival{uint16(i), time.Duration(i/14) * 33 * time.Millisecond}
	}
	fb := encodeFeedback(b, 0, 0, got)
	for b.Loop() {
		for i := range got {
			e.sent(fb.base+uint16(i), 1200, now.Add(got[i].at))
		}
		now = now.Add(100 * time.Millisecond)
		e.feedback(fb, now)
		fb.base += uint16(len(got))
		fb.reference = uint32(now.UnixMilli()/64) & (1<<referenceBits - 1)
	}
}

// FuzzEstimator feeds what a hostile viewer may send, in the wire format, after packets were sent.
func FuzzEstimator(f *testing.F) {
	wire := encodeWire(f, 3, 1, []arrival{{3, 0}, {4, time.Second}, {5, 0}, {20, 2 * time.Second}, {90, 3 * time.Second}})
	f.Add(wire, uint16(0), uint8(50))
	f.Add(wire, uint16(65_500), uint8(255))
	f.Add([]byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x3f, 0xff, 0, 0}, uint16(0), uint8(9))
	f.Fuzz(func(t *testing.T, wire []byte, seq uint16, packets uint8) {
		e, now := newEstimator(mbit, mbit/10, 20*mbit), time.Unix(1e9, 0)
		for range 3 {
			for range packets {
				e.sent(seq, 1200, now)
				seq++
				now = now.Add(time.Millisecond)
			}
			var header rtcp.Header
			if header.Unmarshal(wire) != nil {
				return
			}
			fb, ok := readFeedback(wire[:min(4*(int(header.Length)+1), len(wire))])
			var pion rtcp.TransportLayerCC
			if accepts := pion.Unmarshal(wire) == nil; !ok && accepts {
				t.Fatal("pion accepts it")
			} else if accepts && !maps.Equal(maps.Collect(fb.statuses(0)), maps.Collect(pionStatuses(&pion, 0))) {
				t.Fatal("pion understands something else")
			}
			if !ok {
				return
			}
			n := 0
			for range fb.statuses(0) {
				n++
			}
			if n > int(fb.count) {
				t.Fatalf("%d statuses in a feedback that counts %d", n, fb.count)
			}
			before := e.target()
			if changed := e.feedback(fb, now); changed != (before != e.target()) {
				t.Fatalf("feedback says changed %v; the target was %d and is %d", changed, before, e.target())
			}
			if lost := e.loss.lost + e.loss.doubtful; e.loss.got+lost > 3*int(packets) {
				t.Fatalf("%d arrived and %d lost of %d", e.loss.got, lost, 3*int(packets))
			}
			if got := e.figures(); got.Target < mbit/10 || got.Target > 20*mbit || !(got.Loss >= 0 && got.Loss <= 1) || got.Acknowledged < 0 || got.RoundTrip < 0 {
				t.Fatalf("%+v", got)
			}
		}
	})
}
