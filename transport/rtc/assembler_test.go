package rtc

import (
	"bytes"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtp"
)

// What a recording ends with is there once, also where a picture has several slices.
func TestAssemblerFlushesEachPictureOnce(t *testing.T) {
	z, began := NewPacketizer(100), time.Now()
	var got [][]byte
	a := NewAssembler(messages.H264, func(unit *messages.AccessUnit, gap bool) {
		if gap {
			t.Error("a gap")
		}
		got = append(got, unit.Data)
	})
	var want [][]byte
	sequence := uint16(65_530)
	for n := range 4 {
		data := []byte{0, 0, 0, 1, 0x41, 0x88, byte(n + 1)}
		for range 3 { // slices of three packets
			data = append(append(data, 0, 0, 0, 1, 0x41), bytes.Repeat([]byte{byte(n + 1)}, 250)...)
		}
		frame, err := z.Frame(h264Unit(data))
		must(t, err)
		for i, payload := range frame.Payloads {
			a.Push(messages.Video, &rtp.Packet{Header: rtp.Header{
				Version: 2, SequenceNumber: sequence, Timestamp: uint32(n * 3000), Marker: i == len(frame.Payloads)-1,
			}, Payload: payload}, began.Add(time.Duration(n)*time.Second/30), began)
			sequence++
		}
		want = append(want, data)
	}
	a.Flush()
	if len(got) != len(want) {
		t.Fatalf("%d pictures, want %d", len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("picture %d has %d bytes, want %d", i, len(got[i]), len(want[i]))
		}
	}
}
