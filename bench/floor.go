package bench

import (
	"crypto/aes"
	"crypto/cipher"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// The floor of fan-out: what no sender can do without. A packet is sealed with AES-128-GCM, and leaves
// as its share of a segmented send. Measured on this machine, in the run whose figures it is drawn into.

const (
	floorBytes    = 1200 // of a packet
	floorSegments = 16   // of a send, as the device's
	floorSpan     = 150 * time.Millisecond
)

// floor is the CPU time of one packet's parts; send is 0 where nothing can be sent in segments.
type floor struct{ seal, send time.Duration }

// measureFloor takes the least of some repetitions: what disturbs only adds.
func measureFloor() (floor, error) {
	var least floor
	for range 3 {
		seal, err := sealTime()
		if err != nil {
			return floor{}, err
		}
		send, err := sendTime()
		if err != nil {
			return floor{}, err
		}
		if least.seal == 0 || seal < least.seal {
			least.seal = seal
		}
		if least.send == 0 || send < least.send {
			least.send = send
		}
	}
	return least, nil
}

func sealTime() (time.Duration, error) {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return 0, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return 0, err
	}
	nonce, packet := make([]byte, gcm.NonceSize()), make([]byte, floorBytes, floorBytes+gcm.Overhead())
	n := 0
	from := time.Now()
	for ; n%256 != 0 || time.Since(from) < floorSpan; n++ {
		gcm.Seal(packet[:0], nonce, packet[:floorBytes], nil)
	}
	return time.Since(from) / time.Duration(n), nil
}

// fields are empty where there is no floor to draw.
func (f floor) fields() report.Row {
	if f.send == 0 {
		return nil
	}
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	return report.Row{
		{Name: "floor_us_per_packet", Value: us(f.seal + f.send)}, {Name: "floor_seal_us_per_packet", Value: us(f.seal)},
		{Name: "floor_send_us_per_packet", Value: us(f.send)},
	}
}
