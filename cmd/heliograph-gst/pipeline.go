//go:build gst

package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The names of elements that mean something to us.
const (
	videoName   = "video"   // appsink of H.264 or H.265
	audioName   = "audio"   // appsink of Opus or G.711
	encoderName = "encoder" // takes bitrates and asks for key frames
	formatName  = "format"  // capsfilter of what is encoded
	clockName   = "clock"   // the clock strip is drawn on what leaves it
	cameraName  = "camera"  // rtspsrc
)

// plan is what to run.
type plan struct {
	text   string
	preset preset // of the element named encoder; none: the user's own
	sync   bool   // the source is no live one: give units out when they are due
	loop   bool

	sound    *cameraSound  // of a network camera; nil: none is wanted
	silence  time.Duration // how long a live source may give no picture; 0: however long
	unlinked string        // what it means that nobody takes what the source gives; empty: what GStreamer says
}

const (
	toVideo = " ! appsink name=" + videoName
	toAudio = " ! appsink name=" + audioName
	// freshest keeps the picture taken last while the encoder is busy.
	freshest = " ! queue leaky=downstream max-size-buffers=2 max-size-time=0 max-size-bytes=0"
	encoded  = " ! queue max-size-time=2000000000 max-size-buffers=0 max-size-bytes=0"
	toOpus   = " ! audioconvert ! audioresample ! audio/x-raw,rate=48000 ! opusenc frame-size=20 bitrate=32000"
	opus     = toOpus + toAudio
)

// cameraSound is what a network camera's sound goes through to the sink of sound.
type cameraSound struct {
	passed  []string // RTP encodings that pass as they are, each before its depayloader
	decoded string   // what all others go through; its first element is named entry
}

// makePlan turns the settings into a pipeline.
func makePlan(c config) (plan, error) {
	kind, rest, _ := strings.Cut(c.Source, ":")
	switch kind {
	case "gst":
		if strings.TrimSpace(rest) == "" {
			return plan{}, fmt.Errorf("the pipeline is empty: use gst:PIPELINE, for instance `gst:videotestsrc is-live=true ! x264enc name=encoder tune=zerolatency ! appsink name=video`")
		}
		return plan{text: rest}, nil
	case "test":
		return c.camera("videotestsrc is-live=true pattern=smpte", "audiotestsrc is-live=true wave=ticks", true)
	case "camera":
		device := rest
		if device == "" {
			device = "/dev/video0"
		}
		if _, err := os.Stat(device); err != nil {
			return plan{}, fmt.Errorf("camera: %w; cameras are %s", err, camerasThere())
		}
		return c.camera("v4l2src device="+quote(device), "autoaudiosrc", false)
	case "libcamera":
		return c.camera("libcamerasrc", "autoaudiosrc", false)
	case "rtsp", "rtsps":
		return c.passRTSP()
	case "file":
		return c.passFile(rest)
	}
	return plan{}, fmt.Errorf("source %q is not known: use test, camera, libcamera, rtsp://, file: or gst:", kind)
}

// camera encodes raw pictures.
func (c config) camera(source, microphone string, clock bool) (plan, error) {
	encoder, err := choose(c.Codec, c.Encoder)
	if err != nil {
		return plan{}, err
	}
	width, height, err := c.size()
	if err != nil {
		return plan{}, err
	}
	text := source
	if source == "v4l2src" || strings.HasPrefix(source, "v4l2src ") {
		text += " ! decodebin" // many give JPEG at higher rates
	}
	text += " ! videoconvert ! videoscale ! videorate ! capsfilter name=" + formatName + " caps=" + pictureCaps(width, height, c.FPS)
	if clock {
		if hasElement("clockoverlay") { // Debian's gstreamer1.0-x; the strip is there without it
			text += ` ! clockoverlay time-format="%F %T" font-desc="Sans 32" halignment=center`
		}
		text += " ! identity name=" + clockName
	}
	text += freshest + " ! " + encoder.launch(c.Bitrate, c.FPS*keyFrameEveryS) + toVideo
	switch c.Audio {
	case "auto", "opus":
		text += " " + microphone + freshSound + opus
	case "silence":
		text += " audiotestsrc is-live=true wave=silence" + opus
	}
	return plan{text: text, preset: encoder}, nil
}

