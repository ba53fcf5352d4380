package matroska

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

var date = time.Date(2026, 11, 27, 3, 4, 5, 678_000_000, time.UTC)

// sampleUnits returns the first units of the built-in sample.
func sampleUnits(t testing.TB, until time.Duration) []*messages.AccessUnit {
	t.Helper()
	sample, err := media.NewSample()
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	var units []*messages.AccessUnit
	err = sample.Run(context.Background(), func(u *messages.AccessUnit) error {
		if u.PTS >= until {
			return enough
		}
		units = append(units, u)
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	return units
}

func block(u *messages.AccessUnit) Block {
	if u.Track == messages.Audio {
		return Block{Track: AudioNumber, Time: u.PTS, Key: true, Data: u.Data}
	}
	return Block{Track: VideoNumber, Time: u.PTS, Key: u.KeyFrame, Data: Sample(u.Codec, u.Data)}
}

// write makes a file of units and leaves it unfinished.
func write(t testing.TB, path string, units []*messages.AccessUnit) (*os.File, *Writer) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	video, err := VideoTrack(messages.H264, units[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	if video.Width != 1280 || video.Height != 720 {
		t.Fatalf("the sample is %d x %d", video.Width, video.Height)
	}
	w, err := Create(file, Header{Tracks: []Track{video, AudioTrack()}, Date: date, Tags: map[string]string{"GAP": "loss"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		if err := w.Write(block(u)); err != nil {
			t.Fatal(err)
		}
	}
	return file, w
}

// check lets ffmpeg decode a file: it must find nothing to say.
func check(t *testing.T, path string) {
	t.Helper()
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	out, err := exec.Command(program, "-v", "error", "-xerror", "-i", path, "-f", "null", "-").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("ffmpeg on %s: %v %s", filepath.Base(path), err, out)
	}
}

func read(t *testing.T, path string) *Recording {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	rec, err := Read(file, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestRoundTrip(t *testing.T) {
	units := sampleUnits(t, 3*time.Second)
	path := filepath.Join(t.TempDir(), "a.mkv")
	file, w := write(t, path, units)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	rec := read(t, path)
	if !rec.Finished || !rec.Date.Equal(date) || !maps.Equal(rec.Tags, map[string]string{"GAP": "loss"}) || rec.Duration < 2900*time.Millisecond {
		t.Errorf("finished %v, date %v, tags %v, duration %v", rec.Finished, rec.Date, rec.Tags, rec.Duration)
	}
	if len(rec.Tracks) != 2 || rec.Tracks[0].Codec != messages.H264 || rec.Tracks[0].Width != 1280 || rec.Tracks[1].Codec != messages.Opus {
		t.Errorf("tracks %+v", rec.Tracks)
	}
	var got []Block
	for _, c := range rec.Clusters {
		if err := ReadCluster(file, c, func(b Block) error { got = append(got, b); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != len(units) {
		t.Fatalf("%d blocks of %d units", len(got), len(units))
	}
	for i, u := range units {
		want := block(u)
		if g := got[i]; g.Track != want.Track || g.Key != want.Key || !bytes.Equal(g.Data, want.Data) || g.Time != want.Time.Round(time.Millisecond) {
			t.Fatalf("block %d is %d %v %v, %d bytes", i, g.Track, g.Time, g.Key, len(g.Data))
		}
	}
	check(t, path)
}

// TestUnfinished: what a kill leaves plays as it is.
func TestUnfinished(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.mkv")
	_, w := write(t, path, sampleUnits(t, 3*time.Second))
	check(t, path)
	if rec := read(t, path); rec.Finished || len(rec.Clusters) < 5 || rec.End != w.Bytes() {
		t.Errorf("finished %v, %d clusters up to %d of %d", rec.Finished, len(rec.Clusters), rec.End, w.Bytes())
	}
}

// TestRecover cuts a file anywhere, also within its cues, and damages its last cluster.
func TestRecover(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.mkv")
	_, w := write(t, whole, sampleUnits(t, 3*time.Second))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	intact, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	clusters := read(t, whole).Clusters
	last := clusters[len(clusters)-1]
	cuts := []int64{clusters[0].Offset, clusters[0].Offset + 1, last.Offset, last.Offset + 3, last.Offset + last.Bytes - 3, last.Offset + last.Bytes}
	for n := clusters[0].Offset; n < int64(len(intact)); n += 30_011 {
		cuts = append(cuts, n)
	}
	for _, cut := range cuts {
		path := filepath.Join(dir, "cut.mkv")
		if err := os.WriteFile(path, append(slices.Clone(intact[:cut]), 0x1c, 0x53), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := Recover(file, cut+2)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		kept := 0
		for _, c := range clusters {
			if c.Offset+c.Bytes <= cut {
				kept++
			}
		}
		if again := read(t, path); !again.Finished || len(rec.Clusters) != kept || len(again.Clusters) != kept {
			t.Fatalf("cut at %d: finished %v, %d clusters then, %d now, %d were whole", cut, again.Finished, len(rec.Clusters), len(again.Clusters), kept)
		}
		file.Close()
		if kept == len(clusters) || kept == 2 {
			check(t, path)
		}
	}
	zeroed := slices.Clone(intact)
	clear(zeroed[last.Offset+clusterHeadBytes:])
	path := filepath.Join(dir, "zeroed.mkv")
	if err := os.WriteFile(path, zeroed, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rec, err := Recover(file, int64(len(zeroed)))
	if err != nil || len(rec.Clusters) != len(clusters)-1 {
		t.Fatalf("recovered %+v: %v", rec, err)
	}
	check(t, path)
}

// full refuses writes beyond its size, and writes a part of them first, as a full disk does.
type full struct {
	*os.File
	size int64
}

func (f *full) WriteAt(b []byte, at int64) (int, error) {
	if room := f.size - at; int64(len(b)) > room {
		n, _ := f.File.WriteAt(b[:max(0, room)], at)
		return n, errors.New("no space left on device")
	}
	return f.File.WriteAt(b, at)
}

func TestFullDisk(t *testing.T) {
	units := sampleUnits(t, 3*time.Second)
	path := filepath.Join(t.TempDir(), "a.mkv")
	inner, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	video, err := VideoTrack(messages.H264, units[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	file := &full{inner, 100_000}
	w, err := Create(file, Header{Tracks: []Track{video, AudioTrack()}, Date: date})
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, u := range units {
		for w.Write(block(u)) != nil {
			refused++
			if info, err := inner.Stat(); err != nil || info.Size() != w.Bytes() {
				t.Fatalf("%d bytes are whole, the file has %v (%v)", w.Bytes(), info.Size(), err)
			}
			file.size += 50_000
		}
	}
	if refused == 0 {
		t.Fatal("the disk was never full")
	}
	file.size = 1 << 30
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for _, c := range read(t, path).Clusters {
		if err := ReadCluster(inner, c, func(Block) error { blocks++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if blocks != len(units) {
		t.Errorf("%d blocks of %d units: a retry lost some", blocks, len(units))
	}
	check(t, path)
}

// bytesFile is a file in memory.
type bytesFile struct{ b []byte }

func (f *bytesFile) ReadAt(p []byte, at int64) (int, error) {
	return bytes.NewReader(f.b).ReadAt(p, at)
}
func (f *bytesFile) Truncate(n int64) error { f.b = f.b[:n]; return nil }
func (f *bytesFile) WriteAt(p []byte, at int64) (int, error) {
	if end := at + int64(len(p)); end > int64(len(f.b)) {
		f.b = append(f.b, make([]byte, end-int64(len(f.b)))...)
	}
	return copy(f.b[at:], p), nil
}

// FuzzRead: whatever stands in a file, it is read without a panic, and what Recover makes of it is finished.
func FuzzRead(f *testing.F) {
	path := filepath.Join(f.TempDir(), "a.mkv")
	_, w := write(f, path, sampleUnits(f, 700*time.Millisecond)[:12])
	open, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	closed, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(open)
	f.Add(closed)
	f.Add(closed[:len(closed)/2])
	segment := bytes.Index(open, appendID(nil, idSegment)) + 4
	f.Add(slices.Replace(slices.Clone(open), segment, segment+8, 0xff)) // its size is unknown, too, but has one byte
	f.Fuzz(func(t *testing.T, b []byte) {
		file := &bytesFile{slices.Clone(b)}
		if rec, err := Read(file, int64(len(b))); err == nil {
			for _, c := range rec.Clusters {
				_ = ReadCluster(file, c, func(Block) error { return nil })
			}
		}
		if _, err := Recover(file, int64(len(b))); err != nil {
			return
		}
		if rec, err := Read(file, int64(len(file.b))); err != nil || !rec.Finished {
			t.Fatalf("recovered, and then %v", err)
		}
	})
}
