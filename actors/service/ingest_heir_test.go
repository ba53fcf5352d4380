package service

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// camera sends the same frames to every peer that it is given, a key frame every ten, of two packets each.
// A payload holds the number of its frame and of its packet.
type camera struct {
	mu    sync.Mutex
	lines []*line
	frame uint32
	began time.Time
}

// line is one peer, with RTP numbers of its own.
type line struct {
	pc       *webrtc.PeerConnection
	tracks   [2]*webrtc.TrackLocalStaticRTP
	ssrcs    [2]uint32
	sequence uint16
	base     uint32
}

// report says when a frame was captured, whatever the time is at which it gets away.
func (l *line) report(frame uint32, captured time.Time) {
	ntp := uint64(captured.Unix()+2208988800)<<32 | uint64(captured.Nanosecond())<<32/uint64(time.Second)
	for track, timestamp := range [2]uint32{l.base + frame*900, l.base + frame*480} {
		_ = l.pc.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: l.ssrcs[track], NTPTime: ntp, RTPTime: timestamp}})
	}
}

const (
	cameraEvery = 10 * time.Millisecond
	cameraGroup = 10
	reportEvery = 20 // frames
)

func (c *camera) feeds(p *party, base uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, &line{pc: p.pc, tracks: p.tracks, ssrcs: p.ssrcs, sequence: uint16(base), base: base})
}

// leaves ends the oldest line.
func (c *camera) leaves() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = c.lines[1:]
}

func (c *camera) run(t *testing.T) {
	c.began = time.Now()
	done, ended := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(done); <-ended })
	go func() {
		defer close(ended)
		tick := time.NewTicker(cameraEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				c.send()
			case <-done:
				return
			}
		}
	}()
}

func (c *camera) send() {
	c.mu.Lock()
	defer c.mu.Unlock()
	kind := byte(1)
	if c.frame%cameraGroup == 0 {
		kind = 5
	}
	for _, l := range c.lines {
		if c.frame%reportEvery == 0 {
			l.report(c.frame, c.began.Add(time.Duration(c.frame)*cameraEvery))
		}
		for part := range byte(2) {
			fragment := []byte{0x7c, 0x80>>part | kind} // FU-A: the start, the end
			payload := append(binary.BigEndian.AppendUint32(fragment, c.frame), part)
			header := rtp.Header{Version: 2, SequenceNumber: l.sequence, Timestamp: l.base + c.frame*900, Marker: part == 1}
			_ = l.tracks[0].WriteRTP(&rtp.Packet{Header: header, Payload: payload})
			l.sequence++
		}
		if sound := c.frame / 2; c.frame%2 == 0 {
			header := rtp.Header{Version: 2, SequenceNumber: uint16(sound + l.base), Timestamp: l.base + sound*960}
			_ = l.tracks[1].WriteRTP(&rtp.Packet{Header: header, Payload: binary.BigEndian.AppendUint32([]byte{1, 1}, sound)})
		}
	}
	c.frame++
}

// stream is what a storage viewer sees of a camera.
type streamSeen struct {
	video, audio *rtp.Packet // newest
	frames       int
}

// take objects to a packet that does not follow on the one before.
func (s *streamSeen) take(t *testing.T, p *rtp.Packet) (frame uint32) {
	t.Helper()
	last, step := &s.video, uint32(900)
	if len(p.Payload) == 6 {
		last, step = &s.audio, 960
	}
	number := func(p *rtp.Packet) uint32 { return binary.BigEndian.Uint32(p.Payload[2:6]) }
	if before := *last; before != nil {
		frames, whole := number(p)-number(before), true
		if len(p.Payload) == 7 {
			whole = frames == uint32(1-p.Payload[6]) && p.Payload[6] != before.Payload[6]
		} else {
			whole = frames == 1
		}
		ticks := int32(p.Timestamp - before.Timestamp - frames*step)
		if !whole || p.SequenceNumber != before.SequenceNumber+1 || max(ticks, -ticks) > int32(step)/3 {
			t.Errorf("frame %d %x, sequence %d, time %d behind frame %d %x, %d, %d", number(p), p.Payload, p.SequenceNumber, p.Timestamp,
				number(before), before.Payload, before.SequenceNumber, before.Timestamp)
		}
	}
	*last = p
	if len(p.Payload) == 7 && p.Payload[6] == 1 {
		s.frames++
	}
	return number(p)
}

// until reads on until so many frames have been seen.
func (s *streamSeen) until(t *testing.T, viewer *party, frames int) {
	t.Helper()
	for s.frames < frames {
		select {
		case p := <-viewer.taken:
			s.take(t, p)
		case <-viewer.ctx.Done():
			t.Fatal("the stream has ended")
		}
	}
}

// A master that joins again loses no frame, and none comes twice: the one before feeds the session until
// the new peer delivers a key frame.
func TestStorageRejoinWithoutGap(t *testing.T) {
	r := start(t, Config{Limits: Limits{RequestRates: 100}})
	arn := r.storing("cam")
	viewer := r.party(arn, "alice")
	viewer.open()
	r.joined(arn, "alice")
	viewer.answers(viewer.offered())
	master := r.party(arn, "")
	var cam camera
	joins := func(base uint32) {
		t.Helper()
		master.early, master.tracks = nil, [2]*webrtc.TrackLocalStaticRTP{}
		master.open()
		master.sends()
		r.joined(arn, "")
		master.answers(master.offered())
		cam.feeds(master, base)
	}
	joins(1000)
	cam.run(t)
	var seen streamSeen
	seen.until(t, viewer, 20)
	for n := 1; n <= 3; n++ {
		joins(uint32(n) * 77_777)
		for r.labelled("kvs_ingest_ended_total", "replaced") < float64(n) {
			seen.until(t, viewer, seen.frames+1)
		}
		cam.leaves()
		seen.until(t, viewer, seen.frames+20)
	}
	all := r.ingests()
	if len(all) != 1 || len(all[0].Participants) != 2 || r.labelled("kvs_ingest_participants", "master") != 1 {
		t.Errorf("participants %+v", all)
	}
	frames := r.labelled("kvs_ingest_frames_total", "video")
	cam.mu.Lock()
	defer cam.mu.Unlock()
	if frames > float64(cam.frame) {
		t.Errorf("%v frames were taken in of %d", frames, cam.frame)
	}
}
