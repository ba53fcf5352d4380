//go:build !linux

package media

import "context"

// NewAlarm returns an Alarm for the time that ctx lasts.
func NewAlarm(ctx context.Context) (Alarm, error) { return NewTimerAlarm(ctx) }
