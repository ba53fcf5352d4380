package rtc

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// bench drives an estimator over a simulated bottleneck: frames of a camera go through a queue of
// bounded length onto a link, and the viewer's feedback comes back. Everything is computed in steps
// of a millisecond on a clock of its own, and chance has a seed.
type bench struct {
	t      *testing.T
	random *rand.Rand
	e      *estimator
	epoch  time.Time
	now    time.Duration

	// the camera: frames of rate(), every period-th of them keyFactor times as large
	rate      func() float64 // bit/s
	keyPeriod int
	keyFactor float64
	audio     bool // a packet of 160 bytes every 20 ms

	// the link
	capacity float64 // bit/s
	delay    time.Duration
	queueMax time.Duration
	loss     float64
	jitter   time.Duration // frames are shifted by up to this, both ways

	// the way back
	feedbackMin, feedbackMax time.Duration
	feedbackLoss             float64
	feedbackSwap             float64 // share of feedback that the next one overtakes
	mute                     bool

	seq          uint16
	frame        int
	nextFrame    time.Duration
	shift        time.Duration
	free         time.Duration // when the link has sent what is queued
	queued       time.Duration // the longest wait of a packet since somebody set it to 0
	viewer       viewerClock
	nextFeedback time.Duration
	returning    []returning
	log          []moment
}

type returning struct {
	at time.Duration
	fb *feedback
}

// moment is what is looked at every 100 ms.
type moment struct {
	at, queued time.Duration
	figures
}

// newBench makes a link of capacity with 20 ms each way and a queue of 300 ms, and a camera of
// rate with audio, both in bit/s.
func newBench(t *testing.T, e *estimator, capacity, rate float64) *bench {
	b := &bench{
		t: t, e: e, random: rand.New(rand.NewPCG(1, 2)), epoch: time.Unix(1e9, 0),
		rate: func() float64 { return rate }, keyPeriod: 60, keyFactor: 6, audio: true,
		capacity: capacity, delay: 20 * time.Millisecond, queueMax: 300 * time.Millisecond,
		feedbackMin: 50 * time.Millisecond, feedbackMax: 100 * time.Millisecond, seq: 65_000,
	}
	b.viewer.next = b.seq
	return b
}

// follow makes the camera follow the estimator's target up to most, as an encoder does, and leaves
// the audio its share.
func (b *bench) follow(most float64) {
	b.rate = func() float64 { return min(most, float64(b.e.target()))*0.97 - 64_000 }
}

func (b *bench) run(d time.Duration) {
	for end := b.now + d; b.now < end; b.now += time.Millisecond {
		b.send()
		b.report()
		b.deliver()
		if b.now%(100*time.Millisecond) == 0 {
			b.log = append(b.log, moment{b.now, max(b.free-b.now, 0), b.e.figures()})
		}
	}
}

func (b *bench) send() {
	if b.audio && b.now%(20*time.Millisecond) == 7*time.Millisecond {
		b.packet(160, 0)
	}
	if b.now < b.nextFrame {
		return
	}
	b.nextFrame += time.Second / 30
	// All frames of a period together have the rate.
	bits := b.rate() / 30 * float64(b.keyPeriod) / (float64(b.keyPeriod) - 1 + b.keyFactor)
	if b.frame%b.keyPeriod == 0 {
		bits *= b.keyFactor
	}
	b.frame++
	if b.jitter > 0 {
		b.shift = time.Duration(b.random.Int64N(int64(2*b.jitter))) - b.jitter
	}
	n := 0
	for bytes := int(bits / 8); bytes > 0; bytes -= 1200 {
		b.packet(min(bytes, 1200), time.Duration(n/16)*time.Millisecond) // as key frames are paced
		n++
	}
}

func (b *bench) packet(bytes int, after time.Duration) {
	at := b.now + after
	b.e.sent(b.seq, bytes, b.epoch.Add(at))
	seq := b.seq
	b.seq++
	start := max(at, b.free)
	if start-at > b.queueMax {
		return
	}
	b.queued = max(b.queued, start-at)
	b.free = start + time.Duration(float64(bytes*8)/b.capacity*float64(time.Second))
	if b.loss > 0 && b.random.Float64() < b.loss {
		return
	}
	b.viewer.packets = append(b.viewer.packets, arrival{seq, b.free + b.delay + b.jitter + b.shift})
}

func (b *bench) report() {
	if b.now < b.nextFeedback {
		return
	}
	b.nextFeedback = b.now + b.feedbackMin + time.Duration(b.random.Int64N(int64(b.feedbackMax-b.feedbackMin)+1))
	fb := b.viewer.feedback(b.t, b.now)
	if fb == nil || b.mute || b.random.Float64() < b.feedbackLoss {
		return
	}
	at := b.now + b.delay
	if b.random.Float64() < b.feedbackSwap {
		at += b.feedbackMax + 10*time.Millisecond
	}
	b.returning = append(b.returning, returning{at, fb})
}

func (b *bench) deliver() {
	b.returning = slices.DeleteFunc(b.returning, func(r returning) bool {
		if r.at > b.now {
			return false
		}
		before := b.e.target()
		if changed := b.e.feedback(*r.fb, b.epoch.Add(b.now)); changed != (b.e.target() != before) {
			b.t.Fatalf("feedback says changed %v; the target was %d and is %d", changed, before, b.e.target())
		}
		return true
	})
}

