package device

import "time"

// steps is what the encoder does when the bitrate has come to its floor and the paths carry less still: a
// picture that is worth its bits then has to be smaller. First every other picture is left out, then width
// and height are halved; each step halves the floor. It goes down after stepDownAfter, and up again when
// the paths have carried stepUpFactor times the floor of the step above for stepUpAfter.
type steps struct {
	step  int
	since time.Time // the paths have asked for another step; zero: they do not
	down  bool      // for a further one
}

// pictureSteps are the divisors of width and height and of the rate of pictures.
var pictureSteps = [...]struct{ size, rate int }{{1, 1}, {1, 2}, {2, 2}}

const (
	stepDownAfter = time.Second
	stepUpAfter   = 5 * time.Second
	stepUpFactor  = 1.5
)

// floor is the least bitrate at this step.
func (s *steps) floor(full int) int { return full >> s.step }

// heard takes in what the paths carry, 0 for no limit, and tells whether the step is another one now.
func (s *steps) heard(carried, full int, now time.Time) bool {
	down := carried != 0 && carried < s.floor(full) && s.step < len(pictureSteps)-1
	up := s.step > 0 && (carried == 0 || float64(carried) >= stepUpFactor*float64(full>>(s.step-1)))
	switch {
	case !down && !up:
		s.since = time.Time{}
		return false
	case s.since.IsZero() || s.down != down:
		s.since, s.down = now, down
		return false
	case down && now.Sub(s.since) >= stepDownAfter:
		s.step++
	case up && now.Sub(s.since) >= stepUpAfter:
		s.step--
	default:
		return false
	}
	s.since = time.Time{}
	return true
}
