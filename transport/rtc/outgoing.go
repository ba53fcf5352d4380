package rtc

import (
	"sync"

	"github.com/pion/rtp"
)

// outgoing is what the tracks of one viewer share on their way out: the batch, the transport-wide
// numbers.
type outgoing struct {
	batch   batch
	batches *batches

	mu   sync.Mutex // guards the rest; WriteFrame and the readers of reports meet here
	next uint16     // transport-wide number of the next packet
}

func newOutgoing(s *sending) *outgoing { return &outgoing{batches: s.batches} }

func (o *outgoing) bind(b *binding) {
	o.batches.change(func(all map[uint32]*batch) { all[b.ssrc] = &o.batch })
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

// write sends one packet. It returns what went out, 0 while DTLS is not done.
func (o *outgoing) write(b *binding, header *rtp.Header, payload []byte) (int, error) {
	return b.writer.WriteRTP(header, payload)
}
