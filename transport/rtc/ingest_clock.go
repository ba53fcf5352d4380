package rtc

// What the master's sender reports say: how its RTP times and its clock belong together (RFC 3550 6.4.1).

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// reportsMax bounds the streams whose reports are kept: two, and some that a master began anew.
const reportsMax = 8

// senderClocks are those of a master's streams, by SSRC: a report may come before its first packet.
type senderClocks struct {
	mu sync.Mutex
	by map[uint32]senderClock
}

// senderClock is the newest report of one stream.
type senderClock struct {
	at        time.Time // by the sender's clock
	timestamp uint32
}

func (c *senderClocks) heard(report *rtcp.SenderReport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil || len(c.by) >= reportsMax {
		c.by = map[uint32]senderClock{}
	}
	c.by[report.SSRC] = senderClock{timeOfNTP(report.NTPTime), report.RTPTime}
}

// when is the time of an RTP time that is less than half of its range away; zero: not known.
func (c *senderClocks) when(ssrc, timestamp uint32, hz int64) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	clock, ok := c.by[ssrc]
	if !ok {
		return time.Time{}
	}
	return clock.at.Add(time.Duration(int64(int32(timestamp-clock.timestamp)) * int64(time.Second) / hz))
}

// timeOfNTP is the inverse of ntpTime.
func timeOfNTP(ntp uint64) time.Time {
	seconds, fraction := int64(ntp>>32)+ntpEpoch, int64(ntp&0xffffffff)
	return time.Unix(seconds, (fraction*int64(time.Second)+1<<31)>>32)
}

// captured is when a packet of the master was captured, by the master's clock; zero: not known yet.
func (s *Participant) captured(track messages.Track, timestamp uint32) time.Time {
	hz := int64(videoClockHz)
	if track == messages.Audio {
		hz = audioClockHz
	}
	return s.clocks.when(s.ssrcs[track].Load(), timestamp, hz)
}

// reported tells whether the master has sent a report of a track that it sends.
func (s *Participant) reported(track messages.Track) bool { return !s.captured(track, 0).IsZero() }

// readClocks reads the reports about the master's video, which may hold those of its sound.
func (s *Participant) readClocks(ctx context.Context) error {
	select {
	case <-s.peer.connected:
	case <-s.peer.closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	err := readReports(s.receiver(messages.Video), s.onReport, nil)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return fmt.Errorf("read sender reports: %w", err)
}

func (s *Participant) receiver(track messages.Track) *webrtc.RTPReceiver {
	return s.peer.pc.GetTransceivers()[track].Receiver() // in the order in which offer has added them
}

func (s *Participant) onReport(packet rtcp.Packet) {
	if report, ok := packet.(*rtcp.SenderReport); ok {
		s.clocks.heard(report)
	}
}
