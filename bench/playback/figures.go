package playback

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

const (
	freezeMin     = 500 * time.Millisecond // without a new picture
	videoClockHz  = 90_000
	keyWishAfter  = 500 * time.Millisecond // a decoder that cannot start asks for a key frame
	keyWishEvery  = time.Second
	keyWishLeast  = 200 * time.Millisecond // libwebrtc waits as long for a key frame that it asked for
	settleTime    = time.Second            // a join may bring pictures late and then in a hurry
	pictureGapMax = 10 * videoClockHz      // RTP ticks between pictures that still count for the source's rate
)

// Video is the account of one viewer's video. A joining viewer first gets the pictures of the current
// group, which are old: they carry no capture time and are counted apart (catch-up), so that they
// spoil neither rate nor latency.
type Video struct {
	First          time.Time // first packet; zero: none came
	FirstKey       time.Time // last packet of the first decodable key frame; zero: none came
	Pictures       uint64    // complete and decodable
	CatchUp        uint64    // of Pictures
	KeyFrames      uint64    // of Pictures
	Freezes        uint64    // times without a new picture for more than 500 ms
	Frozen         time.Duration
	KeyFrameWishes uint64
	Latency        report.Latency // from capture to complete
	KeyLatency     report.Latency // of Latency: that of key frames
	LatencyFrom    time.Time      // pictures captured earlier have no part in either; set it at any time
	Shown          time.Time      // when the latest picture was captured; zero: not known

	order     order
	assembler assembler
	live      time.Time // first picture that is not catch-up
	settled   time.Time // first picture that the rate counts from, if the stream lasts so long
	before    uint64    // Pictures then
	last      time.Time // latest picture
	liveBytes uint64
	stamped   bool
	time      uint32                  // RTP time of the latest picture
	interval  *hdrhistogram.Histogram // RTP ticks between live pictures
	lastWish  time.Time
}

// NewVideo returns an empty account.
func NewVideo() *Video {
	return &Video{
		order:    order{opens: func(p Packet) bool { return p.nal.begin }},
		interval: hdrhistogram.New(1, pictureGapMax, 3),
	}
}

// Push takes a packet as it came. It returns true when a decoder would ask for a key frame now: it
// cannot start, or a gap was not filled.
func (v *Video) Push(now time.Time, p Packet) (wish bool) {
	if v.First.IsZero() {
		v.First, v.lastWish = now, now.Add(keyWishAfter-keyWishEvery)
	}
	if !v.live.IsZero() {
		v.liveBytes += uint64(p.bytes)
	}
	v.order.push(now, p, func(p Packet, gap bool) {
		v.assembler.add(p, gap, func(p picture) { v.show(now, p) })
		wish = wish || gap
	})
	since := now.Sub(v.lastWish)
	wish = !v.assembler.chain && (since > keyWishEvery || wish && since > keyWishLeast)
	if wish {
		v.lastWish = now
		v.KeyFrameWishes++
	}
	return wish
}

// show takes a picture that could be decoded.
func (v *Video) show(now time.Time, p picture) {
	if v.FirstKey.IsZero() {
		v.FirstKey = now
	} else if gap := now.Sub(v.last); gap > freezeMin {
		v.Freezes++
		v.Frozen += gap
	}
	v.Pictures++
	if p.key {
		v.KeyFrames++
	}
	if !v.stamped && !p.stamp.IsZero() {
		// Everything so far was catch-up.
		v.stamped, v.live, v.CatchUp, v.liveBytes = true, now, v.Pictures-1, 0
		v.interval.Reset()
	} else {
		_ = v.interval.RecordValue(int64(p.time - v.time)) // out of range, as after a gap: not counted
	}
	if v.live.IsZero() {
		v.live = now // of a stream without stamps
	}
	if !p.stamp.IsZero() && !p.stamp.Before(v.LatencyFrom) {
		v.Latency.Record(now.Sub(p.stamp))
		if p.key {
			v.KeyLatency.Record(now.Sub(p.stamp))
		}
	}
	v.Shown = p.stamp
	if v.settled.IsZero() && now.Sub(v.live) >= settleTime {
		v.settled, v.before = now, v.Pictures
	}
	v.last, v.time = now, p.time
}

// Finish ends the account: a picture that has been missing for long is a freeze too.
func (v *Video) Finish(now time.Time) {
	if gap := now.Sub(v.last); !v.last.IsZero() && gap > freezeMin {
		v.Freezes++
		v.Frozen += gap
		v.last = now
	}
}

// Lost is how many packets no retransmission brought.
func (v *Video) Lost() uint64 { return v.order.lost }

// Gaps tells how many packets were missing when later ones had come, and how many of them came after all.
func (v *Video) Gaps() (missed, filled uint64) { return v.order.missed, v.order.filled }

// FPS is the rate at which live pictures came, their first second left out where there is as much
// again; 0 when there were fewer than two.
func (v *Video) FPS() float64 {
	from, n := v.live, v.Pictures-v.CatchUp
	if span := v.last.Sub(v.settled); !v.settled.IsZero() && span >= settleTime {
		from, n = v.settled, v.Pictures-v.before+1
	}
	span := v.last.Sub(from)
	if n < 2 || span <= 0 {
		return 0
	}
	return float64(n-1) / span.Seconds()
}

// SourceFPS is the rate at which the source makes pictures, by the clock in the stream; 0: not known.
func (v *Video) SourceFPS() float64 {
	ticks := v.interval.ValueAtQuantile(50)
	if ticks == 0 {
		return 0
	}
	return videoClockHz / float64(ticks)
}

// BitrateBps is what live pictures took, in bits per second.
func (v *Video) BitrateBps() float64 { return bitrate(v.liveBytes, v.last.Sub(v.live)) }

// Audio is the account of one viewer's audio.
type Audio struct {
	First   time.Time // first packet; zero: none came
	Packets uint64

	order order
	last  time.Time
	bytes uint64
}

// NewAudio returns an empty account.
func NewAudio() *Audio {
	return &Audio{order: order{opens: func(Packet) bool { return true }}}
}

// Push takes a packet as it came.
func (a *Audio) Push(now time.Time, p Packet) {
	if a.First.IsZero() {
		a.First = now
	}
	a.last = now
	a.Packets++
	a.bytes += uint64(p.bytes)
	a.order.push(now, p, func(Packet, bool) {})
}

// Lost is how many packets did not come.
func (a *Audio) Lost() uint64 { return a.order.lost }

// BitrateBps is what the audio took, in bits per second.
func (a *Audio) BitrateBps() float64 { return bitrate(a.bytes, a.last.Sub(a.First)) }

func bitrate(bytes uint64, span time.Duration) float64 {
	if span <= 0 {
		return 0
	}
	return float64(bytes*8) / span.Seconds()
}
