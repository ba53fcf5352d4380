package media

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// spoken is the sample's sound as packets of one talk.
func spoken(t *testing.T, n int) []messages.Sound {
	t.Helper()
	packets, err := splitOpus(sampleOgg)
	if err != nil {
		t.Fatal(err)
	}
	var list []messages.Sound
	for i, data := range packets[:n] {
		list = append(list, messages.Sound{Sequence: uint16(65500 + i), Timestamp: uint32(i*opusFrame) - 5000, Data: data})
	}
	return list
}

func say(t *testing.T, sink Sink, packets []messages.Sound) (written int) {
	t.Helper()
	talk, err := sink.Open(t.Context(), "somebody")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		ok, err := talk.Write(p)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			written++
		}
	}
	if err := talk.Close(); err != nil {
		t.Fatal(err)
	}
	return written
}

// duration has ffprobe judge an Ogg file.
func duration(t *testing.T, path string) float64 {
	t.Helper()
	ffprobe, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Skip("ffprobe is missing")
	}
	out, err := exec.Command(ffprobe, "-v", "error", "-of", "json", "-show_format", "-show_streams", path).CombinedOutput()
	var seen struct {
		Streams []struct {
			Codec string `json:"codec_name"`
		}
		Format struct{ Duration string }
	}
	if err != nil || json.Unmarshal(out, &seen) != nil || len(seen.Streams) != 1 || seen.Streams[0].Codec != "opus" {
		t.Fatalf("ffprobe: %v: %s", err, out)
	}
	seconds, err := strconv.ParseFloat(seen.Format.Duration, 64)
	if err != nil {
		t.Fatal(err)
	}
	return seconds
}

// What is lost is filled, what comes late or twice is left out: the file lasts as long as the talk did.
func TestFileSinkWritesOggOpus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "talk.ogg")
	sink, err := NewFileSink(path)
	if err != nil {
		t.Fatal(err)
	}
	packets := spoken(t, 100)
	heard := append(packets[:40:40], packets[60:]...)    // 400 ms are lost
	heard = append(heard, packets[50], packets[99])      // late, twice
	heard = append(heard, messages.Sound{Sequence: 200}) // nothing in it
	if n := say(t, sink, heard); n != 80 {
		t.Errorf("%d packets written, want 80", n)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opus, err := splitOpus(text)
	if err != nil || len(opus) != 100 || !bytes.Equal(opus[99], packets[99].Data) || len(opus[50]) != 1 {
		t.Fatalf("%d packets in the file, want 100 with 20 of one byte: %v", len(opus), err)
	}
	if got := duration(t, path); got < 1.85 || got > 2.01 { // less the pre-skip of 80 ms
		t.Errorf("it lasts %v s, want 2 s", got)
	}
}

func TestFileSinkKeepsEarlierTalks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "talk.ogg")
	sink, err := NewFileSink(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"talk-notes.ogg", "other.ogg"} {
		if err := os.WriteFile(filepath.Join(dir, other), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := range talkFilesMax + 3 {
		say(t, sink, spoken(t, 1))
		at := begin.Add(time.Duration(i) * time.Second)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != talkFilesMax+3 { // the newest and two of others
		t.Fatalf("%d files, want %d", len(names), talkFilesMax+3)
	}
	if _, err := os.Stat(filepath.Join(dir, "talk-20260102T030406.000Z.ogg")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the second talk is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "talk-20260102T030407.000Z.ogg")); err != nil {
		t.Errorf("the third talk is not there: %v", err)
	}
}

func TestFileSinkRefusesWhatItCannotWrite(t *testing.T) {
	if _, err := NewFileSink(filepath.Join(t.TempDir(), "missing", "talk.ogg")); err == nil {
		t.Error("a missing folder is taken")
	}
	sink, err := NewFileSink(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Open(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a folder is taken for a file: %v", err)
	}
}

// A program gets the whole stream, its end among it, and is waited for.
func TestCommandSinkFeedsAProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "copy.ogg")
	say(t, NewCommandSink([]string{"/bin/sh", "-c", "cat > " + path + "; echo bye >&2"}, nil), spoken(t, 50))
	if got := duration(t, path); got < 0.85 || got > 1.01 {
		t.Errorf("it lasts %v s, want 1 s", got)
	}
}

func TestCommandSinkTellsOfFailure(t *testing.T) {
	talk, err := NewCommandSink([]string{"/bin/sh", "-c", "echo no speaker >&2; exit 3"}, nil).Open(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := talk.Close(); err == nil || !strings.Contains(fmt.Sprint(err), "exit status 3, its last words: no speaker") {
		t.Errorf("got %v", err)
	}
	if _, err := NewCommandSink([]string{"/nonexistent/program"}, nil).Open(t.Context(), "x"); err == nil {
		t.Error("a program that is not there starts")
	}
}

// A program that does not read is ended with the run.
func TestCommandSinkEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	talk, err := NewCommandSink([]string{"/bin/sh", "-c", "sleep 600 & sleep 600"}, nil).Open(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := talk.Close(); err == nil {
		t.Error("a program that was ended has ended well")
	}
}

func TestOpusSamples(t *testing.T) {
	for _, c := range []struct {
		packet []byte
		want   int
	}{
		{nil, 0}, {[]byte{0}, 480}, {[]byte{1 << 3}, 960}, {[]byte{3 << 3}, 2880}, {[]byte{12 << 3}, 480}, {[]byte{15 << 3}, 960},
		{[]byte{16 << 3}, 120}, {[]byte{31 << 3}, 960}, {[]byte{31<<3 | 1}, 1920}, {[]byte{3}, 0}, {[]byte{31<<3 | 3, 6}, 5760},
		{[]byte{31<<3 | 3, 7}, 0}, {[]byte{31<<3 | 3, 0}, 0},
	} {
		if got := opusSamples(c.packet); got != c.want {
			t.Errorf("% x has %d samples, want %d", c.packet, got, c.want)
		}
	}
}

func TestRunHook(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hidden")
	status, out, err := RunHook(t.Context(), []string{"/bin/sh", "-c", `echo "$1:$WHO:$AWS_SECRET_ACCESS_KEY"; exit 4`, "sh", "a;b c"}, []string{"WHO=me"}, 8)
	if status != 4 || out != "a;b c:me" || err != nil {
		t.Errorf("status %d, output %q, error %v", status, out, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := RunHook(ctx, []string{"/bin/sh", "-c", "sleep 600 & sleep 600"}, nil, 8); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a hook that does not end: %v", err)
	}
	if _, _, err := RunHook(t.Context(), []string{"/nonexistent/program"}, nil, 8); err == nil {
		t.Error("a program that is not there runs")
	}
}
