//go:build unix

package media

import (
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// leadGroup makes a program lead a process group of its own, so that what it starts ends with it and
// a Ctrl-C at the terminal reaches us alone.
func leadGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends a program and all that it has started. A number is not given to another process while
// members of its group are left, so this also serves after the program itself has ended.
func killGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// monotonicNow reads CLOCK_MONOTONIC; 0 where there is none.
func monotonicNow() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}
