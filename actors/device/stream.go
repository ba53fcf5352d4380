package device

import (
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// stream decides which frames one viewer gets, and when. It lets no frame through whose references
// the viewer lacks: after a gap in the numbers, and before the first key frame, it drops video until
// the next key frame. The group of pictures that a new viewer catches up with is paced, and its
// times are squeezed before the live edge, so that the player does not keep the group's age as delay.
//
// frames -> take -> backlog -> send -> peer. The viewer owns it; it never blocks longer than a write.
type stream struct {
	peer    frameWriter
	backlog []due
	waiting bool // a paceDue is on its way

	needKey   bool             // video is dropped until the next key frame
	nextVideo uint64           // number of the video frame that continues the stream
	sentPTS   [2]time.Duration // per track, to keep times rising
	began     bool             // a catch-up has been given (perhaps an empty one)
	packets   uint64
	bytes     uint64
	frames    [2]uint64
	dropped   uint64
}

// frameWriter is the peer, as far as a stream needs it.
type frameWriter interface {
	WriteFrame(f *messages.Frame, from, packetsMax int, pts time.Duration, live bool) (packets, bytes int, err error)
}

// due is a frame with the time it is to be sent under.
type due struct {
	frame *messages.Frame
	sent  int // payloads that have gone out
	pts   time.Duration
	live  bool
}

// The pace of what does not go out at once, key frames and catch-ups: 16 packets a millisecond
// (performance.md, point 4).
const (
	paceEvery     = 2 * time.Millisecond
	pacePackets   = 32
	catchUpStep   = time.Millisecond // between the times of two frames of a catch-up
	backlogMax    = 1024             // frames; a group and what came while it was sent
	timeStepLeast = 100 * time.Microsecond
)

func newStream(peer frameWriter) *stream { return &stream{peer: peer, needKey: true} }

// begin starts, or starts again, with the current group of pictures.
func (s *stream) begin(group []*messages.Frame) {
	s.dropped += uint64(len(s.backlog))
	s.backlog, s.needKey, s.began = nil, true, true
	for i, frame := range group {
		edge := group[len(group)-1].Unit.PTS
		s.takeVideo(frame, edge-time.Duration(len(group)-1-i)*catchUpStep, false)
	}
}

// take accepts a live frame.
func (s *stream) take(frame *messages.Frame) {
	switch {
	case !s.began:
		s.dropped++
	case frame.Unit.Track == messages.Video:
		s.takeVideo(frame, frame.Unit.PTS, true)
	default:
		s.queue(due{frame: frame, pts: frame.Unit.PTS, live: true})
	}
}

func (s *stream) takeVideo(frame *messages.Frame, pts time.Duration, live bool) {
	if frame.Seq != s.nextVideo {
		s.needKey = true
	}
	if s.needKey && !frame.Unit.KeyFrame {
		s.dropped++
		return
	}
	s.needKey, s.nextVideo = false, frame.Seq+1
	s.queue(due{frame: frame, pts: pts, live: live})
}

func (s *stream) queue(d due) {
	if len(s.backlog) >= backlogMax {
		s.dropped++
		s.needKey = true
		return
	}
	s.backlog = append(s.backlog, d)
}

// send writes what the pace allows now; what stays in the backlog is for the next time. Audio and
// live frames that find nothing ahead of them go out at once.
func (s *stream) send() error {
	for budget := pacePackets; len(s.backlog) > 0 && budget > 0; {
		next := &s.backlog[0]
		n := min(budget, len(next.frame.Payloads)-next.sent)
		if err := s.write(next, n); err != nil {
			return err
		}
		if budget -= n; next.sent == len(next.frame.Payloads) {
			*next = due{}
			s.backlog = s.backlog[1:]
		}
	}
	return nil
}

// write sends the next n payloads of a frame.
func (s *stream) write(d *due, n int) error {
	track := d.frame.Unit.Track
	if d.sent == 0 && s.frames[track] > 0 {
		d.pts = max(d.pts, s.sentPTS[track]+timeStepLeast)
	}
	packets, bytes, err := s.peer.WriteFrame(d.frame, d.sent, n, d.pts, d.live)
	if err != nil {
		return err
	}
	d.sent += n
	s.packets += uint64(packets)
	s.bytes += uint64(bytes)
	if packets > 0 && d.sent == len(d.frame.Payloads) {
		s.sentPTS[track] = d.pts
		s.frames[track]++
	}
	return nil
}
