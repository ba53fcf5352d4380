//go:build !linux

package subject

import (
	"errors"
	"time"
)

func RaiseFiles() error { return nil }

var errOnlyLinux = errors.New("read costs of a process: only on Linux; run the benchmark there")

func processCosts(*Cost) error { return errOnlyLinux }

func MemoryOf(string) (Memory, error) { return Memory{}, errOnlyLinux }

func threadCPU() time.Duration { return 0 }
