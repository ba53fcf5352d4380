//go:build e2e && linux

package e2e

// The recording through everything that is delivered: device -> service -> files, with the service killed in
// between; ffprobe, ffmpeg and the browser judge.

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/bench/ffmpeg"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/media/matroska"
	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	recordedMin  = 6 * time.Second // before the kill, and after it
	downFor      = 3 * time.Second
	rejoinWithin = time.Minute
	missingSlack = time.Second
	skewMax      = 40 * time.Millisecond
	sampleLasts  = 10 * time.Second // it repeats
	yard         = "yard"           // the stream; its channel is ch-yard
)

// recordedSpan is a segment as /recordings tells of it.
type recordedSpan struct {
	Start, End time.Time
	Gap        string
}

// TestRecordingOutlivesAKill kills the service while it records. The device comes back by itself; what is missing is
// what the outage took; every file is whole; and the page plays it.
func TestRecordingOutlivesAKill(t *testing.T) {
	program(t, "ffmpeg")
	program(t, "ffprobe")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	programs := buildPrograms(t, ctx, "heliograph-server", "heliograph-device")
	server := newKillable(t, filepath.Join(programs, "heliograph-server"))
	server.start(t)
	about := server.about(t)
	storing(t, about, yard)
	runUntilEnd(t, deviceFor(server, filepath.Join(programs, "heliograph-device")))
	eventually(t, rejoinWithin, "some seconds are recorded", server.records(1, recordedMin))

	server.kill(t)
	killed := time.Now()
	<-time.After(downFor) // the outage is what is tested
	server.start(t)
	eventually(t, rejoinWithin, "the device stores again", server.takesIn)
	outage := time.Since(killed)
	eventually(t, rejoinWithin, "some seconds are recorded again", server.records(2, recordedMin))

	segments := server.segments(t)
	missing := segments[1].Start.Sub(segments[0].End)
	t.Logf("outage %v, missing %v, gap %q", outage.Round(time.Millisecond), missing.Round(time.Millisecond), segments[1].Gap)
	if (missing-outage).Abs() > missingSlack || segments[1].Gap == "" {
		t.Errorf("%v are missing (gap %q), the outage was %v", missing, segments[1].Gap, outage)
	}
	playRecording(t, server, segments)
	server.stop(t) // which finishes the last segment
	files, err := filepath.Glob(filepath.Join(server.dir, "recordings", "*", "*.mkv"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	sample := hashSample(t)
	for _, file := range files {
		judgeFile(t, file, sample)
	}
}

// playRecording watches by the page: the newest, then what was before the kill, over the gap.
func playRecording(t *testing.T, s *killable, segments []recordedSpan) {
	t.Helper()
	b := newBrowser(t)
	b.refusals = true // WHEP is refused where media is stored
	const state = `[window.heliograph?.state, document.getElementById("veil").innerText, window.heliograph?.segments, video.currentTime, video.readyState]`
	advances := func(name string) {
		t.Helper()
		b.holds(t, playWithin, `heliograph.state === "recorded" && video.getVideoPlaybackQuality().totalVideoFrames > 30 && video.videoWidth === 1280`, state)
		before := value[float64](t, b, "heliograph.recordedTime")
		b.holds(t, playWithin, fmt.Sprintf("heliograph.recordedTime > %f", before+2000), state)
		t.Logf("%s: %.0f frames decoded", name, value[float64](t, b, "video.getVideoPlaybackQuality().totalVideoFrames"))
	}
	b.do(t, chromedp.Navigate(s.localURL()+"/?channel=ch-"+yard))
	b.holds(t, playWithin, `window.heliograph?.state === "recorded"`, state)
	advances("live edge")
	b.holds(t, playWithin, `document.getElementById("timeline-live").getAttribute("aria-pressed") === "true" && Date.now() - heliograph.recordedTime < 12000`, state)

	b.do(t, chromedp.Focus(chromedp.CSS("#timeline")), chromedp.KeyEvent(kb.Home))
	b.holds(t, playWithin, fmt.Sprintf("heliograph.recordedTime !== null && heliograph.recordedTime < %d", segments[0].End.UnixMilli()), state)
	advances("beginning")
	shot := b.picture(t)
	keep(t, "recording.png", shot)
	b.showsPicture(t, shot, "#video")
	b.holds(t, playWithin, fmt.Sprintf("heliograph.recordedTime > %d", segments[1].Start.Add(time.Second).UnixMilli()), state) // over the gap
	b.do(t, chromedp.Click(chromedp.CSS("#theme")))
	b.holds(t, playWithin, `document.documentElement.dataset.theme === "dark" && document.getAnimations().length === 0`, `document.documentElement.dataset.theme`)
	keep(t, "recording-dark.png", b.picture(t))

	left := value[[]float64](t, b, `(() => { const r = document.getElementById("timeline-bars").firstChild.getBoundingClientRect(); return [r.left + 2, r.top + r.height / 2]; })()`)
	b.do(t, chromedp.MouseClickXY(left[0], left[1]))
	b.holds(t, playWithin, fmt.Sprintf("heliograph.recordedTime !== null && heliograph.recordedTime < %d", segments[0].End.UnixMilli()), state)
	b.do(t, chromedp.Click(chromedp.CSS("#timeline-live")))
	b.holds(t, playWithin, `heliograph.state === "recorded" && Date.now() - heliograph.recordedTime < 12000`, state)
}

// killable is a service in a process of its own, on ports that stay its own.
type killable struct {
	program, dir  string
	public, local string
	relay         string
	process       *exec.Cmd
}

func newKillable(t *testing.T, program string) *killable {
	t.Helper()
	return &killable{program: program, dir: t.TempDir(), public: freePort(t), local: freePort(t), relay: freePort(t)}
}

// freePort is one that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (k *killable) localURL() string { return "http://" + k.local }

func (k *killable) start(t *testing.T) {
	t.Helper()
	k.process = exec.Command(k.program, "--data-dir", k.dir, "--public", k.public, "--local", k.local, "--relay-udp", k.relay, "--relay-tcp", k.relay, "--log-level", "warn")
	runUntilEnd(t, k.process)
	eventually(t, startWithin, "the service is ready", func() error { return k.ask("/readyz", nil) })
}

// runUntilEnd runs a program until the test ends, if it does not end before. What it said is shown when the test has
// failed.
func runUntilEnd(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), said.String())
		}
	})
}

