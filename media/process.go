package media

import (
	"context"
	"os/exec"
	"time"
)

// groupCommand is a program that leads a process group of its own, which ends with ctx.
func groupCommand(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = childEndWithin
	cmd.Cancel = func() error { return killGroup(cmd) }
	leadGroup(cmd)
	return cmd
}

// waitGroup waits for the program's end, and ends what it has started and left behind.
func waitGroup(cmd *exec.Cmd) error {
	err := cmd.Wait()
	_ = killGroup(cmd) // there may be nothing left
	return err
}

// hurryGroup is waitGroup for a program that is to end now: it forces the end when there is none soon.
func hurryGroup(cmd *exec.Cmd, within time.Duration) error {
	hurry := time.AfterFunc(within, func() { _ = killGroup(cmd) }) // it may just have ended
	defer hurry.Stop()
	return waitGroup(cmd)
}
