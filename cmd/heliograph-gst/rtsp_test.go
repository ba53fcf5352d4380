//go:build gst

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/heliograph-rtc/heliograph/bench"
	"github.com/heliograph-rtc/heliograph/bench/rtsp"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	picture = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! "
	h264    = "x264enc tune=zerolatency key-int-max=30 ! video/x-h264,stream-format=byte-stream,alignment=au,profile=constrained-baseline ! "
	opusPay = " audiotestsrc is-live=true ! opusenc ! rtpopuspay name=pay1 pt=97"
)

// rtspServer builds the server; a test is skipped where that cannot be done.
func rtspServer(t *testing.T) string {
	t.Helper()
	need(t, "x264enc", "opusenc", "rtspsrc")
	program, err := rtsp.Build(t.Context(), t.TempDir())
	if errors.Is(err, rtsp.ErrMissing) && os.Getenv("CI") != "true" {
		t.Skip("NOT TESTED: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func startCamera(t *testing.T, program string, port int, pipeline string) *rtsp.Camera {
	t.Helper()
	c, err := rtsp.Start(t.Context(), program, port, "( "+pipeline+" )")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func stopCamera(t *testing.T, c *rtsp.Camera) {
	t.Helper()
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}

// recording keeps the video that a viewer gets, as Annex-B.
type recording struct {
	mu   sync.Mutex
	nals codecs.H264Packet
	data []byte
}

func (r *recording) take(p *rtp.Packet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if part, err := r.nals.Unmarshal(bytes.Clone(p.Payload)); err == nil {
		r.data = append(r.data, part...)
	}
}

func (r *recording) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.data)
}

// slicesOf splits a stream into its slices, in their order, and its parameter sets.
func slicesOf(stream []byte) (slices [][]byte, sets map[string]bool) {
	sets = map[string]bool{}
	for nal := range media.SplitAnnexB(stream) {
		switch nal[0] & 0x1f {
		case 1, 5:
			slices = append(slices, nal)
		case 7, 8:
			sets[string(nal)] = true
		}
	}
	return slices, sets
}

// after returns how many slices at the beginning of got stand next to each other in sent.
func after(sent, got [][]byte) (longest int) {
	for start := range sent {
		n := 0
		for n < len(got) && start+n < len(sent) && bytes.Equal(sent[start+n], got[n]) {
			n++
		}
		longest = max(longest, n)
	}
	return longest
}

// A network camera's pictures reach a viewer bit for bit as the camera sends them, with its sound; and they
// come back with the camera, while the viewer stays.
func TestRTSPIsPassedThrough(t *testing.T) {
	program := rtspServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	sent := func(run int) string { return filepath.Join(dir, fmt.Sprint(run, ".h264")) }
	serve := func(port, run int) *rtsp.Camera {
		return startCamera(t, program, port, picture+h264+"tee name=t ! queue ! rtph264pay name=pay0 pt=96 t. ! queue ! filesink buffer-mode=unbuffered async=false location="+sent(run)+opusPay)
	}
	camera := serve(0, 0)
	w, err := bench.StartWorld(ctx, bench.WorldConfig{Source: source(camera.URL())})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	}()
	var got recording
	cfg := w.Viewer(1, "viewer")
	cfg.OnVideo = got.take
	viewer, err := bench.NewViewer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	watching, leave := context.WithCancel(ctx)
	defer leave()
	ended := make(chan error, 1)
	go func() { ended <- viewer.Run(watching) }()
	await(t, ctx, "60 pictures", func() bool { return viewer.Progress().Pictures >= 60 })

	stopCamera(t, camera)
	goal := viewer.Progress().Pictures + 60
	camera = serve(camera.Port, 1)
	defer func() { stopCamera(t, camera) }()
	await(t, ctx, "60 pictures of the camera that came back", func() bool { return viewer.Progress().Pictures >= goal })
	leave()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	row := viewer.Row()
	if !row.OK() || row.PacketsLost > 0 || row.AudioPackets < 100 {
		t.Errorf("error %q, %d packets lost, %d packets of sound", row.Error, row.PacketsLost, row.AudioPackets)
	}

	slices, sets := slicesOf(got.bytes())
	for run := range 2 {
		stream, err := os.ReadFile(sent(run))
		if err != nil {
			t.Fatal(err)
		}
		all, known := slicesOf(stream)
		same := after(all, slices)
		if same < 50 {
			t.Errorf("run %d: only %d slices are as the camera sent them", run, same)
		}
		slices = slices[same:]
		for set := range known {
			delete(sets, set)
		}
	}
	if len(slices) > 0 || len(sets) > 0 {
		t.Errorf("%d slices and %d parameter sets are none of the camera's", len(slices), len(sets))
	}
}

