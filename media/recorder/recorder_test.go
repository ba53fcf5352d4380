package recorder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// camera repeats a group of pictures of the built-in sample for as long as a test likes.
type camera struct {
	group  []*messages.AccessUnit // begins with a key frame
	length time.Duration
}

func newCamera(t testing.TB) *camera {
	t.Helper()
	sample, err := media.NewSample()
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	c := &camera{}
	err = sample.Run(context.Background(), func(u *messages.AccessUnit) error {
		if u.Track == messages.Video && u.KeyFrame && len(c.group) > 0 {
			c.length = u.PTS
			return enough
		}
		c.group = append(c.group, u)
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	return c
}

// send gives a recorder so many groups of pictures that begin at a time, and returns when they end.
func (c *camera) send(t testing.TB, r *Recorder, begins time.Time, groups int) time.Time {
	t.Helper()
	for range groups {
		for _, u := range c.group {
			shot := *u
			shot.Captured = begins.Add(u.PTS)
			if err := r.Write(&shot, false); err != nil {
				t.Fatal(err)
			}
		}
		begins = begins.Add(c.length)
	}
	return begins
}

func open(t testing.TB, cfg Config) *Recorder {
	t.Helper()
	r, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func list(t *testing.T, dir string, from, to time.Time) []Segment {
	t.Helper()
	segments, err := List(dir, from, to)
	if err != nil {
		t.Fatal(err)
	}
	return segments
}

// judge has ffmpeg decode each file: it must find nothing to say.
func judge(t *testing.T, segments []Segment) {
	t.Helper()
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Log("NOT TESTED: ffmpeg is not installed")
		return
	}
	for _, s := range segments {
		out, err := exec.Command(program, "-v", "error", "-xerror", "-i", s.Path, "-f", "null", "-").CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("ffmpeg on %s: %v %s", filepath.Base(s.Path), err, out)
		}
	}
}

// gaps renders segments as lengths in groups of pictures, with what is missing before each.
func (c *camera) gaps(segments []Segment) (text string) {
	for _, s := range segments {
		text += fmt.Sprintf("%s%d ", s.Gap, int((s.End.Sub(s.Start)+c.length/2)/c.length))
	}
	return text
}

func TestSegmentsFollowOnOneAnother(t *testing.T) {
	c, dir := newCamera(t), t.TempDir()
	r := open(t, Config{Dir: dir, Segment: 2 * c.length})
	ends := c.send(t, r, noon, 5)
	if got := c.gaps(list(t, dir, time.Time{}, time.Time{})); got != "start2 2 1 " {
		t.Errorf("while it is written: %s", got)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	segments := list(t, dir, time.Time{}, time.Time{})
	if got := c.gaps(segments); got != "start2 2 1 " {
		t.Errorf("segments %s", got)
	}
	for n := range segments[1:] {
		if apart := segments[n+1].Start.Sub(segments[n].End); apart.Abs() > 50*time.Millisecond {
			t.Errorf("%v between two segments", apart)
		}
	}
	judge(t, segments)
	if s := r.Stats(); s.Dropped != 0 || s.Segments != 3 || s.Units != uint64(5*len(c.group)) {
		t.Errorf("%+v", s)
	}
	second := list(t, dir, noon.Add(2*c.length+time.Second/2), ends.Add(-c.length-time.Second/2))
	if len(second) != 1 || second[0].Path != segments[1].Path {
		t.Errorf("of a span within the second segment: %+v", second)
	}
}

// A kill leaves whole segments and one that lacks at most what was not yet written.
func TestKillCostsTheTailAlone(t *testing.T) {
	c, dir := newCamera(t), t.TempDir()
	killed := open(t, Config{Dir: dir, Segment: 2 * c.length})
	ends := c.send(t, killed, noon, 3) // the third group is in an unfinished file
	t.Cleanup(func() { killed.open.file.Close() })

	again := open(t, Config{Dir: dir, Segment: 2 * c.length})
	kept := list(t, dir, time.Time{}, time.Time{})
	judge(t, kept)
	if len(kept) != 2 || ends.Sub(kept[1].End) > 600*time.Millisecond {
		t.Errorf("kept %s, the last until %v before the end", c.gaps(kept), ends.Sub(kept[len(kept)-1].End))
	}
	c.send(t, again, ends.Add(10*time.Second), 1)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	segments := list(t, dir, time.Time{}, time.Time{})
	if got := c.gaps(segments); got != "start2 1 start1 " {
		t.Errorf("segments %s", got)
	}
	judge(t, segments)
}

func TestLossIsMarked(t *testing.T) {
	c, dir := newCamera(t), t.TempDir()
	r := open(t, Config{Dir: dir, Segment: time.Hour})
	ends := c.send(t, r, noon, 1)
	lost := *c.group[1]
	for _, u := range c.group {
		if u.Track == messages.Video && !u.KeyFrame {
			lost = *u
			break
		}
	}
	lost.Captured = ends.Add(lost.PTS)
	if err := r.Write(&lost, true); err != nil {
		t.Fatal(err)
	}
	ends = c.send(t, r, ends.Add(c.length), 1)
	c.send(t, r, ends.Add(time.Minute), 1)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	segments := list(t, dir, time.Time{}, time.Time{})
	if got := c.gaps(segments); got != "start1 loss1 time1 " {
		t.Errorf("segments %s", got)
	}
	judge(t, segments)
	if s := r.Stats(); s.Gaps != 2 || s.Dropped != 1 {
		t.Errorf("%+v", s)
	}
}

func TestRetention(t *testing.T) {
	c, dir := newCamera(t), t.TempDir()
	r := open(t, Config{Dir: dir, Segment: c.length, Retention: 3 * c.length})
	c.send(t, r, noon, 10)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(list(t, dir, time.Time{}, time.Time{})); n < 3 || n > 5 {
		t.Errorf("%d segments of ten are kept for the time of three", n)
	}
	if s := r.Stats(); s.Removed != 10-uint64(len(list(t, dir, time.Time{}, time.Time{}))) {
		t.Errorf("%+v", s)
	}
}

func TestBytesMax(t *testing.T) {
	c, dir := newCamera(t), t.TempDir()
	size := 0
	for _, u := range c.group {
		size += len(u.Data)
	}
	r := open(t, Config{Dir: dir, Segment: c.length, BytesMax: int64(3 * size)})
	c.send(t, r, noon, 10)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	var bytes int64
	for _, s := range list(t, dir, time.Time{}, time.Time{}) {
		bytes += s.Bytes
	}
	if limit := int64(5 * size); bytes > limit || bytes < int64(size) {
		t.Errorf("%d bytes are kept, one group has %d", bytes, size)
	}
}

// What is no recording is set aside and disturbs nobody.
func TestForeignFile(t *testing.T) {
	c, dir := newCamera(t), t.TempDir()
	path := filepath.Join(dir, noon.Format(nameLayout)+extension)
	if err := os.WriteFile(path, []byte("no recording"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := open(t, Config{Dir: dir})
	c.send(t, r, noon, 1)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if segments := list(t, dir, time.Time{}, time.Time{}); c.gaps(segments) != "start1 " {
		t.Errorf("segments %s", c.gaps(segments))
	}
	if _, err := os.Stat(path + damagedExt); err != nil {
		t.Error(err)
	}
}
