//go:build gst

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

// The tests run this binary once more as heliograph-gst, as the device does.
const actAs = "HELIOGRAPH_TEST_GST"

func TestMain(m *testing.M) {
	if os.Getenv(actAs) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func source(name string, flags ...string) *media.Exec { return sourceWith(nil, name, flags...) }

// sourceWith runs with settings of GStreamer's own.
func sourceWith(env []string, name string, flags ...string) *media.Exec {
	return media.NewExec(media.ExecConfig{Name: "test", Args: append([]string{os.Args[0]}, flags...), Env: append(env, actAs+"=1", "HELIOGRAPH_SOURCE="+name)})
}

// play gives take every unit until it says enough, and returns what else ended the run.
func play(t *testing.T, s *media.Exec, take func(*messages.AccessUnit) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := s.Run(ctx, take); !errors.Is(err, errEnough) {
		return err
	}
	return nil
}

var errEnough = errors.New("enough")

// need skips a test where an element is not installed.
func need(t *testing.T, elements ...string) {
	t.Helper()
	initGStreamer()
	for _, e := range elements {
		if !hasElement(e) {
			if os.Getenv("CI") == "true" {
				t.Fatalf("CI must not skip this: %v", missingElements([]string{e}))
			}
			t.Skipf("NOT TESTED: %v", missingElements([]string{e}))
		}
	}
}

const bare = "gst:videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! "

// What a user may get wrong gives an error that says what it is, and how to go on where that is known.
func TestBadPipelinesAreExplained(t *testing.T) {
	need(t, "x264enc", "vp8enc")
	garbage := filepath.Join(t.TempDir(), "garbage.mp4")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("no movie ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	const x264 = "x264enc name=encoder tune=zerolatency"
	for name, c := range map[string]struct {
		source string
		flags  []string
		want   string
	}{
		"element that is not there":  {bare + "x264encc ! appsink name=video", nil, "no element x264encc: check the spelling"},
		"hardware that is not there": {"test", []string{"--encoder", "v4l2h264enc"}, "no element v4l2h264enc: it appears where the hardware has one, with package gstreamer1.0-plugins-good"},
		"encoder of another codec":   {"test", []string{"--encoder", "x265enc"}, `--encoder "x265enc" does not make h264: use auto or one of`},
		"property that is not there": {bare + "x264enc bitrat=5 ! appsink name=video", nil, `no property "bitrat"`},
		"value that is none":         {bare + "x264enc bitrate=much ! appsink name=video", nil, `could not set property "bitrate"`},
		"caps that do not fit":       {"gst:videotestsrc ! video/x-h264 ! appsink name=video", nil, "can't handle caps video/x-h264"},
		"raw video":                  {bare + "appsink name=video", nil, "so that encoders must stand before them"},
		"camera that is none":        {"camera:/dev/null", nil, "/dev/null"},
		"syntax":                     {bare + x264 + " ! ! appsink name=video", nil, "parse pipeline"},
		"empty":                      {"gst:", nil, "the pipeline is empty"},
		"no sink":                    {bare + x264 + " ! fakesink", nil, "the pipeline has no video: end it in `appsink name=video`"},
		"other sink":                 {bare + x264 + " ! fakesink name=video", nil, "the element named video is no appsink"},
		"other codec":                {bare + "vp8enc ! appsink name=video", nil, "`appsink name=video` takes H.264 or H.265"},
		"B-frames":                   {bare + "x264enc bframes=2 b-adapt=false rc-lookahead=0 sync-lookahead=0 ! appsink name=video", nil, "which viewers cannot play; turn B-frames off (x264enc: bframes=0"},
		"profile":                    {strings.Replace(bare, "I420", "Y444", 1) + x264 + " ! appsink name=video", nil, "profile 244, which viewers cannot play: encode 8-bit 4:2:0"},
		"stream that ends":           {strings.Replace(bare, "is-live=true", "num-buffers=5", 1) + x264 + " ! appsink name=video", nil, "the stream has ended"},
		"camera that is not there":   {"camera:/dev/video99", nil, "camera: stat /dev/video99: no such file or directory; cameras are"},
		"movie that is not there":    {"file:missing.mp4", nil, "missing.mp4: no such file or directory"},
		"movie that is none":         {"file:" + garbage, nil, "heliograph-gst: demux: This file is invalid"},
		"movie of another kind":      {"file:" + os.Args[0], nil, "is no .mkv or .mp4; for raw H.264 use h264:"},
		"RTSP that is not there":     {"rtsp://user:secret@127.0.0.1:1/", nil, "Could not open resource"},
		"RTSP without a host":        {"rtsp:camera", nil, "use rtsp://HOST/PATH"},
		"size":                       {"test", []string{"--video-size", "huge"}, "use WIDTHxHEIGHT"},
		"codec":                      {"test", []string{"--video-codec", "av1"}, "use h264 or h265"},
	} {
		t.Run(name, func(t *testing.T) {
			err := play(t, source(c.source, c.flags...), func(*messages.AccessUnit) error { return nil })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("ended with %v\nwant %s", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Fatalf("tells the password: %v", err)
			}
		})
	}
}

// Where GStreamer is there without the plugins, the package that holds them is told.
func TestMissingPluginsAreNamed(t *testing.T) {
	plugins := t.TempDir() // with none in it
	env := []string{"GST_PLUGIN_SYSTEM_PATH_1_0=" + plugins, "GST_REGISTRY_1_0=" + filepath.Join(plugins, "registry")}
	for _, c := range []struct {
		source, want string
		flags        []string
	}{
		{"gst:x264enc name=encoder ! appsink name=video", "apt install gstreamer1.0-plugins-ugly", nil},
		{"test", "apt install gstreamer1.0-plugins-ugly gstreamer1.0-plugins-base", []string{"--encoder", "x264enc"}},
		{"rtsp://127.0.0.1:1/", "gstreamer1.0-plugins-good", nil},
	} {
		err := play(t, sourceWith(env, c.source, c.flags...), func(*messages.AccessUnit) error { return nil })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s ended with %v\nwant %s", c.source, err, c.want)
		}
	}
}

// A movie without sound plays, and one whose pictures nobody can take is refused.
func TestMoviesWithoutWhatIsMeant(t *testing.T) {
	need(t, "x264enc", "vp8enc", "matroskamux")
	const pictures = "videotestsrc num-buffers=30 ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! "
	silent, other := filepath.Join(t.TempDir(), "silent.mkv"), filepath.Join(t.TempDir(), "other.mkv")
	makeMovie(t, pictures+"x264enc bframes=0 ! h264parse ! matroskamux ! filesink location="+silent)
	makeMovie(t, pictures+"vp8enc ! matroskamux ! filesink location="+other)
	seen := 0
	if err := play(t, source("file:"+silent), func(*messages.AccessUnit) error {
		if seen++; seen > 45 {
			return errEnough
		}
		return nil
	}); err != nil {
		t.Errorf("after %d pictures: %v", seen, err)
	}
	if err := play(t, source("file:"+other), func(*messages.AccessUnit) error { return nil }); err == nil || !strings.Contains(err.Error(), "the movie has no h264") {
		t.Errorf("ended with %v", err)
	}
}

// Every encoder that is here makes a stream that viewers play: a key frame first, times that rise, sound.
func TestEncodersMakeStreams(t *testing.T) {
	for _, c := range []struct {
		codec   messages.Codec
		element string
	}{{messages.H264, "x264enc"}, {messages.H264, "openh264enc"}, {messages.H265, "x265enc"}} {
		t.Run(c.element, func(t *testing.T) {
			need(t, c.element, "opusenc")
			s := source("test", "--encoder", c.element, "--video-codec", strings.ToLower(string(c.codec)), "--video-size", "320x240")
			var seen [2]int
			key := false
			err := play(t, s, func(u *messages.AccessUnit) error {
				if u.Track == messages.Video && u.Codec != c.codec {
					t.Errorf("a unit of %s", u.Codec)
				}
				if age := time.Since(u.Captured); age < 0 || age > 10*time.Second {
					t.Errorf("a %s unit was captured %v ago", u.Track, age)
				}
				key = key || u.KeyFrame
				if seen[u.Track]++; key && seen[messages.Video] > 30 && seen[messages.Audio] > 30 {
					return errEnough
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Wishes reach the encoder while it runs.
func TestWishesAreHeeded(t *testing.T) {
	for _, encoder := range []string{"x264enc", "openh264enc"} {
		t.Run(encoder, func(t *testing.T) {
			need(t, encoder)
			s := source("test", "--encoder", encoder, "--audio", "none", "--video-bitrate", "3000000")
			var began, keyAt time.Duration
			var asked, lowered bool
			var size [2]int // of a second before and after the change
			err := play(t, s, func(u *messages.AccessUnit) error {
				if began == 0 {
					began = u.PTS
				}
				at := u.PTS - began
				if u.KeyFrame && asked && keyAt == 0 {
					keyAt = at
				}
				switch {
				case at >= 2500*time.Millisecond && !asked: // key frames come every 2 s by themselves
					asked = s.RequestKeyFrame()
				case at >= 3*time.Second && at < 4*time.Second:
					size[0] += len(u.Data)
				case at >= 4*time.Second && !lowered:
					lowered = s.RequestBitrate(300_000)
				case at >= 5*time.Second && at < 6*time.Second:
					size[1] += len(u.Data)
				case at >= 6*time.Second:
					return errEnough
				}
				return nil
			})
			if keyAt < 2500*time.Millisecond || keyAt >= 3900*time.Millisecond {
				t.Errorf("asked for a key frame after 2.5 s, it came after %v", keyAt)
			}
			if err != nil {
				t.Fatal(err)
			}
			if size[1]*3 > size[0] {
				t.Errorf("a second has %d bytes, before a tenth of the bitrate was asked for it had %d", size[1], size[0])
			}
		})
	}
}

// Asked for a smaller picture at half the rate, the encoder goes on with a key frame of it.
func TestPictureIsMadeSmaller(t *testing.T) {
	need(t, "x264enc")
	s := source("test", "--audio", "none", "--video-size", "640x480")
	var asked, began time.Duration
	var before string
	pictures := 0
	err := play(t, s, func(u *messages.AccessUnit) error {
		size := ""
		if u.KeyFrame {
			size = sizeOf(t, u.Data)
		}
		switch {
		case before == "":
			before = size
		case asked == 0:
			asked = u.PTS
			if !s.RequestPicture(2, 2) {
				t.Error("takes no command")
			}
		case began == 0 && u.KeyFrame && size != before:
			if before != "640,480" || size != "320,240" {
				t.Errorf("the picture went from %s to %s", before, size)
			}
			began = u.PTS
		case began == 0:
		case u.PTS-began > 3*time.Second:
			return errEnough
		default:
			pictures++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if took := began - asked; took > 2*time.Second {
		t.Errorf("the smaller picture came after %v", took)
	}
	if pictures < 40 || pictures > 50 {
		t.Errorf("%d pictures in 3 s, want 45", pictures)
	}
}

// sizeOf asks ffprobe.
func sizeOf(t *testing.T, keyFrame []byte) string {
	t.Helper()
	tool, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Skip("NOT TESTED: needs ffprobe, package ffmpeg")
	}
	cmd := exec.CommandContext(t.Context(), tool, "-v", "error", "-f", "h264", "-show_entries", "stream=width,height", "-of", "csv=p=0", "-")
	cmd.Stdin = bytes.NewReader(keyFrame)
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("ffprobe: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// A movie is passed through as it is, in a loop; its sound becomes Opus.
func TestMoviesLoop(t *testing.T) {
	need(t, "x264enc", "matroskamux", "mp4mux", "avenc_aac", "avdec_aac", "opusenc")
	for _, c := range []struct{ name, mux, sound string }{
		{"movie.mkv", "matroskamux", "avenc_aac"}, {"movie.mp4", "mp4mux", "avenc_aac"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), c.name)
			makeMovie(t, "videotestsrc num-buffers=30 ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! x264enc bframes=0 key-int-max=15 ! h264parse ! "+
				c.mux+" name=mux ! filesink location="+path+" audiotestsrc num-buffers=44 ! audio/x-raw,rate=44100 ! "+c.sound+" ! mux.")
			var seen [2]int
			var last [2]time.Duration
			err := play(t, source("file:"+path), func(u *messages.AccessUnit) error {
				if u.PTS <= last[u.Track] {
					t.Errorf("%s of %v after %v", u.Track, u.PTS, last[u.Track])
				}
				last[u.Track] = u.PTS
				if seen[u.Track]++; seen[messages.Video] > 75 && seen[messages.Audio] > 100 {
					return errEnough
				}
				return nil
			})
			if err != nil {
				t.Fatalf("after %d pictures and %d packets: %v", seen[0], seen[1], err)
			}
		})
	}
}

// makeMovie runs a pipeline to its end with GStreamer's own tool.
func makeMovie(t *testing.T, text string) {
	t.Helper()
	tool, err := exec.LookPath("gst-launch-1.0")
	if err != nil {
		t.Skip("NOT TESTED: needs gst-launch-1.0, package gstreamer1.0-tools")
	}
	if out, err := exec.CommandContext(t.Context(), tool, append([]string{"-q", "-e"}, strings.Fields(text)...)...).CombinedOutput(); err != nil {
		t.Fatalf("make movie: %v\n%s", err, out)
	}
}