// A network camera's sound passes as it is where viewers take that, and becomes Opus otherwise, or where
// that is asked for.
func TestRTSPSound(t *testing.T) {
	program := rtspServer(t)
	need(t, "mulawenc", "alawenc", "avenc_aac", "avdec_aac")
	for _, c := range []struct {
		name, sound string
		flags       []string
		want        messages.Codec
		bytes       int // of a packet at most; 0: as they come
	}{
		{"mu-law", "mulawenc ! rtppcmupay", nil, messages.PCMU, 160},
		{"A-law in packets of 80 ms", "alawenc ! rtppcmapay min-ptime=80000000 max-ptime=80000000", nil, messages.PCMA, 160},
		{"mu-law, Opus wanted", "mulawenc ! rtppcmupay", []string{"--audio", "opus"}, messages.Opus, 0},
		{"Opus", "opusenc ! rtpopuspay", nil, messages.Opus, 0},
		{"AAC", "avenc_aac ! rtpmp4gpay", nil, messages.Opus, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			camera := startCamera(t, program, 0, picture+h264+"rtph264pay name=pay0 pt=96 audiotestsrc is-live=true ! "+c.sound+" name=pay1")
			defer stopCamera(t, camera)
			heard, seen := 0, 0
			s := source(camera.URL(), c.flags...)
			err := play(t, s, func(u *messages.AccessUnit) error {
				if u.Track == messages.Video {
					seen++
					return nil
				}
				if u.Codec != c.want || c.bytes > 0 && len(u.Data) > c.bytes {
					t.Fatalf("a packet of %d bytes of %s", len(u.Data), u.Codec)
				}
				if heard++; heard >= 100 && seen >= 30 {
					return errEnough
				}
				return nil
			})
			if err != nil {
				t.Fatalf("after %d packets and %d pictures: %v", heard, seen, err)
			}
			if s.AudioCodec() != c.want {
				t.Errorf("the source says %q", s.AudioCodec())
			}
		})
	}
}

// await asks again and again: nobody would tell.
func await(t *testing.T, ctx context.Context, what string, holds func() bool) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("no %s", what)
		}
	}
}

// What a network camera may have wrong is told, and none is waited for for ever.
func TestBadCamerasAreExplained(t *testing.T) {
	program := rtspServer(t)
	need(t, "jpegenc")
	for name, c := range map[string]struct{ pipeline, path, want string }{
		"path that is not there": {picture + h264 + "rtph264pay name=pay0 pt=96", "/nowhere", "Not found"},
		"other codec":            {picture + "jpegenc ! rtpjpegpay name=pay0 pt=26", "", "the camera sends no h264"},
		"B-frames": {strings.Replace(picture+h264, "tune=zerolatency", "bframes=2 b-adapt=false rc-lookahead=0 sync-lookahead=0", 1) + "rtph264pay name=pay0 pt=96",
			"", "which viewers cannot play; turn B-frames off"},
	} {
		t.Run(name, func(t *testing.T) {
			camera := startCamera(t, program, 0, strings.Replace(c.pipeline, "profile=constrained-baseline ! ", "profile=main ! ", 1))
			defer stopCamera(t, camera)
			err := play(t, source(camera.URL()+c.path), func(*messages.AccessUnit) error { return nil })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("ended with %v\nwant %s", err, c.want)
			}
		})
	}
}

// A camera without sound plays; and when it falls silent, as one without power does, nobody waits for ever.
func TestCameraThatFallsSilent(t *testing.T) {
	camera := startCamera(t, rtspServer(t), 0, picture+h264+"rtph264pay name=pay0 pt=96")
	defer stopCamera(t, camera)
	seen := 0
	err := play(t, source(camera.URL()), func(u *messages.AccessUnit) error {
		if seen++; seen == 10 {
			return camera.Process().Signal(syscall.SIGSTOP)
		}
		return nil
	})
	if err == nil || seen < 10 || !strings.Contains(err.Error(), "has sent no picture for") {
		t.Fatalf("after %d pictures ended with %v", seen, err)
	}
}
