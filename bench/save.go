package bench

// What a viewer gets is kept as a Matroska file (--save), by what the service records with. In order:
//
//	take   sees each packet as it comes, and puts it into a bounded queue; a full one drops it, counted
//	run    the edge: packets become access units (transport/rtc), those become blocks (media/matroska), from
//	       the first key frame on
//	       the end of the viewer's life: what is queued is written, the file finished

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/media/matroska"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// saveQueue holds some 10 s of a 4 Mbit/s stream with sound.
const saveQueue = 8192

type saver struct {
	path    string
	packets chan savedPacket
	dropped atomic.Uint64

	// Of the edge.
	assembler *rtc.Assembler // nil: no video has come
	file      *os.File
	writer    *matroska.Writer // nil: no key frame has come
	begins    time.Time
	failed    error
}

type savedPacket struct {
	track    messages.Track
	codec    messages.Codec
	packet   *rtp.Packet
	captured time.Time // zero: the packet does not say
	came     time.Time
}

func newSaver(path string) *saver {
	return &saver{path: path, packets: make(chan savedPacket, saveQueue)}
}

// take copies the packet. stamp is the id of abs-capture-time, 0 where there is none.
func (s *saver) take(track messages.Track, codec messages.Codec, p *rtp.Packet, stamp uint8) {
	saved := savedPacket{track: track, codec: codec, packet: p.Clone(), came: time.Now()}
	var said rtp.AbsCaptureTimeExtension
	if raw := p.GetExtension(stamp); stamp != 0 && raw != nil && said.Unmarshal(raw) == nil {
		saved.captured = said.CaptureTime()
	}
	select {
	case s.packets <- saved:
	default:
		s.dropped.Add(1)
	}
}

func (s *saver) run(ctx context.Context) error {
	for s.failed == nil {
		select {
		case p := <-s.packets:
			s.push(p)
		case <-ctx.Done():
			return s.finish()
		}
	}
	return errors.Join(s.failed, s.close())
}

func (s *saver) push(p savedPacket) {
	if s.assembler == nil {
		if p.track != messages.Video {
			return
		}
		s.assembler = rtc.NewAssembler(p.codec, func(unit *messages.AccessUnit, _ bool) {
			if s.failed == nil {
				s.failed = s.write(unit)
			}
		})
	}
	s.assembler.Push(p.track, p.packet, p.captured, p.came)
}

func (s *saver) write(unit *messages.AccessUnit) error {
	video := unit.Track == messages.Video
	key := video && media.KeyFrame(unit.Codec, unit.Data)
	if s.writer == nil {
		if !key {
			return nil
		}
		if err := s.begin(unit); err != nil {
			return err
		}
	}
	block := matroska.Block{Track: matroska.AudioNumber, Time: unit.Captured.Sub(s.begins), Key: true, Data: unit.Data}
	if video {
		block.Track, block.Key, block.Data = matroska.VideoNumber, key, matroska.Sample(unit.Codec, unit.Data)
	}
	if block.Time < 0 {
		return nil // sound from before the picture
	}
	return s.writer.Write(block)
}

func (s *saver) begin(unit *messages.AccessUnit) error {
	track, err := matroska.VideoTrack(unit.Codec, unit.Data)
	if err != nil {
		return err
	}
	if s.file, err = os.Create(s.path); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	s.begins = unit.Captured
	s.writer, err = matroska.Create(s.file, matroska.Header{Tracks: []matroska.Track{track, matroska.AudioTrack()}, Date: unit.Captured})
	return err
}

// finish writes what is left. Without a key frame there is no file, which is an error.
func (s *saver) finish() error {
	for len(s.packets) > 0 && s.failed == nil {
		s.push(<-s.packets)
	}
	if s.assembler != nil {
		s.assembler.Flush()
	}
	if s.writer == nil {
		return fmt.Errorf("save %s: no key frame came", s.path)
	}
	if n := s.dropped.Load(); n > 0 {
		s.failed = errors.Join(s.failed, fmt.Errorf("save %s: the disk was too slow for %d packets", s.path, n))
	}
	return errors.Join(s.failed, s.writer.Close(), s.close())
}

func (s *saver) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