func (k *killable) kill(t *testing.T) {
	t.Helper()
	if err := k.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = k.process.Wait() // killed: the error says so
}

func (k *killable) stop(t *testing.T) {
	t.Helper()
	if err := errors.Join(k.process.Process.Signal(os.Interrupt), k.process.Wait()); err != nil {
		t.Errorf("stop service: %v", err)
	}
}

// about is what a client needs to know of the service.
func (k *killable) about(t *testing.T) *service.Service {
	t.Helper()
	env, err := service.ReadEnv(k.dir)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(env.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &service.Service{PublicURL: env.Endpoint, Region: env.Region, CA: roots, CAPEM: pem, Credentials: env.Credentials}
}

// deviceFor stores into the yard.
func deviceFor(k *killable, program string) *exec.Cmd {
	shell := `. "$0"/env && exec "$@"`
	return exec.Command("sh", "-c", shell, k.dir, program, "--channel", "ch-"+yard, "--storage-channel", "ch-"+yard, "--admin", "", "--log-level", "warn")
}

// ask asks the local door; into gets the JSON, where there is any.
func (k *killable) ask(path string, into any) error {
	resp, err := http.Get(k.localURL() + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s %s", path, resp.Status, body)
	case into == nil:
		return nil
	}
	return json.Unmarshal(body, into)
}

// takesIn objects unless the storage session has taken pictures in.
func (k *killable) takesIn() error {
	var census struct{ Ingest []messages.IngestStatus }
	if err := k.ask("/sessions", &census); err != nil {
		return err
	}
	for _, s := range census.Ingest {
		for _, p := range s.Participants {
			if p.Video != nil && p.Video.Frames > 0 {
				return nil
			}
		}
	}
	return errors.New("no picture came")
}

// records objects unless there are so many segments, the last of which is so long.
func (k *killable) records(segments int, last time.Duration) func() error {
	return func() error {
		var found struct{ Segments []recordedSpan }
		if err := k.ask("/recordings/"+yard, &found); err != nil {
			return err
		}
		if n := len(found.Segments); n != segments || found.Segments[n-1].End.Sub(found.Segments[n-1].Start) < last {
			return fmt.Errorf("segments: %+v", found.Segments)
		}
		return nil
	}
}

func (k *killable) segments(t *testing.T) []recordedSpan {
	t.Helper()
	var found struct{ Segments []recordedSpan }
	if err := k.ask("/recordings/"+yard, &found); err != nil {
		t.Fatal(err)
	}
	return found.Segments
}

// hashSample gives the time of each picture and each packet of sound in the sample by the hash of what a file holds of
// it. What comes twice is left out.
func hashSample(t *testing.T) map[string]time.Duration {
	t.Helper()
	sample, err := media.NewSample()
	if err != nil {
		t.Fatal(err)
	}
	times, twice := map[string]time.Duration{}, map[string]bool{}
	enough := errors.New("enough")
	err = sample.Run(t.Context(), func(u *messages.AccessUnit) error {
		if u.PTS >= sampleLasts {
			return enough
		}
		data := u.Data
		if u.Track == messages.Video {
			data = matroska.Sample(u.Codec, data)
		}
		name := ffmpeg.Hash(data)
		_, known := times[name]
		twice[name] = known
		times[name] = u.PTS
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	for name, more := range twice {
		if more {
			delete(times, name)
		}
	}
	return times
}

// judgeFile: ffmpeg decodes the file without a word, and sound and picture are as far apart in it as in the sample.
func judgeFile(t *testing.T, file string, sample map[string]time.Duration) {
	t.Helper()
	if err := ffmpeg.Decode(t.Context(), file); err != nil {
		t.Error(err)
	}
	packets, err := ffmpeg.Packets(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	var video, audio []float64 // delays of a packet's time to the sample's, in s
	for _, p := range packets {
		inSample, known := sample[p.Hash]
		if !known {
			continue
		}
		delay := math.Mod((p.At - inSample + sampleLasts).Seconds(), sampleLasts.Seconds())
		if p.Video {
			video = append(video, delay)
		} else {
			audio = append(audio, delay)
		}
	}
	if len(video) < 100 || len(audio) < 100 {
		t.Fatalf("%s: %d pictures and %d packets of sound are the sample's, of %d packets", filepath.Base(file), len(video), len(audio), len(packets))
	}
	slices.Sort(video)
	slices.Sort(audio)
	skew := math.Remainder(video[len(video)/2]-audio[len(audio)/2], sampleLasts.Seconds())
	t.Logf("%s: %d packets, skew %.1f ms (pictures' delays %.1f ms apart, sound's %.1f ms)", filepath.Base(file), len(packets), skew*1000,
		(video[len(video)-1]-video[0])*1000, (audio[len(audio)-1]-audio[0])*1000)
	if math.Abs(skew) > skewMax.Seconds() {
		t.Errorf("%s: sound and picture are %.1f ms apart", filepath.Base(file), skew*1000)
	}
}
