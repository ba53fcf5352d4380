package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/media/recorder"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/api"
)

var recordedAt = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// keepSample records two seconds of the built-in sample for a stream, twice, with a gap of a minute.
func (r *rig) keepSample(dir, streamARN string) {
	r.Helper()
	sample, err := media.NewSample()
	if err != nil {
		r.Fatal(err)
	}
	enough := errors.New("enough")
	var group []*messages.AccessUnit
	err = sample.Run(r.ctx, func(u *messages.AccessUnit) error {
		if u.Track == messages.Video && u.KeyFrame && len(group) > 0 {
			return enough
		}
		group = append(group, u)
		return nil
	})
	if !errors.Is(err, enough) {
		r.Fatal(err)
	}
	for _, begins := range []time.Time{recordedAt, recordedAt.Add(time.Minute)} {
		rec, err := recorder.Open(recorder.Config{Dir: recordingDir(dir, streamARN)})
		if err != nil {
			r.Fatal(err)
		}
		for _, u := range group {
			shot := *u
			shot.Captured = begins.Add(u.PTS)
			err = errors.Join(err, rec.Write(&shot, false))
		}
		if err := errors.Join(err, rec.Close()); err != nil {
			r.Fatal(err)
		}
	}
}

// recordingRig is a service with a stream "garden" that holds a recording, and channels with and without one.
func recordingRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	cfg.Dir = t.TempDir()
	r := start(t, cfg)
	channel, stream := r.channel("gate"), r.stream("garden", 1)
	if err := r.mapTo(channel, stream, types.MediaStorageConfigurationStatusEnabled); err != nil {
		t.Fatal(err)
	}
	r.channel("bare")
	r.stream("empty", 1)
	r.keepSample(cfg.Dir, stream)
	return r
}

func (r *rig) content(resp *http.Response, want int) []byte {
	r.Helper()
	b, err := io.ReadAll(r.status(resp, want).Body)
	if err != nil {
		r.Fatal(err)
	}
	return b
}

func TestRecordingsAreListed(t *testing.T) {
	r := recordingRig(t, Config{})
	for query, want := range map[string]int{"": 1, "?channel=gate": 1, "?channel=bare": 0} {
		var all struct{ Recordings []api.Recording }
		if err := json.Unmarshal(r.content(r.whep("GET", "/recordings"+query, ""), 200), &all); err != nil || all.Recordings == nil || len(all.Recordings) != want {
			t.Fatalf("%s: %v %+v", query, err, all)
		}
		if want == 0 {
			continue
		}
		if got := all.Recordings[0]; got.Stream != "garden" || got.Channel != "gate" || !got.Start.Equal(recordedAt) || got.End.Sub(recordedAt).Round(time.Second) != 62*time.Second {
			t.Errorf("%s: %+v", query, got)
		}
	}
	var found api.RecordedSegments
	if err := json.Unmarshal(r.content(r.whep("GET", "/recordings/garden", ""), 200), &found); err != nil || len(found.Segments) != 2 || found.More {
		t.Fatalf("%v %+v", err, found)
	}
	if s := found.Segments[1]; !s.Start.Equal(recordedAt.Add(time.Minute)) || s.Gap != recorder.GapStart || s.Bytes < 10_000 {
		t.Errorf("%+v", s)
	}
	if err := json.Unmarshal(r.content(r.whep("GET", "/recordings/empty", ""), 200), &found); err != nil || len(found.Segments) != 0 {
		t.Errorf("%v %+v", err, found)
	}
}

// A download is the same in ranges as it is whole, and ffmpeg decodes it.
func TestRecordingIsDownloaded(t *testing.T) {
	r := recordingRig(t, Config{})
	for format, kind := range map[string]string{"mkv": "video/matroska", "mp4": "video/mp4"} {
		path := "/recordings/garden/span." + format
		resp := r.whep("GET", path, "")
		whole := r.content(resp, 200)
		if got, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || got != kind || resp.ContentLength != int64(len(whole)) {
			t.Errorf("%s: %v, %d of %d bytes", format, resp.Header, len(whole), resp.ContentLength)
		}
		if got := resp.Header.Get("Span-Start"); got != "2026-11-27T12:00:00Z" {
			t.Errorf("%s begins at %s", format, got)
		}
		for _, at := range []struct {
			header     string
			from, to   int
			conditions []string
			status     int
		}{
			{"bytes=0-99", 0, 100, nil, 206},
			{"bytes=5000-70000", 5000, 70001, nil, 206},
			{fmt.Sprintf("bytes=%d-", len(whole)-10), len(whole) - 10, len(whole), nil, 206},
			{"bytes=-1000", len(whole) - 1000, len(whole), nil, 206},
			{"bytes=1-2", 1, 3, []string{"If-Range", resp.Header.Get("ETag")}, 206},
			{"bytes=1-2", 0, len(whole), []string{"If-Range", `"another"`}, 200},
		} {
			part := r.whep("GET", path, "", append(at.conditions, "Range", at.header)...)
			if b := r.content(part, at.status); !bytes.Equal(b, whole[at.from:at.to]) || part.ContentLength != int64(len(b)) {
				t.Errorf("%s, %s: %d bytes differ", format, at.header, len(b))
			}
			if want := fmt.Sprintf("bytes %d-%d/%d", at.from, at.to-1, len(whole)); at.status == 206 && part.Header.Get("Content-Range") != want {
				t.Errorf("%s, %s: %s, want %s", format, at.header, part.Header.Get("Content-Range"), want)
			}
		}
		r.status(r.whep("GET", path, "", "Range", fmt.Sprintf("bytes=%d-", len(whole))), 416)
		r.status(r.whep("GET", path, "", "If-None-Match", resp.Header.Get("ETag")), 304)
		if head := r.status(r.whep("HEAD", path, ""), 200); head.ContentLength != int64(len(whole)) {
			t.Errorf("%s: HEAD announces %d bytes", format, head.ContentLength)
		}
		r.ffmpegAndCurl(path, whole)
	}
}

