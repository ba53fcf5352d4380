package media

// A Go timer wakes two threads: the one that goes on, and the runtime's monitor, which then looks
// around every 20 us for a while. A timer of the kernel's, watched by Go's poller and read by a call
// that the runtime does not know of, wakes one. 75 wake-ups per second, those of video with sound, cost
// 2 ms of CPU then instead of 5; a C program's cost 1.5.

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelAlarm is an Alarm on a timer of the kernel's (timerfd_create(2)).
type kernelAlarm struct {
	ctx    context.Context
	ended  func() bool // stops watching ctx
	timer  *os.File
	fd     int // timer's
	expiry syscall.RawConn

	// Wait's
	rest  time.Duration      // 0: the timer is set
	fault error              // of setting it
	ring  func(uintptr) bool // a.rings, bound once so that waiting allocates nothing
}

// NewAlarm returns an Alarm for the time that ctx lasts.
func NewAlarm(ctx context.Context) (Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	a := &kernelAlarm{ctx: ctx, timer: os.NewFile(uintptr(fd), "alarm"), fd: fd}
	if a.expiry, err = a.timer.SyscallConn(); err != nil {
		return nil, errors.Join(err, a.timer.Close())
	}
	a.ring = a.rings
	a.ended = context.AfterFunc(ctx, func() { _ = a.timer.SetReadDeadline(time.Unix(1, 0)) }) // releases Wait
	return a, nil
}

// Wait implements Alarm.
func (a *kernelAlarm) Wait(at time.Time) error {
	rest := time.Until(at)
	if err := a.ctx.Err(); err != nil || rest <= 0 {
		return err
	}
	a.rest = rest
	err := a.expiry.Read(a.ring)
	if a.ctx.Err() != nil {
		return a.ctx.Err()
	}
	return errors.Join(err, a.fault)
}

// rings sets the timer when it is called first, for what the poller heard before does not count from then
// on. Later it takes the timer's count, or says that its time has not come.
func (a *kernelAlarm) rings(uintptr) bool {
	if a.rest > 0 {
		a.fault = a.set(a.rest)
		a.rest = 0
		return a.fault != nil
	}
	var count uint64
	_, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(a.fd), uintptr(unsafe.Pointer(&count)), unsafe.Sizeof(count))
	return errno != unix.EAGAIN
}

func (a *kernelAlarm) set(rest time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(rest))}
	_, _, errno := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(a.fd), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("timerfd_settime", errno)
	}
	return nil
}

// Close implements Alarm.
func (a *kernelAlarm) Close() error {
	a.ended()
	return a.timer.Close()
}
