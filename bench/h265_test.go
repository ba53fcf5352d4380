package bench

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

// h265File makes a file of real H.265, 2 s of it.
func h265File(t *testing.T, format, params string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "picture.h265")
	runFFmpeg(t, "-f", "lavfi", "-i", "testsrc=size=320x240:rate=30", "-t", "2", "-pix_fmt", format, "-c:v", "libx265", "-preset", "fast",
		"-x265-params", "log-level=error:repeat-headers=1:keyint=15:"+params, "-f", "hevc", path)
	return path
}

// runFFmpeg runs it and returns what it wrote; the test is skipped where it is missing, or its encoder is.
func runFFmpeg(t *testing.T, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath("ffmpeg")
	if err == nil {
		encoders, _ := exec.CommandContext(t.Context(), tool, "-hide_banner", "-encoders").Output()
		if !bytes.Contains(encoders, []byte("libx265")) {
			err = errors.New("ffmpeg has no libx265")
		}
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI must not skip this: %v: apt install ffmpeg", err)
		}
		t.Skipf("NOT TESTED: %v: apt install ffmpeg", err)
	}
	out, err := exec.CommandContext(t.Context(), tool, append([]string{"-v", "error", "-y"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
	return string(out)
}

// annexBOf collects the pictures of an H.265 stream as they come.
type annexBOf struct {
	mu   sync.Mutex
	nals codecs.H265Depacketizer
	data []byte
}

func (a *annexBOf) take(p *rtp.Packet) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if part, err := a.nals.Unmarshal(bytes.Clone(p.Payload)); err == nil {
		a.data = append(a.data, part...)
	}
}

// H.265 goes to the viewer that offers it, decodes without a fault, and the viewer without it is refused
// with a reason that it can read.
func TestH265GoesToThoseWhoOfferIt(t *testing.T) {
	source, err := media.NewFile(messages.H265, h265File(t, "yuv420p", "bframes=0"), 30)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := startWorld(t, ctx, WorldConfig{Source: source})
	var got annexBOf
	cfg := w.Viewer(1, "modern")
	cfg.H265, cfg.OnVideo = true, got.take
	modern, err := NewViewer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	watching, leave := context.WithCancel(ctx)
	defer leave()
	ended := make(chan error, 1)
	go func() { ended <- modern.Run(watching) }()

	old, err := NewViewer(w.Viewer(2, "old"))
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Run(ctx); !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "the stream is H265") {
		t.Fatalf("the viewer without H.265 ended with %v", err)
	}

	await(t, ctx, func() bool { return modern.Progress().Pictures >= 60 }, "60 pictures of H.265")
	leave()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if row := modern.Row(); !row.OK() || row.PacketsLost > 0 {
		t.Errorf("error %q, %d packets lost", row.Error, row.PacketsLost)
	}
	path := filepath.Join(t.TempDir(), "received.h265")
	if err := os.WriteFile(path, got.data, 0o600); err != nil {
		t.Fatal(err)
	}
	if said := runFFmpeg(t, "-xerror", "-f", "hevc", "-i", path, "-f", "null", "-"); said != "" {
		t.Errorf("a decoder complains of what came: %s", said)
	}
}

// What no viewer can play is refused before anybody waits for it, with the way out.
func TestH265ThatCannotBePlayed(t *testing.T) {
	for _, c := range []struct{ format, params, remedy string }{
		{"yuv420p", "bframes=3", "turn them off (x265enc: option-string=bframes=0"},
		{"yuv420p10le", "bframes=0", "encode 8-bit 4:2:0 as main profile"},
		{"yuv444p", "bframes=0", "encode 8-bit 4:2:0 as main profile"},
	} {
		if _, err := media.NewFile(messages.H265, h265File(t, c.format, c.params), 30); err == nil || !strings.Contains(err.Error(), c.remedy) {
			t.Errorf("%s, %s: %v, want %q", c.format, c.params, err, c.remedy)
		}
	}
}
