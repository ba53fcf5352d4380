package rtc

import (
	"math"
	"time"
)

const (
	// Below lossLow the rate grows, over lossHigh it falls by half the loss, between them it stays:
	// draft 6.
	lossLow  = 0.02
	lossHigh = 0.10

	// lossGrowth for each lossWindow below lossLow, and lossGrowthBits: draft 6, 1.05 and 1 kbit/s for
	// each report. Transport-wide feedback comes more often than reports, hence a window.
	lossGrowth     = 1.05
	lossGrowthBits = 1000
	lossWindow     = 200 * time.Millisecond
	lossStepMax    = time.Second

	// lossPacketsMin is how many packets say what the loss is. libwebrtc, send_side_bandwidth_estimation:
	// 20, where one window of 140 is over lossHigh by chance at 2 % loss. With 50 it is one of
	// 2100.
	lossPacketsMin = 50

	// lossReduceInterval and a round trip pass between two reductions. libwebrtc,
	// send_side_bandwidth_estimation: 300 ms.
	lossReduceInterval = 300 * time.Millisecond
)

// lossRate is the rate that the losses allow: draft 6.
type lossRate struct {
	rate  float64 // bit/s
	share float64 // lost in the last window that is over

	begin     time.Duration // of this window; 0 before the first
	got, lost int           // packets in this window
	doubtful  int           // packets that the newest feedback was the first to miss
	fresh     int           // those that the feedback being read is the first to miss
	reduced   time.Duration
}

// arrived counts a packet; one that was counted as lost before is so no longer.
func (r *lossRate) arrived(wasMissing bool) {
	r.got++
	switch {
	case !wasMissing:
	case r.doubtful > 0:
		r.doubtful--
	default:
		r.lost = max(r.lost-1, 0)
	}
}

func (r *lossRate) missing() { r.fresh++ }

// confirm comes after each feedback: what it did not correct is lost. A viewer may see the packets of one
// stream before older ones of another, and tell of them in between; those of a whole send seemed lost
// then, a sixth of all, and the next feedback said that they were not.
func (r *lossRate) confirm() {
	r.lost += r.doubtful
	r.doubtful, r.fresh = r.fresh, 0
}

// update closes the window when it is long enough. delayed is the rate that the delays allow.
func (r *lossRate) update(delayed float64, roundTrip, now time.Duration) {
	if r.begin == 0 {
		r.begin = max(now, 1)
		return
	}
	step := now - r.begin
	if step < lossWindow || r.got+r.lost < lossPacketsMin {
		return
	}
	r.share = float64(r.lost) / float64(r.got+r.lost)
	r.begin, r.got, r.lost = now, 0, 0
	switch {
	case r.share < lossLow:
		windows := min(step, lossStepMax).Seconds() / lossWindow.Seconds()
		r.rate = (r.rate + lossGrowthBits*windows) * math.Pow(lossGrowth, windows)
	case r.share > lossHigh && now-r.reduced >= lossReduceInterval+roundTrip:
		// From what is the target now, or it would be long until the reduction means anything.
		r.rate = min(r.rate, delayed) * (1 - r.share/2)
		r.reduced = now
	}
}
