package rtc

import (
	"sync"
	"time"

	"github.com/pion/rtp"
)

// outgoing is what the tracks of one viewer share on their way out: the batch, the transport-wide
// numbers, and the estimate of what the viewer's network carries.
type outgoing struct {
	batch   batch
	batches *batches

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

func newOutgoing(s *sending) *outgoing { return &outgoing{batches: s.batches} }

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

// write sends one packet and notes it for the estimate. It returns what went out, 0 while DTLS is not
// done.
func (o *outgoing) write(b *binding, header *rtp.Header, payload []byte, transport uint16, now time.Time) (int, error) {
	n, err := b.writer.WriteRTP(header, payload)
	if n > 0 && b.transport != 0 {
		o.mu.Lock()
		o.estimator.sent(transport, n, now)
		o.mu.Unlock()
	}
	return n, err
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
	if o.estimator == nil {
		return Estimate{}
	}
	f := o.estimator.figures()
	return Estimate{Bps: f.Target, Limited: o.estimator.limited(), Loss: f.Loss, RoundTrip: f.RoundTrip}
}
