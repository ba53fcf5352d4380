package rtc

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// outgoing is what the tracks of one viewer share on their way out: the batch, the transport-wide
// numbers, and the estimate of what the viewer's network carries.
type outgoing struct {
	batch   batch
	batches *batches
	hearers *hearers
	counts  *sendCounts

	// nil: the handshake is not over, or its keys are pion's alone
	sealer atomic.Pointer[sealer]
	hearer atomic.Pointer[hearer]

	mu        sync.Mutex // guards the rest; WriteFrame and the readers of reports meet here
	next      uint16     // transport-wide number of the next packet
	estimator *estimator // nil: no transport-wide numbers were negotiated
}

// The bounds of an estimate, in bits per second. It begins above what a camera sends as a rule, so that
// nobody's picture suffers before his network has shown a limit.
const (
	estimateStartBps   = 5_000_000
	estimateFloorBps   = 50_000
	estimateCeilingBps = 100_000_000
)

func newOutgoing(s *sending) *outgoing {
	o := &outgoing{batches: s.batches, hearers: s.hearers, counts: &s.counts}
	o.batch.onWay = o.onWay
	return o
}

// onWay has the viewer heard where its packets go now.
func (o *outgoing) onWay(former, now way) {
	o.hearers.change(func(all map[netip.AddrPort]*hearer) {
		h := o.hearer.Load()
		if at, ok := former.direct(); ok && all[at] == h {
			delete(all, at)
		}
		if at, ok := now.direct(); ok && h != nil {
			all[at] = h
		}
	})
}

func (o *outgoing) bind(b *binding) {
	o.batches.change(func(all map[uint32]*batch) { all[b.ssrc] = &o.batch })
	o.mu.Lock()
	defer o.mu.Unlock()
	if b.transport != 0 && o.estimator == nil {
		o.estimator = newEstimator(estimateStartBps, estimateFloorBps, estimateCeilingBps)
	}
}

func (o *outgoing) unbind(b *binding) {
	o.batches.change(func(all map[uint32]*batch) { delete(all, b.ssrc) })
	o.batch.lose()
}

// number takes transport-wide numbers for count packets.
func (o *outgoing) number(b *binding, count int) uint16 {
	if b.transport == 0 {
		return 0
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	first := o.next
	o.next += uint16(count)
	return first
}

// sent notes packets for the estimate: their sizes, numbered from first. One of 0 bytes did not go out.
func (o *outgoing) sent(b *binding, first uint16, sizes []int, now time.Time) {
	if b.transport == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, bytes := range sizes {
		if bytes > 0 {
			o.estimator.sent(first+uint16(i), bytes, now)
		}
	}
}

// onFeedback takes in what the viewer says of the packets' arrival.
func (o *outgoing) onFeedback(said feedback, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.estimator != nil {
		o.estimator.feedback(said, now)
	}
}

// Estimate is what the path to a viewer carries.
type Estimate struct {
	Bps       int           // may be sent; 0: not known, the viewer gives no transport-wide feedback
	Limited   bool          // the path has shown a limit: delay that grew, or loss
	Loss      float64       // share of the packets, 0 to 1
	RoundTrip time.Duration // 0: not known
}

func (o *outgoing) estimate() Estimate {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.estimator
	if e == nil {
		return Estimate{}
	}
	return Estimate{Bps: e.target(), Limited: e.limited(), Loss: e.loss.share, RoundTrip: e.roundTrip}
}
