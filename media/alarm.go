package media

import (
	"context"
	"time"
)

// Alarm wakes its one caller at given times. Sources keep their time with it.
type Alarm interface {
	// Wait returns nil at the given time, at once when that has passed, and the context's error when
	// that has ended.
	Wait(at time.Time) error
	Close() error
}

// timerAlarm is an Alarm on a Go timer.
type timerAlarm struct {
	ctx   context.Context
	timer *time.Timer
}

// NewTimerAlarm returns an Alarm on a Go timer, which keeps virtual time, too.
func NewTimerAlarm(ctx context.Context) (Alarm, error) {
	return &timerAlarm{ctx, time.NewTimer(0)}, nil
}

// Wait implements Alarm.
func (a *timerAlarm) Wait(at time.Time) error {
	a.timer.Reset(time.Until(at))
	select {
	case <-a.timer.C:
		return nil
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
}

// Close implements Alarm.
func (a *timerAlarm) Close() error {
	a.timer.Stop()
	return nil
}
