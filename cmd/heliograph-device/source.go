package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

// sourceForms is what --source takes.
const sourceForms = "sample, test, camera[:/dev/videoN], libcamera, rtsp://..., file:MOVIE, gst:PIPELINE, exec:COMMAND, h264:FILE?fps=30, h265:FILE?fps=30"

// openSource makes the source that the user named.
func openSource(c config, log *zap.Logger) (media.Source, error) {
	kind, rest, _ := strings.Cut(c.Source, ":")
	switch kind {
	case "sample":
		return media.NewSample()
	case "exec":
		if rest == "" {
			return nil, errors.New("open source exec: no command: use exec:COMMAND")
		}
		return media.NewExec(media.ExecConfig{Name: "exec", Args: []string{"/bin/sh", "-c", rest}, Log: log}), nil
	case "h264":
		return openFile(messages.H264, rest)
	case "h265":
		return openFile(messages.H265, rest)
	case "test", "camera", "libcamera", "rtsp", "rtsps", "file", "gst":
		return openHelper(c, kind, log)
	}
	return nil, fmt.Errorf("open source %q: not known; use one of %s", kind, sourceForms)
}

// openFile takes FILE or FILE?fps=N.
func openFile(codec messages.Codec, name string) (media.Source, error) {
	fps := float64(media.FileFPSDefault)
	if path, text, ok := strings.Cut(name, "?fps="); ok {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("open source %s: %q is no number of frames per second", path, text)
		}
		name, fps = path, n
	}
	return media.NewFile(codec, name, fps)
}

// openHelper leaves the source to the GStreamer child, which says itself what is wrong with it.
func openHelper(c config, kind string, log *zap.Logger) (media.Source, error) {
	program, err := media.FindGStreamer()
	if err != nil {
		return nil, fmt.Errorf("open source %s: %w", kind, err)
	}
	return media.NewExec(media.ExecConfig{
		Name: kind, Log: log, Codec: messages.Codec(strings.ToUpper(c.VideoCodec)),
		Args: []string{program, "--video-codec", c.VideoCodec, "--encoder", c.Encoder, "--video-size", c.VideoSize, "--video-fps", strconv.Itoa(c.VideoFPS),
			"--video-bitrate", strconv.Itoa(c.VideoBitrate), "--audio", c.Audio},
		Env: []string{"HELIOGRAPH_SOURCE=" + c.Source}, // an address may hold a password, and anybody sees arguments
	}), nil
}
