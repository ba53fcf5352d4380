package bench

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/bench/ffmpeg"
	"github.com/heliograph-rtc/heliograph/media/recorder"
)

// recordings lists the recording of the only stream in a data directory.
func recordings(t *testing.T, dir string) []recorder.Segment {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(dir, "recordings", "*"))
	if err != nil || len(folders) > 1 {
		t.Fatalf("recordings in %v: %v", folders, err)
	}
	if len(folders) == 0 {
		return nil
	}
	segments, err := recorder.List(folders[0], time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return segments
}

// probed is what ffprobe says of the packets of a track.
type probed struct {
	packets     int
	first, last float64 // s
}

// probe lets ffmpeg decode a file, which must have nothing to say, and ffprobe count.
func probe(t *testing.T, path string) (video, audio probed) {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("NOT TESTED: ffmpeg is not installed")
	}
	if err := ffmpeg.Decode(t.Context(), path); err != nil {
		t.Error(err)
	}
	packets, err := ffmpeg.Packets(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		track, at := &audio, p.At.Seconds()
		if p.Video {
			track = &video
		}
		if track.packets == 0 {
			track.first = at
		}
		track.packets, track.last = track.packets+1, max(track.last, at)
	}
	return video, audio
}

// What the device stores is recorded: segments that follow on one another and that ffmpeg decodes.
func TestStorageIsRecorded(t *testing.T) {
	dir := t.TempDir()
	storageWorld(t, func(c *service.Config) { c.Dir, c.Segment = dir, 2*time.Second }, nil)
	asks(t, time.Minute, func() error {
		if n := len(recordings(t, dir)); n < 4 {
			return fmt.Errorf("%d segments are recorded, want 4", n)
		}
		return nil
	})
	segments := recordings(t, dir)
	for n, s := range segments[:3] {
		video, audio := probe(t, s.Path)
		t.Logf("%s: %v, video %d packets %.3f to %.3f s, audio %d packets %.3f to %.3f s, gap %q",
			filepath.Base(s.Path), s.End.Sub(s.Start), video.packets, video.first, video.last, audio.packets, audio.first, audio.last, s.Gap)
		if video.packets != 60 || n > 0 && (audio.packets < 98 || audio.packets > 102) {
			t.Errorf("segment %d holds %d pictures and %d packets of sound, want 60 and 100", n, video.packets, audio.packets)
		}
		if n > 0 && (s.Gap != recorder.GapNone || s.Start.Sub(segments[n-1].End).Abs() > 100*time.Millisecond) {
			t.Errorf("gap %q of %v before segment %d", s.Gap, s.Start.Sub(segments[n-1].End), n)
		}
	}
}
