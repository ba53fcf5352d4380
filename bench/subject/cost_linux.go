package subject

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// filesWanted is enough for ten thousand sockets and what a server has open besides.
const filesWanted = 16_384

// RaiseFiles raises the limit of open files where it is too low. Go itself raises it as far as the
// hard limit; beyond that the machine's administrator decides.
func RaiseFiles() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	if limit.Cur >= filesWanted {
		return nil
	}
	err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: filesWanted, Max: max(limit.Max, filesWanted)})
	if err != nil {
		return fmt.Errorf("raise limit of open files from %d to %d (do it with ulimit -n %d, as root if need be): %w",
			limit.Cur, filesWanted, filesWanted, err)
	}
	return nil
}

// processCosts fills in this process's CPU time and resident memory.
func processCosts(c *Cost) error {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return fmt.Errorf("read CPU time: %w", err)
	}
	c.CPU = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	m, err := MemoryOf("self")
	c.RSS, c.Peak, c.Private = m.RSS, m.Peak, m.Private
	return err
}

// threadCPU is what the calling thread has used so far; 0 where the machine does not say.
func threadCPU() time.Duration {
	var used unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &used) != nil {
		return 0
	}
	return time.Duration(used.Nano())
}

// MemoryOf reads what a process has, by its id; self is this one.
func MemoryOf(process string) (m Memory, err error) {
	text, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return m, fmt.Errorf("read resident memory: %w", err)
	}
	for name, figure := range map[string]*uint64{"VmRSS:": &m.RSS, "VmHWM:": &m.Peak, "RssAnon:": &m.Private} {
		if *figure, err = kilobytes(text, name); err != nil {
			return m, err
		}
	}
	return m, nil
}

// kilobytes returns in bytes what proc_pid_status(5) tells in kB.
func kilobytes(status []byte, name string) (uint64, error) {
	_, rest, _ := bytes.Cut(status, []byte(name))
	field := bytes.Fields(rest)
	if len(field) == 0 {
		return 0, fmt.Errorf("read resident memory: the process has no %s", name)
	}
	n, err := strconv.ParseUint(string(field[0]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read resident memory: %w", err)
	}
	return n << 10, nil
}
