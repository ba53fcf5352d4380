package device

import (
	"slices"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// outbox holds what the session still has to send and says when the next message may go: answers
// before candidates, each kind within AWS's limit per socket (kvs-protocol.md 3.8). It remembers what
// went out lately by correlation id, so that a message the service refused for its rate goes again.
// The session owns it; it has no time of its own.
type outbox struct {
	answers    []*outgoing
	candidates []*outgoing
	inFlight   *outgoing
	recent     []*outgoing // a ring, newest last
	number     uint64      // of the last correlation id

	answerPace    *rate.Limiter // nil: not paced
	candidatePace *rate.Limiter
	writer        *actors.Edge // has a message; nil: none is being written
	timer         bool         // a pumpDue is on its way
}

// outgoing is a message with the number of times it was sent.
type outgoing struct {
	signaling.Outbound
	tries int
}

// Limits of the outbox. The pace stays a little below AWS's 5 answers and 20 candidates a second, so
// that jitter on the way does not add up to a refusal. All five answers of a second go at once: each of
// a crowd's viewers after the first five waits for a fifth of a second anyway, and an answer that is
// refused after all goes again.
const (
	outboxCandidatesMax = 512
	outboxAnswersMax    = 64
	outboxRecentMax     = 128
	outboxTriesMax      = 5
	answersPerSecond    = 4.5
	answersBurst        = 5
	candidatesPerSecond = 18
	candidatesBurst     = 16
)

func newOutbox(paced bool) *outbox {
	o := &outbox{}
	if paced {
		o.answerPace = rate.NewLimiter(answersPerSecond, answersBurst)
		o.candidatePace = rate.NewLimiter(candidatesPerSecond, candidatesBurst)
	}
	return o
}

// put queues a message under a fresh correlation id; false when the queue of its kind is full.
func (o *outbox) put(out signaling.Outbound) bool {
	o.number++
	out.CorrelationID = strconv.FormatUint(o.number, 36)
	queue, bound := o.queue(out.Action)
	if len(*queue) >= bound {
		return false
	}
	*queue = append(*queue, &outgoing{Outbound: out})
	return true
}

func (o *outbox) queue(action string) (*[]*outgoing, int) {
	if action == signaling.SDPAnswer {
		return &o.answers, outboxAnswersMax
	}
	return &o.candidates, outboxCandidatesMax
}

// next takes the message that may go now; otherwise it says how long to wait, 0 when there is none.
// Answers go first. While their pace holds them back, candidates of viewers that have theirs go on: a
// viewer's candidates never overtake its answer.
func (o *outbox) next(now time.Time) (*outgoing, time.Duration) {
	if len(o.answers) > 0 {
		answerWait := delay(o.answerPace, now)
		if answerWait == 0 {
			return o.take(&o.answers, 0), 0
		}
		if i := o.unblocked(); i >= 0 && delay(o.candidatePace, now) == 0 {
			return o.take(&o.candidates, i), 0
		}
		return nil, answerWait
	}
	if len(o.candidates) == 0 {
		return nil, 0
	}
	if wait := delay(o.candidatePace, now); wait > 0 {
		return nil, wait
	}
	return o.take(&o.candidates, 0), 0
}

// unblocked is the index of the first candidate whose viewer has no answer queued; -1: none.
func (o *outbox) unblocked() int {
	return slices.IndexFunc(o.candidates, func(c *outgoing) bool {
		return !slices.ContainsFunc(o.answers, func(a *outgoing) bool { return a.RecipientClientID == c.RecipientClientID })
	})
}

// delay takes a token and returns 0, or returns how long to wait for one.
func delay(pace *rate.Limiter, now time.Time) time.Duration {
	if pace == nil {
		return 0
	}
	r := pace.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

func (o *outbox) take(queue *[]*outgoing, i int) *outgoing {
	o.inFlight = (*queue)[i]
	*queue = slices.Delete(*queue, i, i+1)
	o.inFlight.tries++
	return o.inFlight
}

// sent remembers a message that went out.
func (o *outbox) sent(out *outgoing) {
	o.inFlight, o.writer = nil, nil
	if len(o.recent) == outboxRecentMax {
		o.recent = slices.Delete(o.recent, 0, 1)
	}
	o.recent = append(o.recent, out)
}

// recall puts back what was being written when the socket was lost.
func (o *outbox) recall() {
	o.writer = nil
	if o.inFlight == nil {
		return
	}
	queue, _ := o.queue(o.inFlight.Action)
	*queue = slices.Insert(*queue, 0, o.inFlight)
	o.inFlight = nil
}

// wasAnswer tells whether a message that went out lately was an answer.
func (o *outbox) wasAnswer(correlationID string) bool {
	return slices.ContainsFunc(o.recent, func(out *outgoing) bool {
		return out.CorrelationID == correlationID && out.Action == signaling.SDPAnswer
	})
}

// again queues a refused message once more, ahead of the others; false when it is unknown or was
// tried too often.
func (o *outbox) again(correlationID string) bool {
	i := slices.IndexFunc(o.recent, func(out *outgoing) bool { return out.CorrelationID == correlationID })
	if i < 0 {
		return false
	}
	out := o.recent[i]
	o.recent = slices.Delete(o.recent, i, i+1)
	if out.tries >= outboxTriesMax {
		return false
	}
	queue, _ := o.queue(out.Action)
	*queue = slices.Insert(*queue, 0, out)
	return true
}
