package rtc

import (
	"fmt"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// Packets of one size stay of one size, and the last one is never the largest.
func TestCaptureTimeDoesNotCutBatches(t *testing.T) {
	b := &binding{ssrc: 7, captureTime: 1, transport: 2}
	for _, c := range []struct {
		payloads []int
		stamped  []bool
	}{
		{[]int{100}, []bool{true}},
		{[]int{1150, 1150, 300}, []bool{false, false, true}},
		{[]int{1150, 1150, 1138}, []bool{false, false, true}},
		{[]int{236, 236, 236}, []bool{true, true, true}},
		{[]int{1150, 1150, 1145}, []bool{true, true, true}},
		{[]int{20, 1150}, []bool{false, true}}, // cut anyway
		{[]int{20, 1150, 1150}, []bool{false, false, true}},
	} {
		t.Run(fmt.Sprint(c.payloads), func(t *testing.T) {
			f := &messages.Frame{Unit: &messages.AccessUnit{Captured: time.Unix(1_700_000_000, 0)}}
			for _, size := range c.payloads {
				f.Payloads = append(f.Payloads, make([]byte, size))
			}
			r, h := run{frame: f, stamped: stampFrom(f.Payloads)}, packetHeader{}
			for i, want := range c.stamped {
				if got := len(h.fill(b, &r, i).GetExtension(b.captureTime)) > 0; got != want {
					t.Errorf("packet %d: stamped %v", i, got)
				}
			}
			last := len(c.payloads) - 1
			first, end := sealedSize(h.fill(b, &r, 0), f.Payloads[0]), sealedSize(h.fill(b, &r, last), f.Payloads[last])
			if end > first && c.payloads[0] >= c.payloads[last] {
				t.Errorf("the last packet has %d bytes, the first %d", end, first)
			}
		})
	}
}