func pictureCaps(width, height, fps int) string {
	return fmt.Sprintf("video/x-raw,format=I420,width=%d,height=%d,framerate=%d/1", width, height, fps)
}

const (
	keyFrameEveryS = 2
	freshSound     = " ! queue leaky=downstream max-size-time=200000000"
)

// size reads WIDTHxHEIGHT.
func (c config) size() (width, height int, err error) {
	w, h, _ := strings.Cut(c.Size, "x")
	width, err = strconv.Atoi(w)
	if err == nil {
		height, err = strconv.Atoi(h)
	}
	if err != nil || width < 64 || height < 64 || width > 7680 || height > 4320 || width%2+height%2 != 0 {
		return 0, 0, fmt.Errorf("--size %q is none: use WIDTHxHEIGHT, even numbers, for instance 1280x720", c.Size)
	}
	return width, height, nil
}

// parser is what makes access units of a codec.
func (c config) parser() (string, error) {
	switch c.Codec {
	case "h264", "h265":
		return c.Codec + "parse config-interval=-1", nil
	}
	return "", fmt.Errorf("--codec %q is not known: use h264 or h265", c.Codec)
}

// passRTSP takes a network camera's video as it is. Its sound is added when the camera has told what it has.
func (c config) passRTSP() (plan, error) {
	if u, err := url.Parse(c.Source); err != nil || u.Host == "" {
		return plan{}, fmt.Errorf("the RTSP address has no host: use rtsp://HOST/PATH")
	}
	parser, err := c.parser()
	if err != nil {
		return plan{}, err
	}
	text := fmt.Sprintf("rtspsrc name=%s location=%s latency=100 protocols=tcp+udp", cameraName, quote(c.Source)) +
		fmt.Sprintf(" %s. ! application/x-rtp,media=video ! rtp%sdepay ! %s", cameraName, c.Codec, parser) + encoded + toVideo
	var sound *cameraSound
	switch c.Audio {
	case "auto", "opus":
		text += " appsink name=" + audioName
		sound = &cameraSound{passed: []string{"OPUS", "rtpopusdepay"}, decoded: "decodebin name=entry ! queue" + toOpus}
		if c.Audio == "auto" {
			sound.passed = append(sound.passed, "PCMU", "rtppcmudepay", "PCMA", "rtppcmadepay")
		}
	case "silence":
		text += " audiotestsrc is-live=true wave=silence" + opus
	}
	return plan{text: text, sound: sound, silence: silenceMax, unlinked: fmt.Sprintf("the camera sends no %s: choose another codec in the camera, or set --video-codec", c.Codec)}, nil
}

// silenceMax is how long a network camera may send no picture. One that lost its power ends no connection.
const silenceMax = 10 * time.Second

// passFile plays a movie's own video in a loop.
func (c config) passFile(path string) (plan, error) {
	if _, err := os.Stat(path); err != nil {
		return plan{}, err
	}
	demuxers := map[string]string{".mkv": "matroskademux", ".webm": "matroskademux", ".mp4": "qtdemux", ".mov": "qtdemux"}
	demuxer, ok := demuxers[strings.ToLower(filepath.Ext(path))]
	if !ok {
		return plan{}, fmt.Errorf("%s is no .mkv or .mp4; for raw H.264 use h264:%s", path, path)
	}
	parser, err := c.parser()
	if err != nil {
		return plan{}, err
	}
	text := fmt.Sprintf("filesrc location=%s ! %s name=demux demux.video_0 ! queue ! %s", quote(path), demuxer, parser) + toVideo
	if (c.Audio == "auto" || c.Audio == "opus") && hasSound(path) {
		text += " demux.audio_0 ! queue ! decodebin" + opus
	}
	return plan{text: text, sync: true, loop: true, unlinked: fmt.Sprintf("the movie has no %s: convert it, or set --video-codec", c.Codec)}, nil
}

// quote makes one value of a text for gst_parse_launch.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func camerasThere() string {
	there, err := filepath.Glob("/dev/video*")
	if err != nil || len(there) == 0 {
		return "not there at all"
	}
	return strings.Join(there, ", ")
}
