package rtc

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"golang.org/x/time/rate"
)

const (
	// A viewer may ask for so many packets a second, and for so many at once: more than a whole second
	// of a 10 Mbit/s stream. What it asks for beyond is its own loss.
	resendsPerSecond = 1024
	resendsBurst     = 1024

	// Where the path has shown a limit, half of it at most goes into packets that are sent once more: a
	// path that is full loses what is resent too, and would be asked for it again and again.
	resendShare = 0.5
	resendBits  = 1200 * 8

	resendsLeast = 8 // of what may come at once
)

// resend answers NACKs of one track from its history.
type resend struct {
	sent, late, refused atomic.Uint64

	mu       sync.Mutex // guards the rest
	budget   *rate.Limiter
	sequence uint16 // of the retransmission stream
	packet   packetHeader
	payload  []byte
}

func newResend() *resend {
	return &resend{budget: rate.NewLimiter(resendsPerSecond, resendsBurst), sequence: uint16(rand.Uint32())}
}

// onNack sends what a viewer misses (RFC 4585 6.2.1).
func (t *track) onNack(nack *rtcp.TransportLayerNack, now time.Time) {
	b := t.bound.Load()
	if b == nil || t.history == nil {
		return
	}
	t.again.mu.Lock()
	defer t.again.mu.Unlock()
	t.again.limit(t.out.estimate(), now)
	for _, pair := range nack.Nacks {
		pair.Range(func(sequence uint16) bool {
			t.sendAgain(b, sequence, now)
			return true
		})
	}
}

// limit adapts the budget to what the path carries; half a second of it may come at once, so that what
// an outage of a third of a second took is asked for no second time.
func (a *resend) limit(path Estimate, now time.Time) {
	perSecond, burst := float64(resendsPerSecond), resendsBurst
	if path.Limited {
		perSecond = min(perSecond, resendShare*float64(path.Bps)/resendBits)
		burst = min(burst, max(int(perSecond/2), resendsLeast))
	}
	if float64(a.budget.Limit()) != perSecond {
		a.budget.SetLimitAt(now, rate.Limit(perSecond))
		a.budget.SetBurstAt(now, burst)
	}
}

func (t *track) sendAgain(b *binding, sequence uint16, now time.Time) {
	r, i, ok := t.history.find(sequence)
	switch {
	case !ok:
		t.again.late.Add(1)
		return
	case !t.again.budget.AllowN(now, 1):
		t.again.refused.Add(1)
		return
	}
	t.again.sent.Add(1)
	write := t.repeat
	if b.rtxPayloadType != 0 {
		write = t.retransmit
	}
	_ = write(b, r, i, now) // the connection is gone: WriteFrame finds that out too
}

// repeat sends a packet as it was, to the last bit: sealed once more under the same number, any
// difference would break AES-GCM (RFC 7714 8.1).
func (t *track) repeat(b *binding, r run, i int, _ time.Time) error {
	_, err := b.writer.WriteRTP(t.again.packet.fill(b, &r, i), r.frame.Payloads[r.from+i])
	return err
}

// retransmit sends a packet on the retransmission stream, behind its original number (RFC 4588 4).
func (t *track) retransmit(b *binding, r run, i int, now time.Time) error {
	a := t.again
	header := a.packet.fill(b, &r, i)
	a.payload = binary.BigEndian.AppendUint16(a.payload[:0], header.SequenceNumber)
	a.payload = append(a.payload, r.frame.Payloads[r.from+i]...)
	header.SSRC, header.PayloadType, header.SequenceNumber = b.rtxSSRC, b.rtxPayloadType, a.sequence
	a.sequence++
	transport := t.out.number(b, 1)
	a.packet.number(b, transport)
	n, err := b.writer.WriteRTP(header, a.payload)
	t.out.sent(b, transport, []int{n}, now)
	return err
}

// Resent counts the packets of a viewer that were asked for once more.
type Resent struct {
	Sent    uint64 // sent once more
	Late    uint64 // asked for when they were not held any more
	Refused uint64 // not sent: the viewer asked for too many
}

func (r *resend) read() Resent {
	return Resent{Sent: r.sent.Load(), Late: r.late.Load(), Refused: r.refused.Load()}
}
