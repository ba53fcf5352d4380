package media

// What viewers say, on its way to a file or a program. In order of execution:
//
//	Sink.Open    a viewer begins to talk: a file is made, or a program started
//	Talk.Write   one Opus packet; gaps are filled, what comes late is left out
//	Talk.Close   the viewer has stopped: the stream ends, and the program with it
//
// Everything here may block; the owner calls it in an edge.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// Sink is where the sound goes that viewers send. One talk is open at a time.
type Sink interface {
	// Open begins a talk. What it opens ends with ctx, too.
	Open(ctx context.Context, clientID string) (*Talk, error)

	// Name says what the sink is, for logs.
	Name() string
}

// FileSink writes each talk to an Ogg Opus file. The newest has the sink's name; the one before is
// renamed for the time of its end, and the oldest are removed beyond a number.
type FileSink struct{ path string }

// talkFilesMax is how many talks stay beside the newest.
const talkFilesMax = 100

// NewFileSink returns a sink that writes to path. It checks that there is a folder for it.
func NewFileSink(path string) (*FileSink, error) {
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("open audio sink: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open audio sink: %s is not a folder", filepath.Dir(path))
	}
	return &FileSink{path: path}, nil
}

// Name implements Sink.
func (s *FileSink) Name() string { return "file" }

// Open implements Sink.
func (s *FileSink) Open(_ context.Context, clientID string) (*Talk, error) {
	if err := s.rotate(); err != nil {
		return nil, fmt.Errorf("keep the talk before: %w", err)
	}
	file, err := os.OpenFile(s.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open talk: %w", err)
	}
	return newTalk(file, file, clientID)
}

// rotate gives the file of the talk before a name of its own, and removes the oldest.
func (s *FileSink) rotate() error {
	info, err := os.Lstat(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", s.path)
	}
	ending := filepath.Ext(s.path)
	stem := strings.TrimSuffix(s.path, ending)
	if err := os.Rename(s.path, stem+info.ModTime().UTC().Format(talkTime)+ending); err != nil {
		return err
	}
	return s.prune(filepath.Base(stem), ending)
}

// talkTime stands between a file's name and its ending; as text it sorts by time.
const talkTime = "-20060102T150405.000Z"

func (s *FileSink) prune(stem, ending string) error {
	folder := filepath.Dir(s.path)
	entries, err := os.ReadDir(folder) // sorted by name
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool {
		at, ours := strings.CutPrefix(strings.TrimSuffix(e.Name(), ending), stem)
		_, err := time.Parse(talkTime, at)
		return !ours || err != nil || !strings.HasSuffix(e.Name(), ending)
	})
	for len(entries) > talkFilesMax {
		if err := os.Remove(filepath.Join(folder, entries[0].Name())); err != nil {
			return err
		}
		entries = entries[1:]
	}
	return nil
}

// CommandSink gives each talk to a program of its own, as Ogg Opus on its stdin.
type CommandSink struct {
	args []string
	log  *zap.Logger
}

// NewCommandSink returns a sink that starts the program for every talk; log takes what it writes to
// stderr.
func NewCommandSink(args []string, log *zap.Logger) *CommandSink {
	if log == nil {
		log = zap.NewNop()
	}
	return &CommandSink{args: args, log: log}
}

// Name implements Sink.
func (s *CommandSink) Name() string { return "exec" }

// Open implements Sink.
func (s *CommandSink) Open(ctx context.Context, clientID string) (*Talk, error) {
	player, err := startPlayer(ctx, s.args, s.log)
	if err != nil {
		return nil, fmt.Errorf("start audio sink: %w", err)
	}
	return newTalk(player, nil, clientID)
}
