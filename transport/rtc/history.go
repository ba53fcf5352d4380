package rtc

import (
	"sync"

	"github.com/heliograph-rtc/heliograph/messages"
)

// history is what a track has sent lately, to answer NACKs from: which packets were which payloads of
// which frame. The frames are shared by all viewers, so a payload is held once, whoever else may ask
// for it; a viewer's own are some 50 bytes for each of its writes.
//
// WriteFrame adds, the reader of the viewer's reports looks up.
type history struct {
	mu   sync.Mutex
	runs [historyRuns]run
	next int // the oldest; overwritten next
}

// historyRuns is how many writes back a NACK is answered: about 4 s at 30 frames a second, and at
// least 2,000 packets where frames are large enough to be written in parts.
const historyRuns = 128

// run is one write: payloads of a frame under consecutive sequence numbers.
type run struct {
	frame     *messages.Frame // nil: none
	from      int             // first payload
	count     int
	sequence  uint16 // of the first packet
	transport uint16 // transport-wide number of the first packet
	timestamp uint32

	payloadType uint8
	stamped     int // the first payload whose packet carries the capture time
}

func (h *history) add(r run) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.runs[h.next] = r
	h.next = (h.next + 1) % len(h.runs)
}

func (h *history) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.runs, h.next = [historyRuns]run{}, 0
}

// find returns the run that a packet was part of, and its place in it. It looks at the newest first,
// which is what viewers miss most.
func (h *history) find(sequence uint16) (r run, i int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for back := range h.runs {
		r = h.runs[(h.next-1-back+2*len(h.runs))%len(h.runs)]
		if r.frame == nil {
			break
		}
		if i = int(sequence - r.sequence); i < r.count {
			return r, i, true
		}
	}
	return run{}, 0, false
}
