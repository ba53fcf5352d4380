//go:build gst

package main

import (
	"fmt"
	"strings"
)

// preset is one encoder: how it is set up for few viewers who watch live, and how its bitrate is said.
// In text, %[1]d is the bitrate in its unit and %[2]d the pictures between key frames.
type preset struct {
	element string
	text    string
	perUnit int    // bit/s in one unit of the bitrate
	live    string // property and value of a new bitrate; empty: "bitrate" and the number
	caps    string // behind it
}

const (
	baseline  = "video/x-h264,profile=constrained-baseline"
	mainHEVC  = "video/x-h265,profile=main"
	v4l2Rates = "controls,video_bitrate=%d"
)

// presets lists the encoders of a codec, best first: those of the hardware, which are only registered where
// there is such, then those in software by what they cost.
var presets = map[string][]preset{
	"h264": {
		{"vah264enc", "rate-control=cbr b-frames=0 ref-frames=1 bitrate=%[1]d key-int-max=%[2]d", 1000, "", "video/x-h264"},
		{"nvh264enc", "zerolatency=true bframes=0 rc-mode=cbr bitrate=%[1]d gop-size=%[2]d", 1000, "", "video/x-h264"},
		{"v4l2h264enc", `extra-controls="controls,video_bitrate=%[1]d,h264_i_frame_period=%[2]d,repeat_sequence_header=1"`, 1, v4l2Rates, "video/x-h264,level=(string)4"},
		{"x264enc", "tune=zerolatency speed-preset=superfast bframes=0 bitrate=%[1]d vbv-buf-capacity=250 key-int-max=%[2]d", 1000, "", baseline},
		{"openh264enc", "usage-type=camera complexity=low rate-control=bitrate enable-frame-skip=true bitrate=%[1]d gop-size=%[2]d", 1, "", baseline},
	},
	"h265": {
		{"vah265enc", "rate-control=cbr b-frames=0 bitrate=%[1]d key-int-max=%[2]d", 1000, "", mainHEVC},
		{"nvh265enc", "zerolatency=true bframes=0 rc-mode=cbr bitrate=%[1]d gop-size=%[2]d", 1000, "", mainHEVC},
		{"v4l2h265enc", `extra-controls="controls,video_bitrate=%[1]d"`, 1, v4l2Rates, mainHEVC},
		{"x265enc", "tune=zerolatency speed-preset=ultrafast option-string=bframes=0 bitrate=%[1]d key-int-max=%[2]d", 1000, "", mainHEVC},
	},
}

// choose picks the encoder that the user named, or the best one there is.
func choose(codec, name string) (preset, error) {
	list, ok := presets[codec]
	if !ok {
		return preset{}, fmt.Errorf("--codec %q is not known: use h264 or h265", codec)
	}
	var names []string
	for _, p := range list {
		if p.element == name || name == "auto" && hasElement(p.element) {
			return p, nil
		}
		names = append(names, p.element)
	}
	if name == "auto" {
		return preset{}, missingElements(names[len(names)-1:])
	}
	return preset{}, fmt.Errorf("--encoder %q does not make %s: use auto or one of %s", name, codec, strings.Join(names, ", "))
}

// launch is the encoder's part of a pipeline.
func (p preset) launch(bps, gop int) string {
	return p.element + " name=" + encoderName + " " + fmt.Sprintf(p.text, bps/p.perUnit, gop) + " ! " + p.caps
}

// bitrate is the property that changes the bitrate of the running encoder, and its value.
func (p preset) bitrate(bps int) (property, value string) {
	if p.live != "" {
		return "extra-controls", fmt.Sprintf(p.live, bps/p.perUnit)
	}
	return "bitrate", fmt.Sprint(bps / p.perUnit)
}

// packages are Debian's, by the elements they hold.
var packages = map[string]string{
	"x264enc": "gstreamer1.0-plugins-ugly", "opusenc": "gstreamer1.0-plugins-base", "opusparse": "gstreamer1.0-plugins-bad",
	"openh264enc": "gstreamer1.0-plugins-bad", "x265enc": "gstreamer1.0-plugins-bad", "vah264enc": "gstreamer1.0-plugins-bad",
	"vah265enc": "gstreamer1.0-plugins-bad", "nvh264enc": "gstreamer1.0-plugins-bad", "nvh265enc": "gstreamer1.0-plugins-bad",
	"h264parse": "gstreamer1.0-plugins-bad", "h265parse": "gstreamer1.0-plugins-bad", "libcamerasrc": "gstreamer1.0-libcamera",
	"v4l2h264enc": "gstreamer1.0-plugins-good", "v4l2h265enc": "gstreamer1.0-plugins-good", "v4l2src": "gstreamer1.0-plugins-good",
	"rtspsrc": "gstreamer1.0-plugins-good", "matroskademux": "gstreamer1.0-plugins-good", "qtdemux": "gstreamer1.0-plugins-good",
	"jpegdec": "gstreamer1.0-plugins-good", "autoaudiosrc": "gstreamer1.0-plugins-good",
	"avdec_aac": "gstreamer1.0-libav", "avdec_h264": "gstreamer1.0-libav", "alsasrc": "gstreamer1.0-alsa", "parsebin": "gstreamer1.0-plugins-base",
}

// missingElements says what is missing, and the packages that hold it.
func missingElements(names []string) error {
	var hints []string
	for _, name := range names {
		if hint, ok := packages[name]; ok {
			hints = append(hints, hint)
		}
	}
	text := "GStreamer has no element " + strings.Join(names, ", ")
	switch {
	case len(hints) == 0:
		return fmt.Errorf("%s: check the spelling, or search for it with `gst-inspect-1.0`", text)
	case strings.HasPrefix(names[0], "v4l2h"):
		return fmt.Errorf("%s: it appears where the hardware has one, with package %s", text, hints[0])
	}
	return fmt.Errorf("%s: apt install %s", text, strings.Join(hints, " "))
}
