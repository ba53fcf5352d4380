package rtc

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// lastPacket is a webrtc.TrackLocalWriter that keeps the RTP time of the packet written last.
type lastPacket struct{ timestamp uint32 }

func (l *lastPacket) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	l.timestamp = h.Timestamp
	return len(payload), nil
}

func (l *lastPacket) Write(b []byte) (int, error) { return len(b), nil }

// A viewer places a packet on the device's clock by the sender report before it (RFC 3550 6.4.1). Over an
// hour that is where the unit was captured, for a source whose clock is off, and for sound that is counted
// by a clock of its own: so the two stay in step.
func TestReportsTieRTPTimeToTheClock(t *testing.T) {
	const off = 10 * time.Millisecond
	for name, ppm := range map[string][2]time.Duration{
		"right": {}, "fast": {100, 100}, "slow": {-100, -100}, "apart": {100, 150},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { followReports(t, ppm, off) })
		})
	}
}

// followReports sends an hour of units, whose media time goes by clocks that are ppm off, and reads them as
// a viewer does.
func followReports(t *testing.T, ppm [2]time.Duration, most time.Duration) {
	const step = 10 * time.Millisecond
	every := [2]time.Duration{40 * time.Millisecond, 20 * time.Millisecond}
	units := [2]messages.AccessUnit{
		{Track: messages.Video, Codec: messages.H264, Data: []byte{0, 0, 0, 1, 0x41, 0x9a, 1, 2}},
		{Track: messages.Audio, Codec: messages.Opus, Data: []byte{0xf8, 0xff, 0xfe}},
	}
	z, out := NewPacketizer(0), newOutgoing(newSending())
	var tracks [2]*track
	var packets [2]lastPacket
	for i := range tracks {
		tracks[i] = newTrack(messages.Track(i), []messages.Codec{units[i].Codec}, out)
		tracks[i].bound.Store(&binding{ssrc: uint32(i + 1), writer: &packets[i]})
	}
	began := time.Now()
	var reports [2]*rtcp.SenderReport
	for at := time.Duration(0); at < time.Hour; at += step {
		for i, track := range tracks {
			if at%every[i] != 0 {
				continue
			}
			unit := units[i]
			unit.PTS, unit.Captured = at+at*ppm[i]/1_000_000, began.Add(at)
			time.Sleep(time.Until(unit.Captured.Add(5 * time.Millisecond))) // it takes a while to come here
			frame, err := z.Frame(&unit)
			if err != nil {
				t.Fatal(err)
			}
			if !track.takes(unit.Codec) {
				t.Fatal("the track does not take what it was made for")
			}
			if _, _, err := track.write(frame, 0, len(frame.Payloads), unit.PTS, true, time.Now()); err != nil {
				t.Fatal(err)
			}
			if report := reports[i]; report != nil {
				if wrong := placed(report, packets[i].timestamp, track.clockHz()).Sub(unit.Captured); wrong.Abs() > most {
					t.Fatalf("after %v a unit of %v is placed %v beside when it was captured", at, unit.Track, wrong)
				}
			}
			if at%(5*time.Second) == 0 {
				reports[i] = track.report(time.Now()).(*rtcp.SenderReport)
			}
		}
	}
}

// placed is when a packet was captured, as the receiver of a sender report works it out.
func placed(report *rtcp.SenderReport, timestamp uint32, hz int64) time.Time {
	seconds, fraction := int64(report.NTPTime>>32)+ntpEpoch, int64(report.NTPTime&0xffffffff)
	at := time.Unix(seconds, fraction*int64(time.Second)>>32)
	return at.Add(time.Duration(int32(timestamp-report.RTPTime)) * time.Second / time.Duration(hz))
}
