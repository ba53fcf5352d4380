package recorder

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/media/matroska"
)

// Names of segments: the time at which they begin, in UTC, so that names sort by time.
const (
	nameLayout = "20060102T150405.000000Z"
	extension  = ".mkv"
	damagedExt = ".damaged"
)

// Segment is a file of a recording.
type Segment struct {
	Path       string
	Start, End time.Time
	Bytes      int64
	Gap        string // why something is missing before it; empty: nothing is
}

// store is the folder. The recorder owns it; others may read.
type store struct {
	cfg     Config
	files   []stored // the oldest first, without the one that is open
	bytes   int64
	removed uint64
}

type stored struct {
	path  string
	start time.Time
	bytes int64
}

func openStore(cfg Config) (*store, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	names, err := names(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &store{cfg: cfg}
	for _, n := range names {
		if err := s.adopt(filepath.Join(cfg.Dir, n.name), n.start); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// adopt takes over a file of an earlier recorder, and finishes one that was left open. One that holds
// nothing goes; one that is no recording is set aside.
func (s *store) adopt(path string, start time.Time) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	head, err := matroska.ReadHeader(file, info.Size())
	if err == nil && head.Finished {
		s.add(path, start, info.Size())
		return nil
	}
	var rec *matroska.Recording
	if err == nil {
		rec, err = matroska.Recover(file, info.Size())
	}
	switch {
	case err == nil && len(rec.Clusters) > 0:
		if info, err = file.Stat(); err != nil {
			return err
		}
		s.add(path, start, info.Size())
		return nil
	case err == nil:
		return os.Remove(path)
	case errors.Is(err, matroska.ErrDamaged):
		s.cfg.Log.Warn("file is no recording and set aside", zap.String("file", path), zap.Error(err))
		return os.Rename(path, path+damagedExt)
	}
	return err
}

func (s *store) add(path string, start time.Time, bytes int64) {
	s.files = append(s.files, stored{path, start, bytes})
	s.bytes += bytes
}

// create opens the segment that begins then.
func (s *store) create(begins time.Time, header matroska.Header) (*segment, error) {
	for s.cfg.BytesMax > 0 && s.bytes > s.cfg.BytesMax && s.dropOldest() {
	}
	path := filepath.Join(s.cfg.Dir, begins.UTC().Format(nameLayout)+extension)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("begin segment: %w", err)
	}
	w, err := matroska.Create(file, header)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("begin segment: %w", err), file.Close(), os.Remove(path))
	}
	return &segment{file, w, begins, path}, nil
}

// finish ends a segment; the oldest ones make room for its last bytes. It is on disk then, whatever becomes of
// the power; of the one that is open the system may hold some seconds.
func (s *store) finish(open *segment) error {
	err := open.writer.Close()
	for full(err) && s.dropOldest() {
		err = open.writer.Close()
	}
	if err != nil {
		open.writer.Drop()
	}
	s.add(open.path, open.begins, open.writer.Bytes())
	return errors.Join(err, open.file.Sync(), open.file.Close())
}

// expire removes what is older than the retention.
func (s *store) expire(now time.Time) {
	for s.cfg.Retention > 0 && len(s.files) > 1 && now.Sub(s.files[1].start) > s.cfg.Retention {
		s.dropOldest()
	}
}

// dropOldest makes room; false: there is nothing left to remove.
func (s *store) dropOldest() bool {
	if len(s.files) == 0 {
		return false
	}
	oldest := s.files[0]
	s.files = s.files[1:]
	s.bytes -= oldest.bytes
	if err := os.Remove(oldest.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.cfg.Log.Warn("old segment not removed", zap.Error(err))
		return s.dropOldest()
	}
	s.removed++
	return true
}

// full tells whether an error means that the disk, or the quota, has no room.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

type named struct {
	name  string
	start time.Time
}

// names lists the segments of a folder, the oldest first.
func names(dir string) ([]named, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []named
	for _, e := range entries {
		stem, is := strings.CutSuffix(e.Name(), extension)
		start, err := time.Parse(nameLayout, stem)
		if is && err == nil && e.Type().IsRegular() {
			found = append(found, named{e.Name(), start})
		}
	}
	slices.SortFunc(found, func(a, b named) int { return cmp.Compare(a.name, b.name) })
	return found, nil
}

// List tells what a folder holds between two times, the oldest first; a zero time is no bound. What is
// being written is among it, as far as it is on disk.
func List(dir string, from, to time.Time) ([]Segment, error) {
	segments, _, err := ListFirst(dir, from, to, math.MaxInt)
	return segments, err
}

// ListFirst is List of so many segments at most; more says that there are others behind them.
func ListFirst(dir string, from, to time.Time, most int) (segments []Segment, more bool, err error) {
	found, err := names(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, fmt.Errorf("list recording: %w", err)
	}
	for i, n := range found {
		if !to.IsZero() && n.start.After(to) || !from.IsZero() && i+1 < len(found) && found[i+1].start.Before(from) {
			continue
		}
		if len(segments) == most {
			return segments, true, nil
		}
		s, err := describe(filepath.Join(dir, n.name), n.start)
		switch {
		case errors.Is(err, fs.ErrNotExist): // retention has removed it meanwhile
		case err != nil:
			return nil, false, fmt.Errorf("list recording: %w", err)
		case s.End.After(s.Start) && (from.IsZero() || s.End.After(from)):
			segments = append(segments, s)
		}
	}
	return segments, false, nil
}

// Extent tells from when to when a folder holds anything; zero times: it does not.
func Extent(dir string) (start, end time.Time, err error) {
	found, err := names(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return start, end, fmt.Errorf("list recording: %w", err)
	}
	for i := len(found) - 1; i >= 0; i-- {
		s, err := describe(filepath.Join(dir, found[i].name), found[i].start)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !s.End.After(s.Start) {
			continue // removed meanwhile, or just begun
		}
		if err != nil {
			return start, end, fmt.Errorf("list recording: %w", err)
		}
		return found[0].start, s.End, nil
	}
	return start, end, nil
}

func describe(path string, start time.Time) (Segment, error) {
	s := Segment{Path: path, Start: start, End: start}
	file, err := os.Open(path)
	if err != nil {
		return s, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return s, err
	}
	rec, err := matroska.ReadHeader(file, info.Size())
	if err == nil && !rec.Finished {
		rec, err = readUnfinished(file, info.Size())
	}
	if errors.Is(err, matroska.ErrDamaged) {
		return s, nil // it has just been begun
	}
	if err != nil {
		return s, err
	}
	s.Bytes, s.Gap, s.End = info.Size(), rec.Tags[tagGap], start.Add(rec.Duration)
	return s, nil
}

// readUnfinished reads a file that is being written. It ends with its last whole cluster.
func readUnfinished(file *os.File, size int64) (*matroska.Recording, error) {
	rec, err := matroska.Read(file, size)
	if err != nil || len(rec.Clusters) == 0 {
		return rec, err
	}
	newest := rec.Clusters[len(rec.Clusters)-1]
	rec.Duration = newest.Time
	err = matroska.ScanCluster(file, newest, func(b matroska.Block, _ int64) { rec.Duration = max(rec.Duration, b.Time) })
	return rec, err
}
