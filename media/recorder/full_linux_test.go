package recorder

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// On a disk that is full the oldest segments make room; what is kept is whole.
func TestDiskFull(t *testing.T) {
	c, dir := newCamera(t), t.TempDir()
	size := 0
	for _, u := range c.group {
		size += len(u.Data)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", 4*size)); err != nil {
		t.Skipf("NOT TESTED: a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	r := open(t, Config{Dir: dir, Segment: c.length})
	ends := c.send(t, r, noon, 12)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	segments := list(t, dir, time.Time{}, time.Time{})
	judge(t, segments)
	s := r.Stats()
	if len(segments) < 2 || s.Removed == 0 || s.Dropped != 0 {
		t.Errorf("%d segments, %+v", len(segments), s)
	}
	if newest := segments[len(segments)-1]; ends.Sub(newest.End) > time.Second {
		t.Errorf("the newest second is missing: %v", ends.Sub(newest.End))
	}

	// With nothing left to remove units are dropped, and the recording goes on once there is room.
	for _, s := range segments {
		if err := os.Remove(s.Path); err != nil {
			t.Fatal(err)
		}
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4*size), 0o600); err != nil && !full(err) {
		t.Fatal(err)
	}
	r = open(t, Config{Dir: dir, Segment: c.length})
	ends = c.send(t, r, ends, 1)
	if s := r.Stats(); s.Dropped == 0 || len(list(t, dir, time.Time{}, time.Time{})) != 0 {
		t.Errorf("without room: %+v", s)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	c.send(t, r, ends, 1)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	segments = list(t, dir, time.Time{}, time.Time{})
	judge(t, segments)
	if got := c.gaps(segments); got != GapDisk+"1 " {
		t.Errorf("segments %s", got)
	}
}
