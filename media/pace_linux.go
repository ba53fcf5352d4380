package media

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// pin keeps the calling goroutine on a thread of its own until the returned function is called. A
// source that sleeps in the kernel on such a thread wakes up alone: the runtime's timers wake up its
// poller and often a second thread, which on a quiet device costs more than sending a frame
// (performance.md, "The C programs on the same machine").
func pin() (unpin func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

// sleepUntil rests on the calling thread.
func sleepUntil(at time.Time) {
	for left := time.Until(at); left > 0; left = time.Until(at) {
		span := unix.NsecToTimespec(left.Nanoseconds())
		_ = unix.Nanosleep(&span, nil) // a signal ends it early: the loop looks again
	}
}
