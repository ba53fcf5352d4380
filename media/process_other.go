//go:build !unix

package media

import (
	"os/exec"
	"time"
)

// leadGroup does nothing: there are no process groups here.
func leadGroup(*exec.Cmd) {}

// killGroup ends the program alone.
func killGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }

// monotonicNow: there is no CLOCK_MONOTONIC.
func monotonicNow() time.Duration { return 0 }
