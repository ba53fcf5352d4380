package media

import (
	"context"
	"time"
)

// sleepSliceMax is how late a pacer notices that its context has ended.
const sleepSliceMax = 100 * time.Millisecond

// Pacer lets a source wait until its next unit is due. It belongs to the goroutine of Run, which it
// keeps on a thread of its own until Close.
type Pacer struct {
	rest  func(until time.Time)
	unpin func()
}

// NewPacer pins the calling goroutine.
func NewPacer() *Pacer { return &Pacer{rest: sleepUntil, unpin: pin()} }

// Wait returns at the given time, or with ctx's error up to 100 ms after ctx has ended.
func (p *Pacer) Wait(ctx context.Context, at time.Time) error {
	for ctx.Err() == nil {
		left := time.Until(at)
		if left <= 0 {
			return nil
		}
		p.rest(time.Now().Add(min(left, sleepSliceMax)))
	}
	return ctx.Err()
}

// Close lets the goroutine go to any thread again.
func (p *Pacer) Close() { p.unpin() }
