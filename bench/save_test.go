package bench

import (
	"context"
	"io"
	"path/filepath"
	"testing"
	"time"
)

// What one viewer got plays by itself: ffmpeg decodes it without a word, sound and picture begin together.
func TestLoadSaves(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	path := filepath.Join(t.TempDir(), "out.mkv")
	r, err := Load(ctx, LoadConfig{Viewers: 1, Duration: 5 * time.Second, Embedded: true, Source: "sample", Save: path}, io.Discard)
	if err != nil || !r.Pass {
		t.Fatal(err, r.Failures)
	}
	video, audio := probe(t, path)
	t.Logf("video %d packets to %.3f s, audio %d packets from %.3f to %.3f s", video.packets, video.last, audio.packets, audio.first, audio.last)
	if video.packets < 120 || audio.packets < 200 {
		t.Errorf("%d pictures and %d packets of sound of five seconds", video.packets, audio.packets)
	}
	if skew := audio.last - video.last; skew < -0.1 || skew > 0.1 || audio.first > 0.1 {
		t.Errorf("sound from %.3f to %.3f s, pictures to %.3f s", audio.first, audio.last, video.last)
	}
	if _, err := Load(ctx, LoadConfig{Viewers: 2, Duration: time.Second, Embedded: true, Source: "sample", Save: path}, io.Discard); err == nil {
		t.Error("two viewers share one file")
	}
}
