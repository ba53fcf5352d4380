package media

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"go.uber.org/zap"
)

// child is a running program whose stdout is a stream. What it writes to stderr goes to the log, and
// its last lines into the error that tells of its end. It ends with the context of start, and with it
// all that it has started.
type child struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	said   *said
}

// childEndWithin is the time a program has to end by itself once its stdout has ended, and its pipes to
// be closed by others that hold them.
const childEndWithin = 500 * time.Millisecond

// startChild starts a program. The caller reads stdout, and calls end in any case.
func startChild(ctx context.Context, cfg ExecConfig) (*child, error) {
	args := cfg.Args
	stdin, ours, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	stdout, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], closed(err, stdin, ours))
	}
	c := &child{cmd: groupCommand(ctx, args), stdin: ours, stdout: stdout, said: &said{what: "source program", log: cfg.Log}}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = stdin, theirs, c.said
	c.cmd.Cancel = func() error {
		stdout.Close() // a process that left the group may hold the other end
		return killGroup(c.cmd)
	}
	if len(cfg.Env) > 0 {
		c.cmd.Env = append(os.Environ(), cfg.Env...)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, closed(err, stdin, ours, stdout, theirs) // it names the program
	}
	return c, closed(nil, stdin, theirs)
}

func closed(err error, files ...*os.File) error {
	for _, f := range files {
		f.Close()
	}
	return err
}

// end waits for the program's end, which it forces when there is none soon, and tells how it ended.
func (c *child) end() error {
	c.stdin.Close()
	err := hurryGroup(c.cmd, childEndWithin)
	c.stdout.Close()
	how := "ended"
	if err != nil {
		how = "failed with " + err.Error()
	}
	if last := c.said.last(); last != "" {
		how += ", its last words: " + last
	}
	return fmt.Errorf("source program %s", how)
}

// said takes in what a program writes to stderr, line by line.
type said struct {
	what   string // the program is, in the log
	log    *zap.Logger
	open   []byte // a line that has not ended
	tail   []string
	second time.Time
	lines  int // logged in this second
	left   int // out of the log since its last line
}

const (
	saidLineBytesMax = 400
	saidTailLines    = 3
	saidLinesPerS    = 20
)

// Write implements io.Writer.
func (s *said) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		text, whole := bytes.CutSuffix(line, []byte("\n"))
		s.open = append(s.open, text[:min(len(text), saidLineBytesMax-len(s.open))]...)
		if whole {
			s.take()
		}
	}
	return len(p), nil
}

// last returns the last lines in one; the program must have ended.
func (s *said) last() string {
	s.take()
	return strings.Join(s.tail, "; ")
}

func (s *said) take() {
	line := strings.TrimSpace(strings.ToValidUTF8(string(s.open), "?"))
	s.open = s.open[:0]
	if line == "" {
		return
	}
	if s.tail = append(s.tail, line); len(s.tail) > saidTailLines {
		s.tail = s.tail[1:]
	}
	if now := time.Now(); now.Sub(s.second) >= time.Second {
		s.second, s.lines = now, 0
	}
	if s.lines++; s.lines > saidLinesPerS {
		s.left++
		return
	}
	if s.left > 0 {
		s.log.Warn("the "+s.what+" wrote more than is logged", zap.Int("lines_left_out", s.left))
		s.left = 0
	}
	s.log.Info(s.what, zap.String("said", line))
}
