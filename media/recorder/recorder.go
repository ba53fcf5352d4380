// Package recorder keeps a stream as Matroska segments in a folder: one file for each span, named after the
// time at which it begins, so that the folder is its own index and a kill leaves nothing to mend but the
// tail of the newest file.
//
// Flow: Open finishes what a crash left (store.go) -> Write puts each access unit into the segment that is
// open, and begins a new one with a key frame when it is time -> Close finishes it. List reads the folder at
// any time, also while it is written to.
//
// A segment begins with a key frame and is whole for itself. Where units were lost the segment ends, and the
// next key frame begins another, whose tag GAP says why something is missing before it.
package recorder

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/media/matroska"
	"github.com/heliograph-rtc/heliograph/messages"
)

// Why something is missing before a segment.
const (
	GapNone  = ""
	GapStart = "start" // recording began, or began again
	GapLoss  = "loss"  // packets did not come
	GapDisk  = "disk"  // there was no room
	GapTime  = "time"  // the sender's clock jumped
)

// tagGap names the tag in a segment.
const tagGap = "GAP"

const (
	segmentDefault = 30 * time.Second
	segmentSlack   = 100 * time.Millisecond // clocks wander: a key frame every 2 s comes a few microseconds early
	jumpMax        = 5 * time.Second        // between two units of a track
	soundHeld      = 100                    // packets that wait for the key frame that begins a segment: 2 s
)

// Config says where and for how long.
type Config struct {
	Dir       string        // is made
	Segment   time.Duration // how long a segment lasts, to the next key frame; default 30 s
	Retention time.Duration // older segments are removed; 0: kept
	BytesMax  int64         // of all segments; the oldest make room. 0: as the disk has
	Log       *zap.Logger
}

// Stats count what a recorder has done.
type Stats struct {
	Units, Bytes, Segments uint64
	Dropped                uint64 // units that are not kept: before a key frame, behind a loss, for want of room
	Gaps                   uint64
	Removed                uint64 // segments, by retention and for want of room
}

// Recorder records one stream. It has one owner.
type Recorder struct {
	cfg   Config
	store *store
	stats Stats

	open   *segment // nil: the next key frame begins one
	gap    string   // why something is missing before the next segment
	sound  []*messages.AccessUnit
	newest [2]time.Time
}

// segment is the file that is written.
type segment struct {
	file   *os.File
	writer *matroska.Writer
	begins time.Time
	path   string
}

// Open finishes what a crash left in the folder, and is ready to record.
func Open(cfg Config) (*Recorder, error) {
	if cfg.Segment == 0 {
		cfg.Segment = segmentDefault
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	s, err := openStore(cfg)
	if err != nil {
		return nil, fmt.Errorf("open recording %s: %w", cfg.Dir, err)
	}
	return &Recorder{cfg: cfg, store: s, gap: GapStart}, nil
}

// Stats tells what has been done so far.
func (r *Recorder) Stats() Stats {
	s := r.stats
	s.Removed = r.store.removed
	return s
}

// Write keeps a unit; lost says that units of its track were lost before it. An error tells that the
// recorder cannot go on; a full disk is none: the oldest segments make room, and else units are dropped.
func (r *Recorder) Write(unit *messages.AccessUnit, lost bool) error {
	r.stats.Units++
	if last := r.newest[unit.Track]; !last.IsZero() && unit.Captured.Sub(last).Abs() > jumpMax {
		r.end(GapTime)
		r.newest = [2]time.Time{} // the other track jumps with it
	}
	r.newest[unit.Track] = unit.Captured
	if unit.Track == messages.Audio {
		return r.writeSound(unit)
	}
	if lost {
		r.end(GapLoss)
	}
	key := media.KeyFrame(unit.Codec, unit.Data)
	if r.open != nil && key && unit.Captured.Sub(r.open.begins) >= r.cfg.Segment-segmentSlack {
		r.end(GapNone)
	}
	if r.open == nil {
		if !key {
			r.stats.Dropped++
			return nil
		}
		if err := r.begin(unit); err != nil {
			return err
		}
		if r.open == nil {
			r.stats.Dropped++
			return nil
		}
	}
	r.put(matroska.Block{
		Track: matroska.VideoNumber, Time: unit.Captured.Sub(r.open.begins), Key: key, Data: matroska.Sample(unit.Codec, unit.Data),
	})
	return nil
}

// writeSound keeps sound that has no segment yet for the one that the next key frame begins.
func (r *Recorder) writeSound(unit *messages.AccessUnit) error {
	if r.open != nil {
		r.putSound(unit)
		return nil
	}
	if r.sound = append(r.sound, unit); len(r.sound) > soundHeld {
		r.sound = r.sound[1:]
		r.stats.Dropped++
	}
	return nil
}

func (r *Recorder) putSound(unit *messages.AccessUnit) {
	since := unit.Captured.Sub(r.open.begins)
	if since < 0 {
		r.stats.Dropped++
		return
	}
	r.put(matroska.Block{Track: matroska.AudioNumber, Time: since, Key: true, Data: unit.Data})
}

// begin opens a segment with a key frame. It stays closed when there is no room.
func (r *Recorder) begin(unit *messages.AccessUnit) error {
	video, err := matroska.VideoTrack(unit.Codec, unit.Data)
	if err != nil {
		r.cfg.Log.Warn("key frame cannot begin a segment", zap.Error(err))
		return nil
	}
	r.store.expire(unit.Captured)
	header := matroska.Header{Tracks: []matroska.Track{video, matroska.AudioTrack()}, Date: unit.Captured}
	if r.gap != GapNone {
		header.Tags = map[string]string{tagGap: r.gap}
	}
	for {
		s, err := r.store.create(unit.Captured, header)
		switch {
		case err == nil:
			r.open, r.gap = s, GapNone
			r.stats.Segments++
			for _, u := range r.sound {
				r.putSound(u)
			}
			r.sound = nil
			return nil
		case !full(err):
			return err
		case !r.store.dropOldest():
			r.cfg.Log.Warn("no room for a recording", zap.String("dir", r.cfg.Dir), zap.Error(err))
			r.gap = GapDisk
			return nil
		}
	}
}

// put writes a block. What a full disk refuses is tried again once the oldest segment has made room.
func (r *Recorder) put(b matroska.Block) {
	for {
		err := r.open.writer.Write(b)
		switch {
		case err == nil:
			r.stats.Bytes += uint64(len(b.Data))
			return
		case full(err) && r.store.dropOldest():
			continue
		}
		r.cfg.Log.Warn("recording interrupted", zap.String("file", r.open.path), zap.Error(err))
		r.stats.Dropped++
		r.open.writer.Drop()
		r.end(GapDisk)
		return
	}
}

// end finishes the open segment. The next one begins behind a gap, or follows at once.
func (r *Recorder) end(gap string) {
	if gap != GapNone {
		if r.gap == GapNone {
			r.gap = gap
		}
		r.stats.Gaps++
		r.sound = nil
	}
	if r.open == nil {
		return
	}
	if err := r.store.finish(r.open); err != nil {
		r.cfg.Log.Warn("segment left unfinished", zap.String("file", r.open.path), zap.Error(err))
	}
	r.open = nil
}

// Flush puts what is pending on disk.
func (r *Recorder) Flush() error {
	if r.open == nil {
		return nil
	}
	return r.open.writer.Flush()
}

// Close finishes the segment that is open.
func (r *Recorder) Close() error {
	if r.open == nil {
		return nil
	}
	err := r.store.finish(r.open)
	r.open = nil
	return err
}
