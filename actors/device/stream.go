package device

import (
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// stream decides which frames one viewer gets, and when. It lets no frame through whose references
// the viewer lacks: after a gap in the numbers, after it shed one, and before the first key frame, it
// drops video until the next key frame. The group of pictures that a new viewer catches up with is
// paced, and its times are squeezed before the live edge, so that the player does not keep the
// group's age as delay.
//
// frames -> take -> backlog -> next -> the peer -> wrote. The viewer owns it, and tells it the time, which it
// reads once per message: readings of the clock were a tenth of what a packet of sound takes.
type stream struct {
	backlog  []due
	underway int  // payloads of the first of the backlog that are being written; 0: none
	waiting  bool // a paceDue is on its way
	turn     int  // packets that may still go out before the pace asks for a rest
	turnSize int  // bytes that have, since the last rest
	turnAt   time.Time
	resting  bool // next has asked for a rest
	held     bool // nothing goes out: the viewer has no path for a while

	needKey   bool             // video is dropped until the next key frame
	nextVideo uint64           // number of the video frame that continues the stream
	sentPTS   [2]time.Duration // per track, to keep times rising
	began     bool             // a catch-up has been given (perhaps an empty one)
	shedding  shedding
	packets   uint64
	bytes     uint64
	frames    [2]uint64
	dropped   uint64 // of them shed for want of bandwidth:
	shed      uint64
}

// due is a frame with the time it is to be sent under.
type due struct {
	frame *messages.Frame
	sent  int // payloads that have gone out
	pts   time.Duration
	live  bool
	taken time.Time
}

// late tells that the peer does not take what it is sent.
func (d *due) late(now time.Time) bool {
	limit := backlogAgeMax
	if !d.live {
		limit = catchUpAgeMax
	}
	return now.Sub(d.taken) > limit
}

// part is what is to be written next: so many payloads of a frame.
type part struct {
	frame   *messages.Frame
	from, n int
	pts     time.Duration
	live    bool
}

// The pace of what does not go out at once, key frames and catch-ups: 16 packets a millisecond
// (performance.md, point 4), and up to twice that for a frame that is out after one rest then: a key
// frame of 1080p would be 6 ms late otherwise.
const (
	paceEvery     = 2 * time.Millisecond
	pacePackets   = 32
	paceMost      = 64
	lateTurnMax   = 4 * paceEvery    // a longer rest is none of the pace's
	catchUpStep   = time.Millisecond // between the times of two frames of a catch-up
	backlogMax    = 1024             // frames; a group and what came while it was sent
	backlogAgeMax = time.Second      // of a live frame that waits to go out
	catchUpAgeMax = 3 * time.Second  // of one of a catch-up
	timeStepLeast = 100 * time.Microsecond
)

func newStream() *stream {
	s := &stream{needKey: true}
	s.rested(time.Time{})
	return s
}

// rested begins a turn. A timer that came late does not slow the pace: the turn is as long as the rest
// was, within bounds.
func (s *stream) rested(now time.Time) {
	s.turn, s.turnSize = s.burst(), 0
	if took := now.Sub(s.turnAt); s.turnAt.Before(now) && took < lateTurnMax {
		s.turn = max(s.turn, int(float64(s.turn)*took.Seconds()/paceEvery.Seconds()))
	}
	s.turnAt, s.resting = now, false
}

// burst is how many packets go out in a turn that begins now.
func (s *stream) burst() int {
	if s.shedding.bps != 0 {
		return s.shedding.burst()
	}
	if len(s.backlog) > 0 {
		if half := (len(s.backlog[0].frame.Payloads) + 1) / 2; half <= paceMost {
			return max(pacePackets, half)
		}
	}
	return pacePackets
}

// limit has the stream keep to what the path carries, 0 for no limit. It tells whether the path has
// collapsed: video goes on with the next key frame then, which somebody should ask for.
func (s *stream) limit(bps int, loss float64, now time.Time) (collapsed bool) {
	if collapsed = s.shedding.limit(bps, loss, now); collapsed {
		s.drop()
	}
	return collapsed
}

// begin starts, or starts again, with the current group of pictures.
func (s *stream) begin(group []*messages.Frame, now time.Time) {
	s.drop()
	s.began = true
	for i, frame := range group {
		edge := group[len(group)-1].Unit.PTS
		s.takeVideo(frame, edge-time.Duration(len(group)-1-i)*catchUpStep, false, now)
	}
}

// drop lets the backlog go, but for a frame that is half out: the viewer needs a key frame then.
func (s *stream) drop() {
	keep := s.started()
	s.dropped += uint64(len(s.backlog) - keep)
	s.backlog, s.needKey = s.backlog[:keep:keep], true
}

// started is the number of frames that are half out: 0 or 1.
func (s *stream) started() int {
	if len(s.backlog) > 0 && (s.underway > 0 || s.backlog[0].sent > 0) {
		return 1
	}
	return 0
}

// take accepts a live frame.
func (s *stream) take(frame *messages.Frame, now time.Time) {
	if first := s.started(); len(s.backlog) > first && s.backlog[first].late(now) {
		s.drop()
	}
	switch {
	case !s.began:
		s.dropped++
	case frame.Unit.Track == messages.Video:
		s.takeVideo(frame, frame.Unit.PTS, true, now)
	default:
		s.queue(due{frame: frame, pts: frame.Unit.PTS, live: true, taken: now})
	}
}

func (s *stream) takeVideo(frame *messages.Frame, pts time.Duration, live bool, now time.Time) {
	if frame.Seq != s.nextVideo {
		s.needKey = true
	}
	if s.needKey && !frame.Unit.KeyFrame {
		s.dropped++
		return
	}
	s.nextVideo = frame.Seq + 1
	if live && s.sheds(frame, now) {
		return
	}
	if live && frame.Unit.KeyFrame {
		s.overtake()
	}
	s.needKey = false
	s.queue(due{frame: frame, pts: pts, live: live, taken: now})
}

// overtake drops what is left of a catch-up: a key frame has come that makes it needless.
func (s *stream) overtake() {
	kept, started := s.backlog[:0], s.started()
	for i, d := range s.backlog {
		if d.live || i < started {
			kept = append(kept, d)
		}
	}
	s.dropped += uint64(len(s.backlog) - len(kept))
	clear(s.backlog[len(kept):])
	s.backlog = kept
}

// sheds drops a frame that the viewer's path has no room for.
func (s *stream) sheds(frame *messages.Frame, now time.Time) bool {
	verdict := s.shedding.judge(frame, now)
	if verdict == send {
		return false
	}
	s.needKey = s.needKey || verdict == shedMore
	s.shed++
	s.dropped++
	return true
}

func (s *stream) queue(d due) {
	if len(s.backlog) >= backlogMax {
		s.dropped++
		s.needKey = true
		return
	}
	s.backlog = append(s.backlog, d)
	if len(s.backlog) == 1 && !s.resting {
		s.rested(d.taken)
	}
}

// next returns what is to be written now. There is nothing while a part is being written, and while
// the pace asks for a rest: rest then tells how long.
func (s *stream) next(now time.Time) (p part, rest time.Duration, ok bool) {
	switch {
	case s.held || s.underway > 0 || len(s.backlog) == 0:
		return part{}, 0, false
	case s.turn <= 0 && !s.resting:
		s.resting = true
		return part{}, s.shedding.pause(s.turnSize), false
	}
	if s.resting { // it is over
		s.rested(now)
	}
	d := &s.backlog[0]
	track := d.frame.Unit.Track
	if d.sent == 0 && s.frames[track] > 0 {
		d.pts = max(d.pts, s.sentPTS[track]+timeStepLeast)
	}
	s.underway = min(s.turn, len(d.frame.Payloads)-d.sent)
	return part{d.frame, d.sent, s.underway, d.pts, d.live}, 0, true
}

// wrote takes note of what went out of the part that next gave.
func (s *stream) wrote(packets, bytes int, now time.Time) {
	d := &s.backlog[0]
	track := d.frame.Unit.Track
	d.sent += s.underway
	s.turn -= s.underway
	s.turnSize += bytes
	s.underway = 0
	s.packets += uint64(packets)
	s.bytes += uint64(bytes)
	s.shedding.sent(bytes, now)
	if d.sent < len(d.frame.Payloads) {
		return
	}
	if packets > 0 {
		s.sentPTS[track] = d.pts
		s.frames[track]++
	}
	*d = due{}
	if len(s.backlog) == 1 { // as a rule; the room is used again
		s.backlog = s.backlog[:0]
	} else {
		s.backlog = s.backlog[1:]
	}
}
