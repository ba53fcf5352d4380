package fmp4_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/media/fmp4"
	"github.com/heliograph-rtc/heliograph/media/matroska"
	"github.com/heliograph-rtc/heliograph/messages"
)

const frame = time.Second / 25

// H.265 too, which no storage session takes in: ffmpeg encodes a picture that moves, and decodes what is made of it.
func TestH265(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("NOT TESTED: ffmpeg is not installed")
	}
	dir := t.TempDir()
	raw := filepath.Join(dir, "raw.h265")
	out, err := exec.Command(ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=2", "-pix_fmt", "yuv420p",
		"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:bframes=0:keyint=25:repeat-headers=1:aud=1", raw).CombinedOutput()
	if err != nil {
		t.Skipf("NOT TESTED: ffmpeg does not encode H.265: %s", out)
	}
	stream, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	units := strings.Split(string(stream), "\x00\x00\x00\x01\x46\x01") // access unit delimiters
	if len(units) != 51 {
		t.Fatalf("%d access units", len(units)-1)
	}
	track, err := matroska.VideoTrack(messages.H265, unit(units[1]))
	if err != nil {
		t.Fatal(err)
	}
	file, err := fmp4.Init([]matroska.Track{track}, time.Unix(0, 0), 2*time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < 50; n += 10 {
		var blocks []matroska.Block
		var data int64
		for k, text := range units[n+1 : n+11] {
			b := matroska.Block{
				Track: matroska.VideoNumber, Time: time.Duration(n+k) * frame, Key: media.KeyFrame(messages.H265, unit(text)),
				Data: matroska.Sample(messages.H265, unit(text)),
			}
			blocks, data = append(blocks, b), data+int64(len(b.Data))
		}
		before := len(file)
		file = fmp4.Append(file, uint32(n/10+1), blocks)
		if grown := int64(len(file) - before); grown != fmp4.FragmentBytes(10, 0, data) {
			t.Errorf("a fragment has %d bytes, announced were %d", grown, fmp4.FragmentBytes(10, 0, data))
		}
	}
	path := filepath.Join(dir, "h265.mp4")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = exec.Command(ffmpeg, "-v", "info", "-xerror", "-nostats", "-i", path, "-f", "null", "-").CombinedOutput()
	if err != nil || !regexp.MustCompile(`hevc \(Main\) \(hvc1`).Match(out) || !regexp.MustCompile(`frame= *50\b`).Match(out) {
		t.Errorf("ffmpeg: %v\n%s", err, out)
	}
	if got := fmp4.MediaType([]matroska.Track{track}); !regexp.MustCompile(`^video/mp4; codecs="hvc1\.1\.6\.L\d+\.90"$`).MatchString(got) {
		t.Error(got)
	}
}

func unit(text string) []byte { return []byte("\x00\x00\x00\x01\x46\x01" + text) }

// A track that cannot be described is refused, and not read beyond its end.
func TestInitRefuses(t *testing.T) {
	for _, track := range []matroska.Track{{}, {Codec: messages.H264, Private: []byte{1}}, {Codec: messages.Opus}, {Codec: messages.H265, Private: make([]byte, 10)}} {
		if _, err := fmp4.Init([]matroska.Track{track}, time.Now(), 0, nil); err == nil {
			t.Errorf("%+v was taken", track)
		}
	}
}
