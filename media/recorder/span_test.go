package recorder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

const outage = 7 * time.Second

// interrupted records two segments, misses some seconds, and records two more.
func (c *camera) interrupted(t *testing.T, dir string) (ends time.Time) {
	t.Helper()
	r := open(t, Config{Dir: dir, Segment: 2 * c.length})
	ends = c.send(t, r, noon, 4)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, Config{Dir: dir, Segment: 2 * c.length})
	ends = c.send(t, r, ends.Add(outage), 3)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return ends
}

func span(t *testing.T, dir string, from, to time.Time, format string) (*Span, []byte) {
	t.Helper()
	s, err := new(Library).Open(dir, from, to, format)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	b, err := io.ReadAll(s)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != s.Bytes() {
		t.Fatalf("%d bytes were read, %d announced", len(b), s.Bytes())
	}
	return s, b
}

// track is what ffprobe says of a track's packets.
type track struct {
	packets        int
	first, last    float64 // s
	longest, until float64 // between two of them, and when it ends
}

// decoded lets ffmpeg decode a file, which must find nothing to say, and ffprobe list its packets.
func decoded(t *testing.T, name string, file []byte) (video, audio track) {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("NOT TESTED: ffmpeg is not installed")
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ffmpeg", "-v", "warning", "-xerror", "-i", path, "-f", "null", "-").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("ffmpeg on %s: %v %s", name, err, out)
	}
	out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "packet=codec_type,pts_time", "-of", "json", path).Output()
	var found struct {
		Packets []struct {
			Kind string `json:"codec_type"`
			PTS  string `json:"pts_time"`
		} `json:"packets"`
	}
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range found.Packets {
		at, err := strconv.ParseFloat(p.PTS, 64)
		if err != nil {
			t.Fatal(err)
		}
		of := &video
		if p.Kind == "audio" {
			of = &audio
		}
		if of.packets == 0 {
			of.first = at
		} else if since := at - of.last; since > of.longest {
			of.longest, of.until = since, at
		}
		of.packets, of.last = of.packets+1, at
	}
	return video, audio
}

func near(a, b float64) bool { return math.Abs(a-b) < 0.05 }

// A span over segments and a gap is one file that plays, in both containers, and its times are those of the
// recording.
func TestSpanKeepsTheTimesOfTheRecording(t *testing.T) {
	c, dir := newCamera(t), t.TempDir()
	ends := c.interrupted(t, dir)
	group := c.length.Seconds()
	for _, format := range []string{Matroska, MP4} {
		s, file := span(t, dir, time.Time{}, time.Time{}, format)
		video, audio := decoded(t, "whole."+format, file)
		t.Logf("%s, %d bytes, %s: video %+v audio %+v", format, len(file), s.MediaType, video, audio)
		if video.packets != 7*pictures(c) || !near(video.longest, outage.Seconds()+1./30) || !near(video.until, 4*group+outage.Seconds()) {
			t.Errorf("%s: video %+v", format, video)
		}
		if !near(audio.longest, outage.Seconds()+0.02) || !near(video.last, ends.Sub(noon).Seconds()-1./30) || !near(audio.last, video.last) {
			t.Errorf("%s: audio %+v", format, audio)
		}
		if !s.Start.Equal(noon) || !near(s.End.Sub(noon).Seconds(), video.last) {
			t.Errorf("%s: from %v to %v", format, s.Start, s.End)
		}
	}
}

func pictures(c *camera) (n int) {
	for _, u := range c.group {
		if u.Track == messages.Video {
			n++
		}
	}
	return n
}

// A part begins with the key frame at or before its beginning and ends within a cluster of its end.
func TestSpanBeginsWithAKeyFrame(t *testing.T) {
	c, dir := newCamera(t), t.TempDir()
	c.interrupted(t, dir)
	inGap := noon.Add(4*c.length + outage/2)
	for _, at := range []struct {
		name            string
		from, to        time.Time
		begins, seconds float64 // after noon
	}{
		{"inside", noon.Add(c.length * 3 / 2), noon.Add(c.length * 5 / 2), 1, 1.5},
		{"over the gap", noon.Add(3 * c.length), inGap.Add(outage/2 + c.length), 3, 2 + outage.Seconds()/c.length.Seconds()},
		{"from the gap", inGap, time.Time{}, 4 + outage.Seconds()/c.length.Seconds(), 3},
	} {
		for _, format := range []string{Matroska, MP4} {
			s, file := span(t, dir, at.from, at.to, format)
			video, audio := decoded(t, "part."+format, file)
			group := c.length.Seconds()
			if begins := s.Start.Sub(noon).Seconds(); !near(begins, at.begins*group) || !near(video.first, 0) || audio.first > 0.05 {
				t.Errorf("%s, %s: begins at %v, video %+v audio %+v", at.name, format, begins, video, audio)
			}
			if over := video.last - at.seconds*group; over < -0.1 || over > 0.55 {
				t.Errorf("%s, %s: it is %v s long, want %v", at.name, format, video.last, at.seconds*group)
			}
		}
	}
}

