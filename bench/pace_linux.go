package bench

import (
	"syscall"
	"time"
)

// rest sleeps in the kernel. The runtime's timers wake up in whole milliseconds when nothing else
// runs, which would be the greater part of what is measured.
func rest(d time.Duration) {
	if d > 0 {
		left := syscall.NsecToTimespec(d.Nanoseconds())
		_ = syscall.Nanosleep(&left, nil) // woken early by a signal: the caller looks at the clock anyway
	}
}