// ffmpegAndCurl lets both fetch what was downloaded: one decodes it, the other takes a range.
func (r *rig) ffmpegAndCurl(path string, whole []byte) {
	r.Helper()
	judges := map[string][]string{
		"ffmpeg": {"-v", "warning", "-xerror", "-i", r.LocalURL + path, "-f", "null", "-"},
		"curl":   {"-sSf", "-r", "1000-200999", r.LocalURL + path},
	}
	for name, args := range judges {
		if _, err := exec.LookPath(name); err != nil {
			r.Logf("NOT TESTED: %s is not installed", name)
			continue
		}
		ctx, cancel := context.WithTimeout(r.ctx, testWait)
		defer cancel()
		command := exec.CommandContext(ctx, name, args...)
		command.Env = append(os.Environ(), "no_proxy=*")
		out, err := command.CombinedOutput()
		want := []byte(nil)
		if name == "curl" {
			want = whole[1000:201000]
		}
		if err != nil || !bytes.Equal(out, want) {
			r.Errorf("%s on %s: %v, %d bytes: %.300s", name, path, err, len(out), out)
		}
	}
}

func TestRecordingsAreGuarded(t *testing.T) {
	r := recordingRig(t, Config{WhepToken: "sesame"})
	outside := filepath.Join(r.TempDir(), "secret.mkv")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/recordings/nobody": 404, "/recordings/nobody/span.mp4": 404, "/recordings?channel=nobody": 404, "/recordings/empty/span.mkv": 404,
		"/recordings/garden/span.avi": 404, "/recordings/garden/": 404, "/recordings/garden/span.mp4/more": 404,
		"/recordings/garden/" + url.PathEscape("../../../") + "secret.mkv": 404, "/recordings/%2e%2e/span.mkv": 404, "/recordings/" + url.PathEscape(outside): 404,
		"/recordings/garden/span.mp4?from=yesterday": 400, "/recordings/garden?from=2026-11-27T12:00:00Z&to=2026-11-27T12:00:00Z": 400,
		"/recordings/garden/span.mp4?from=2026-11-27T13:00:00Z": 404,
	} {
		r.status(r.whep("GET", path, ""), want)
	}
	r.status(r.whep("POST", "/recordings", ""), 405)
	r.status(r.whep("GET", "/recordings", "", "Origin", "https://elsewhere.example"), 403)
	for _, path := range []string{"/recordings", "/recordings/garden", "/recordings/garden/span.mp4"} {
		r.status(r.whep("GET", r.PublicURL+path, ""), 401)
		r.status(r.whep("GET", r.PublicURL+path, "", "Authorization", "Bearer sesame"), 200)
	}
}

// A service that keeps nothing says so, and a day is too long for one file.
func TestRecordingsAreRefused(t *testing.T) {
	r := start(t, Config{})
	r.stream("garden", 1)
	if text := string(r.content(r.whep("GET", "/recordings/garden", ""), 404)); !strings.Contains(text, "nothing is recorded") {
		t.Error(text)
	}
	kept := recordingRig(t, Config{})
	arn, err := kept.door.ARN(kept.ctx, "stream", "garden")
	if err != nil {
		t.Fatal(err)
	}
	dir := recordingDir(kept.door.cfg.Dir, arn)
	segments, err := recorder.List(dir, time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	later := filepath.Join(dir, "20261128T120000.000000Z.mkv")
	if err := os.Rename(segments[1].Path, later); err != nil {
		t.Fatal(err)
	}
	if text := string(kept.content(kept.whep("GET", "/recordings/garden/span.mp4", ""), 400)); !strings.Contains(text, "6h0m0s") {
		t.Error(text)
	}
}
