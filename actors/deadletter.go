package actors

// A dead letter is a message that no actor processed. They come from two places: a mailbox that
// refused one (overflow, stopped), and proto.actor, which found nobody under a name (absent). Here
// each is counted, answered when somebody asks for an answer, and logged seldom: the first of its
// kind at once, the others as a sum at most every ten seconds. The log names the type of the
// message and its target, never its contents, which may be SDP or credentials.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// ErrDeadLetter is what Ask gives when its message is not going to be processed: nobody held the
// name, the lane was full, or the actor stopped before it came to the message.
var ErrDeadLetter = errors.New("nobody processed the message")

// summaryEvery is the shortest time between two log lines that sum up dead letters.
const summaryEvery = 10 * time.Second

// Ask sends a message from outside the tree and waits for the reply, the ctx's end, or the news that
// the message became a dead letter. It is for the outermost edges only, such as an HTTP handler;
// actors tell each other, and never wait.
func (s *System) Ask(ctx context.Context, path string, msg any) (any, error) {
	reply := make(asker, 1)
	registry := s.proto.ProcessRegistry
	self, _ := registry.Add(reply, "ask"+registry.NextID())
	defer registry.Remove(self)
	s.proto.Root.RequestWithCustomSender(s.PID(path), msg, self)
	select {
	case answer := <-reply:
		if _, dead := answer.(*actor.DeadLetterResponse); dead {
			return nil, fmt.Errorf("ask %s: %w", path, ErrDeadLetter)
		}
		return answer, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("ask %s: %w", path, ctx.Err())
	}
}

// asker is the sender of an Ask. proto.actor's Future would do, were its wait bounded by a context
// and its result not overwritten by a second reply.
type asker chan any

var _ actor.Process = asker(nil)

// SendUserMessage takes the first reply and ignores others.
func (a asker) SendUserMessage(_ *actor.PID, msg any) {
	select {
	case a <- actor.UnwrapEnvelopeMessage(msg):
	default:
	}
}

// SendSystemMessage ignores the message: nobody watches or stops an asker.
func (a asker) SendSystemMessage(*actor.PID, any) {}

// Stop does nothing.
func (a asker) Stop(*actor.PID) {}

// Undelivered counts the messages that were sent to a name nobody held. They met no mailbox and so
// are in no row of Mailboxes.
func (s *System) Undelivered() uint64 { return s.absent.Load() }

// onEvent hears proto.actor's dead letters: what was sent to a name that nobody holds.
func (s *System) onEvent(event any) {
	dead, ok := event.(*actor.DeadLetterEvent)
	if !ok {
		return
	}
	switch dead.Message.(type) {
	case actor.SystemMessage:
		s.answerWatch(dead.PID, dead.Message)
	case actor.AutoReceiveMessage, *actor.DeadLetterResponse:
		// poison for an actor that is gone anyway; news for an asker that went away
	default:
		s.absent.Add(1)
		s.deadLetter(dead.PID, dead.Message, dead.Sender, absent)
	}
}

// answerWatch tells who wants to watch an actor that is gone that it has ended.
func (s *System) answerWatch(who *actor.PID, msg any) {
	watch, ok := msg.(*actor.Watch)
	if !ok {
		return
	}
	if watcher, ok := s.proto.ProcessRegistry.Get(watch.Watcher); ok {
		watcher.SendSystemMessage(watch.Watcher, &actor.Terminated{Who: who, Why: actor.TerminatedReason_NotFound})
	}
}

// deadLetter answers and logs a dead letter. Actors that gave their PID as the sender are not
// answered: they wait for nothing.
func (s *System) deadLetter(target *actor.PID, msg any, sender *actor.PID, why reason) {
	if sender != nil {
		waiting, ok := s.proto.ProcessRegistry.Get(sender)
		if _, isActor := waiting.(*actor.ActorProcess); ok && !isActor {
			waiting.SendUserMessage(sender, &actor.DeadLetterResponse{Target: target})
		}
	}
	level := zapcore.InfoLevel
	switch {
	case s.isStopping():
		level = zapcore.DebugLevel // actors that stop talk past each other
	case why == overflow:
		level = zapcore.WarnLevel
	}
	s.dead.note(s.log, level, fmt.Sprintf("%T", msg), target.GetId(), why)
}

// deadLetters decides which dead letters are logged. The zero value is ready.
type deadLetters struct {
	mu     sync.Mutex     // guards the rest
	unsaid map[string]int // by type and reason: how many since the last log line
	total  int            // sum of unsaid
	since  time.Time      // of the last summary
}

func (d *deadLetters) note(log *zap.Logger, level zapcore.Level, kind, target string, why reason) {
	key := kind + " " + string(why)
	now := time.Now()
	d.mu.Lock()
	_, known := d.unsaid[key]
	switch {
	case d.unsaid == nil:
		d.unsaid, d.since = map[string]int{key: 0}, now
	case known:
		d.unsaid[key]++
		d.total++
	default:
		d.unsaid[key] = 0
	}
	due := d.total > 0 && now.Sub(d.since) >= summaryEvery
	d.mu.Unlock()
	if !known {
		log.Log(level, "dead letter", zap.String("message", kind), zap.String("target", target), zap.String("reason", string(why)))
	}
	if due {
		d.flush(log)
	}
}

// flush logs the sum of what was not logged yet.
func (d *deadLetters) flush(log *zap.Logger) {
	d.mu.Lock()
	total, byKind := d.total, map[string]int{}
	for key, n := range d.unsaid {
		if n > 0 {
			byKind[key] = n
			d.unsaid[key] = 0
		}
	}
	d.total, d.since = 0, time.Now()
	d.mu.Unlock()
	if total > 0 {
		log.Info("more dead letters", zap.Int("count", total), zap.Any("by", byKind))
	}
}

// logPanic logs a panic with its stack. msg is what was in hand, nil when nothing was; only its type
// is logged.
func (s *System) logPanic(text, kind, name string, fault, msg any) {
	fields := []zap.Field{zap.String("kind", kind), zap.String("name", name), zap.String("panic", faultText(fault))}
	if msg != nil {
		fields = append(fields, zap.String("message", fmt.Sprintf("%T", msg)))
	}
	s.log.Error(text, append(fields, zap.ByteString("stack", debug.Stack()))...)
}

// faultText describes a panic. Only the runtime's own texts are repeated: any other value may hold
// what must not be logged, and the stack shows where it came from.
func faultText(fault any) string {
	if err, ok := fault.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("value of type %T", fault)
}
