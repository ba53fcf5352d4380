package subject

// Spans of work that the model counts and times (package steps). They run on the goroutine of the sender's
// source, locked to its thread: from there a unit goes through encoder, fan-out and viewers to the socket
// without leaving the thread (actors.Lanes). In order: Hold says which thread that is, Emit has a span of
// work done on it, which the parent may follow.

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/steps"
	"github.com/heliograph-rtc/heliograph/messages"
)

// The kinds of work.
const (
	SpanPicture = "picture" // a picture of the script
	SpanSound   = "sound"   // a packet of sound
	SpanSeal    = "seal"    // AES-128-GCM alone, of Bytes
	SpanPlain   = "plain"   // Go code that has nothing to do with the path: a document encoded and decoded
)

// Span is work to be done Times, one after the other.
type Span struct {
	Work    string
	Times   int
	Bytes   int  `json:",omitempty"`
	Counted bool `json:",omitempty"` // with a mark after each, two before the first, and no collection of garbage
}

// Marks is how many a counted span sets.
func (s Span) Marks() int { return s.Times + 2 }

// Spent is what a span took.
type Spent struct {
	CPU time.Duration // of the thread
}

// order is work for the source's goroutine.
type order func(ctx context.Context, began time.Time, emit func(*messages.AccessUnit) error) error

// run gives the source an order and waits until it was done.
func (s *script) run(ctx context.Context, o order) error {
	select {
	case s.orders <- o:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-s.played:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const (
	spanMax   = 5 * time.Minute // what is stopped after each instruction takes long
	settleFor = 20 * time.Millisecond

	hold = "hold"
	span = "span" // and a Span
)

// spans answers a question about spans; ok: it was one.
func (s *sender) spans(question string) (answer any, ok bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), spanMax)
	defer cancel()
	if question == hold {
		var thread steps.Thread
		err := s.script.run(ctx, func(context.Context, time.Time, func(*messages.AccessUnit) error) error {
			runtime.LockOSThread() // for good
			thread = steps.This()
			return nil
		})
		return thread, true, err
	}
	text, ok := strings.CutPrefix(question, span+" ")
	if !ok {
		return nil, false, nil
	}
	var work Span
	if err := json.Unmarshal([]byte(text), &work); err != nil {
		return nil, true, fmt.Errorf("read span: %w", err)
	}
	spent, err := s.do(ctx, work)
	return spent, true, err
}

// do has a span of work done.
func (s *sender) do(ctx context.Context, work Span) (spent Spent, err error) {
	if work.Counted {
		defer debug.SetGCPercent(debug.SetGCPercent(-1))
	}
	err = s.script.run(ctx, func(_ context.Context, began time.Time, emit func(*messages.AccessUnit) error) error {
		once, err := s.script.once(work, began, emit)
		if err != nil {
			return err
		}
		spent.CPU, err = work.do(once)
		return err
	})
	return spent, err
}

// once returns what does the work one time.
func (s *script) once(work Span, began time.Time, emit func(*messages.AccessUnit) error) (func() error, error) {
	switch work.Work {
	case SpanPicture, SpanSound:
		return func() error { return emit(s.unit(work.Work, time.Now(), began)) }, nil
	case SpanSeal:
		return sealing(work.Bytes)
	case SpanPlain:
		return encoding, nil
	}
	return nil, fmt.Errorf("span: there is no work %q", work.Work)
}

func (s *script) unit(kind string, now, began time.Time) *messages.AccessUnit {
	if kind == SpanSound {
		return &messages.AccessUnit{Track: messages.Audio, Codec: messages.Opus, Data: s.sound, PTS: now.Sub(began), Duration: opusEvery, Captured: now}
	}
	return &messages.AccessUnit{Track: messages.Video, Codec: messages.H264, Data: s.other, PTS: now.Sub(began), Duration: s.Every, Captured: now}
}

func sealing(size int) (func() error, error) {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	nonce, packet := make([]byte, gcm.NonceSize()), make([]byte, size, size+gcm.Overhead())
	return func() error {
		gcm.Seal(packet[:0], nonce, packet[:size], nil)
		return nil
	}, nil
}

// encoding is ordinary Go code: branches, small objects, reflection.
func encoding() error {
	text, err := json.Marshal(Span{Work: SpanPlain, Times: 1, Bytes: 2, Counted: true})
	if err != nil {
		return err
	}
	var s Span
	return json.Unmarshal(text, &s)
}

// do does it so many times and takes the thread's CPU time, unless it is counted.
func (s Span) do(once func() error) (cpu time.Duration, err error) {
	if s.Counted {
		// What is done once in a while is done before, and nobody's mailbox is busy with it any more.
		if err = once(); err != nil {
			return 0, err
		}
		time.Sleep(settleFor)
		me := steps.This()
		me.Mark()
		me.Mark()
		for i := 0; i < s.Times && err == nil; i++ {
			err = once()
			me.Mark()
		}
		return 0, err
	}
	from := threadCPU()
	for i := 0; i < s.Times && err == nil; i++ {
		err = once()
	}
	return threadCPU() - from, err
}

// Hold asks a sender for the thread of its source, which it keeps from now on.
func (s *Subject) Hold() (t steps.Thread, err error) {
	if _, err = fmt.Fprintln(s.in, hold); err == nil {
		err = s.answer(&t)
	}
	if err == nil && t.TID == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		err = fmt.Errorf("ask subject for its thread: %w", err)
	}
	return t, err
}

// Begin asks a sender to do a span of work; Ended waits for that.
func (s *Subject) Begin(work Span) error {
	text, err := json.Marshal(work)
	if err == nil {
		_, err = fmt.Fprintf(s.in, "%s %s\n", span, text)
	}
	if err != nil {
		err = fmt.Errorf("ask subject for a span: %w", err)
	}
	return err
}

// Ended waits for what Begin asked for.
func (s *Subject) Ended() (spent Spent, err error) {
	if err = s.answer(&spent); err != nil {
		err = fmt.Errorf("await subject's span: %w", err)
	}
	return spent, err
}

// Emit is Begin and Ended.
func (s *Subject) Emit(work Span) (spent Spent, err error) {
	if err = s.Begin(work); err == nil {
		spent, err = s.Ended()
	}
	return spent, err
}