// since returns what was logged from then on.
func (b *bench) since(then time.Duration) []moment {
	i := slices.IndexFunc(b.log, func(m moment) bool { return m.at >= then })
	return b.log[max(i, 0):]
}

// targets returns the lowest and highest target of what was logged.
func targets(log []moment) (lowest, highest int) {
	lowest, highest = log[0].Target, log[0].Target
	for _, m := range log {
		lowest, highest = min(lowest, m.Target), max(highest, m.Target)
	}
	return lowest, highest
}

// overuses counts the moments in overuse.
func overuses(log []moment) (n int) {
	for _, m := range log {
		if m.Delay == overuse {
			n++
		}
	}
	return n
}

type arrival struct {
	seq uint16
	at  time.Duration
}

// viewerClock is the viewer's end: what has arrived and what it has reported. Its clock is its own.
type viewerClock struct {
	packets   []arrival
	next      uint16        // not reported yet
	reference time.Duration // what its clock was at our start
	skew      float64       // by what share it runs faster
	count     uint8
}

// feedback reports what has arrived until now, as a browser does: from the number after the last
// report, or from an older one that has arrived since. nil when nothing has.
func (v *viewerClock) feedback(t *testing.T, now time.Duration) *feedback {
	var got []arrival
	v.packets = slices.DeleteFunc(v.packets, func(a arrival) bool {
		if a.at <= now {
			got = append(got, a)
		}
		return a.at <= now
	})
	if len(got) == 0 {
		return nil
	}
	slices.SortFunc(got, func(a, b arrival) int { return int(int16(a.seq - b.seq)) })
	base := v.next
	if int16(got[0].seq-base) < 0 {
		base = got[0].seq
	}
	last := got[len(got)-1].seq
	if int16(last+1-v.next) > 0 {
		v.next = last + 1
	}
	for i := range got {
		got[i].at += v.reference + time.Duration(float64(got[i].at)*v.skew)
	}
	v.count++
	fb := encodeFeedback(t, base, v.count-1, got)
	return &fb
}

// encodeFeedback packs arrivals, ordered by number, and lets them go through the wire format.
func encodeFeedback(t testing.TB, base uint16, count uint8, got []arrival) feedback {
	fb, ok := readFeedback(encodeWire(t, base, count, got))
	if !ok {
		t.Fatal("what pion wrote cannot be read")
	}
	return fb
}

func encodeWire(t testing.TB, base uint16, count uint8, got []arrival) []byte {
	const tick = 250 * time.Microsecond
	at := got[0].at.Truncate(referenceUnit)
	fb := &rtcp.TransportLayerCC{
		SenderSSRC: 1, MediaSSRC: 2, BaseSequenceNumber: base, FbPktCount: count,
		PacketStatusCount: got[len(got)-1].seq - base + 1,
		ReferenceTime:     uint32(at/referenceUnit) & (1<<referenceBits - 1),
	}
	var list []uint16
	for _, a := range got {
		for base+uint16(len(list)) != a.seq {
			list = append(list, rtcp.TypeTCCPacketNotReceived)
		}
		ticks := (a.at - at) / tick
		at += ticks * tick
		symbol := rtcp.TypeTCCPacketReceivedSmallDelta
		if ticks < 0 || ticks > 255 {
			symbol = rtcp.TypeTCCPacketReceivedLargeDelta
		}
		list = append(list, symbol)
		fb.RecvDeltas = append(fb.RecvDeltas, &rtcp.RecvDelta{Type: symbol, Delta: int64(ticks) * rtcp.TypeTCCDeltaScaleFactor})
	}
	fb.PacketChunks = chunks(list)
	size := fb.MarshalSize()
	fb.Header = rtcp.Header{
		Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback, Length: uint16(size/4 - 1),
	}
	wire, err := fb.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// chunks makes runs of what is alike and vectors of the rest.
func chunks(list []uint16) []rtcp.PacketStatusChunk {
	var packed []rtcp.PacketStatusChunk
	for len(list) > 0 {
		run := 1
		for run < len(list) && list[run] == list[0] {
			run++
		}
		if run > 7 || run == len(list) {
			packed = append(packed, &rtcp.RunLengthChunk{PacketStatusSymbol: list[0], RunLength: uint16(run)})
			list = list[run:]
			continue
		}
		size, n := uint16(rtcp.TypeTCCSymbolSizeTwoBit), min(len(list), 7)
		if part := list[:min(len(list), 14)]; !slices.Contains(part, rtcp.TypeTCCPacketReceivedLargeDelta) {
			size, n = rtcp.TypeTCCSymbolSizeOneBit, len(part)
		}
		packed = append(packed, &rtcp.StatusVectorChunk{SymbolSize: size, SymbolList: slices.Clone(list[:n])})
		list = list[n:]
	}
	return packed
}

// figures are what a test looks at.
type figures struct {
	Target       int           // bit/s
	Acknowledged int           // bit/s, 0 while unknown
	Loss         float64       // share of the last window's packets
	RoundTrip    time.Duration // 0 while unknown
	Delay        delayState
}

func (e *estimator) figures() figures {
	return figures{
		Target: e.target(), Acknowledged: int(e.throughput.rate()), Loss: e.loss.share,
		RoundTrip: e.roundTrip, Delay: e.trend.state,
	}
}
