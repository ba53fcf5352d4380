package media

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"go.uber.org/zap"
)

// player is a running program that reads a stream from its stdin.
type player struct {
	cmd   *exec.Cmd
	stdin *os.File
	said  *said
}

const (
	// playerReadWithin is how long a program may leave the stream unread while the pipe is full.
	playerReadWithin = 2 * time.Second
	// playerEndWithin is the time it has to play what it holds once its stdin has ended.
	playerEndWithin = 5 * time.Second
)

func startPlayer(ctx context.Context, args []string, log *zap.Logger) (*player, error) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	p := &player{cmd: groupCommand(ctx, args), stdin: ours, said: &said{what: "audio program", log: log}}
	p.cmd.Stdin, p.cmd.Stderr = theirs, p.said
	if err := p.cmd.Start(); err != nil {
		return nil, closed(err, theirs, ours) // it names the program
	}
	return p, closed(nil, theirs)
}

// Write implements io.Writer.
func (p *player) Write(b []byte) (int, error) {
	err := p.stdin.SetWriteDeadline(time.Now().Add(playerReadWithin))
	if err != nil && !errors.Is(err, os.ErrNoDeadline) {
		return 0, err
	}
	return p.stdin.Write(b)
}

// Close lets the program play what it has and waits for its end, which it forces when there is none soon.
func (p *player) Close() error {
	p.stdin.Close()
	err := hurryGroup(p.cmd, playerEndWithin)
	if err == nil {
		return nil
	}
	if last := p.said.last(); last != "" {
		return fmt.Errorf("audio program failed with %w, its last words: %s", err, last)
	}
	return fmt.Errorf("audio program failed with %w", err)
}
