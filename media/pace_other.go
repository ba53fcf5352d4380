//go:build !linux

package media

import "time"

func pin() (unpin func()) { return func() {} }

func sleepUntil(at time.Time) { time.Sleep(time.Until(at)) }
