package subject

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
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

// processCosts are this process's CPU time and resident memory.
func processCosts() (cpu time.Duration, rss uint64, err error) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0, 0, fmt.Errorf("read CPU time: %w", err)
	}
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0, fmt.Errorf("read resident memory: %w", err)
	}
	field := bytes.Fields(text) // proc(5): size, resident, ... in pages
	if len(field) < 2 {
		return 0, 0, fmt.Errorf("read resident memory: /proc/self/statm holds %q", text)
	}
	pages, err := strconv.ParseUint(string(field[1]), 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("read resident memory: %w", err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), pages * uint64(os.Getpagesize()), nil
}
