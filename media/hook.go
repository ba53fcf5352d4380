package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// hookNames are the variables of our environment that a hook sees: what a program needs to run, and no keys.
var hookNames = []string{"PATH", "HOME", "LANG", "TZ", "TMPDIR", "SYSTEMROOT"}

// RunHook runs a program without a shell until it ends, or ctx does, and with it all that it has
// started. It returns the exit status and up to outputMax bytes of what the program wrote.
func RunHook(ctx context.Context, args, env []string, outputMax int) (status int, output string, err error) {
	out := &head{max: outputMax}
	cmd := groupCommand(ctx, args)
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, env
	for _, name := range hookNames {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	if err := cmd.Start(); err != nil {
		return 0, "", fmt.Errorf("run hook: %w", err)
	}
	err = waitGroup(cmd)
	var ended *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, out.text(), fmt.Errorf("run hook: %w", ctx.Err())
	case errors.As(err, &ended):
		return ended.ExitCode(), out.text(), nil
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return 0, out.text(), fmt.Errorf("run hook: %w", err)
	}
	return 0, out.text(), nil
}

// head keeps the begin of what is written to it.
type head struct {
	max  int
	kept bytes.Buffer
}

// Write implements io.Writer.
func (h *head) Write(p []byte) (int, error) {
	h.kept.Write(p[:min(len(p), h.max-h.kept.Len())])
	return len(p), nil
}

func (h *head) text() string { return strings.ToValidUTF8(h.kept.String(), "?") }