// Whatever is read first, and however much: the bytes are those of the whole.
func TestSpanIsTheSameInPieces(t *testing.T) {
	c, dir := newCamera(t), t.TempDir()
	c.interrupted(t, dir)
	for _, format := range []string{Matroska, MP4} {
		s, file := span(t, dir, noon.Add(c.length), time.Time{}, format)
		random := rand.New(rand.NewPCG(1, 2))
		for range 200 {
			from := random.Int64N(s.Bytes())
			part := make([]byte, 1+random.Int64N(min(s.Bytes()-from, 100_000)))
			if _, err := s.Seek(from, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(s, part); err != nil || !bytes.Equal(part, file[from:from+int64(len(part))]) {
				t.Fatalf("%s: %d bytes at %d differ (%v)", format, len(part), from, err)
			}
		}
	}
}

// What is being written is read as far as it is on disk; the tag tells that the file has grown.
func TestSpanOfWhatIsWritten(t *testing.T) {
	c, dir := newCamera(t), t.TempDir()
	r := open(t, Config{Dir: dir})
	ends := c.send(t, r, noon, 2)
	first, file := span(t, dir, time.Time{}, time.Time{}, MP4)
	if video, _ := decoded(t, "first.mp4", file); video.packets < pictures(c) {
		t.Errorf("%d pictures", video.packets)
	}
	fixed, _ := span(t, dir, noon, noon.Add(c.length), MP4)
	c.send(t, r, ends, 1)
	longer, _ := span(t, dir, time.Time{}, time.Time{}, MP4)
	again, _ := span(t, dir, noon, noon.Add(c.length), MP4)
	if first.Tag == longer.Tag || fixed.Tag != again.Tag || fixed.Bytes() != again.Bytes() {
		t.Error("the tag does not tell what has changed")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSpanRefuses(t *testing.T) {
	c, dir := newCamera(t), t.TempDir()
	ends := c.interrupted(t, dir)
	var l Library
	for name, from := range map[string]time.Time{"behind": ends.Add(time.Second), "gone": {}} {
		folder := dir
		if name == "gone" {
			folder = filepath.Join(dir, "nowhere")
		}
		if _, err := l.Open(folder, from, time.Time{}, MP4); !errors.Is(err, ErrNothing) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := open(t, Config{Dir: dir})
	c.send(t, r, ends.Add(SpanMax), 1)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Open(dir, noon, time.Time{}, MP4); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
	s, err := l.Open(dir, noon, ends, MP4)
	if err != nil {
		t.Fatal(err)
	}
	for _, segment := range list(t, dir, time.Time{}, time.Time{}) {
		if err := os.Remove(segment.Path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadAll(s); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a removed segment: %v", err)
	}
}

// BenchmarkSpan reads an hour: first its index, and then ranges of a mebibyte whose index is known.
func BenchmarkSpan(b *testing.B) {
	dir := b.TempDir()
	c := newCamera(b)
	r := open(b, Config{Dir: dir})
	c.send(b, r, noon, int(time.Hour/c.length))
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
	read := func(b *testing.B, l *Library, n int64) {
		s, err := l.Open(dir, noon, time.Time{}, MP4)
		if err == nil {
			_, err = io.CopyN(io.Discard, s, min(n, s.Bytes()))
		}
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(min(n, s.Bytes()))
		_ = s.Close()
	}
	for name, n := range map[string]int64{"all": math.MaxInt64, "range": 1 << 20} {
		for _, state := range []string{"cold", "warm"} {
			b.Run(fmt.Sprint(name, "-", state), func(b *testing.B) {
				b.ReportAllocs()
				l := &Library{}
				for b.Loop() {
					if state == "cold" {
						l = &Library{}
					}
					read(b, l, n)
				}
			})
		}
	}
}
