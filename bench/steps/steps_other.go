//go:build !linux || (!amd64 && !arm64)

package steps

import (
	"context"
	"fmt"
	"runtime"
)

// Thread is a thread that may be followed; none is here.
type Thread struct {
	PID, TID int
	Text     uint64
}

// This is nothing that can be followed.
func This() Thread { return Thread{} }

// Mark does nothing.
func (t Thread) Mark() {}

// Follow fails.
func Follow(context.Context, Thread, int, func() error) ([]Counts, error) {
	return nil, fmt.Errorf("%w: on %s, %s", ErrMissing, runtime.GOOS, runtime.GOARCH)
}

// Stuck tells of a count that is worth another try.
func Stuck(error) bool { return false }
