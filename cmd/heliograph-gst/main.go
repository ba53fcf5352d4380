//go:build gst

// Command heliograph-gst runs a GStreamer pipeline as a source of heliograph-device: units in the source
// format (deploy/source-format.md) go to stdout, wishes for key frames and bitrates come from stdin.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/cmd/internal/settings"
)

type config struct {
	Source  string `flag:"source" env:"HELIOGRAPH_SOURCE" default:"test" help:"test, camera[:/dev/videoN], libcamera, rtsp://..., file:MOVIE or gst:PIPELINE"`
	Codec   string `flag:"video-codec" env:"HELIOGRAPH_VIDEO_CODEC" default:"h264" help:"h264 or h265"`
	Encoder string `flag:"encoder" env:"HELIOGRAPH_ENCODER" default:"auto" help:"GStreamer's encoder element; auto: the hardware's, else x264enc or openh264enc, x265enc"`
	Size    string `flag:"video-size" env:"HELIOGRAPH_VIDEO_SIZE" default:"1280x720" help:"of the picture that is encoded"`
	FPS     int    `flag:"video-fps" env:"HELIOGRAPH_VIDEO_FPS" default:"30" help:"pictures per second"`
	Bitrate int    `flag:"video-bitrate" env:"HELIOGRAPH_VIDEO_BITRATE" default:"2000000" help:"bits per second of video; viewers' networks may ask for less, never for more"`
	Audio   string `flag:"audio" env:"HELIOGRAPH_AUDIO" default:"auto" help:"auto (microphone, or the source's own), opus (likewise; what is none becomes Opus), silence or none"`
}

func main() {
	err := run()
	if err != nil && !errors.Is(err, settings.ErrDone) {
		fmt.Fprintln(os.Stderr, "heliograph-gst:", err)
		os.Exit(1)
	}
}

func run() error {
	var c config
	if err := settings.Load("heliograph-gst", &c, os.Args[1:], os.Environ(), os.Stderr); err != nil {
		return err
	}
	switch {
	case c.FPS < 1 || c.FPS > 120:
		return fmt.Errorf("--video-fps %d: 1 to 120", c.FPS)
	case c.Bitrate < bitrateFloorBps || c.Bitrate > 100_000_000:
		return fmt.Errorf("--video-bitrate %d: %d to 100000000 bits per second", c.Bitrate, bitrateFloorBps)
	case !slices.Contains([]string{"auto", "opus", "silence", "none"}, c.Audio):
		return fmt.Errorf("--audio %q is not known: use auto, opus, silence or none", c.Audio)
	}
	initGStreamer()
	p, err := makePlan(c)
	if err != nil {
		return err
	}
	g, err := open(p.text, p.sync)
	if err != nil {
		return err
	}
	g.drawClock()
	if p.sound != nil {
		g.hear(p.sound)
	}
	g.play()
	var tasks actors.Group
	ended := make(chan error)
	task := func(name string, work func() error) {
		tasks.Go(name, func() error {
			ended <- work()
			return nil
		})
	}
	stdout := &oneAtATime{w: os.Stdout}
	task("copy video", func() error { return g.copyUnits(g.sinks[videoName], stdout, p.silence) })
	if sink, has := g.sinks[audioName]; has {
		task("copy audio", func() error { return g.copyUnits(sink, stdout, 0) })
	}
	task("watch", func() error { return g.watch(p.loop, p.unlinked) })
	task("obey", func() error { return g.obey(os.Stdin, c, p.preset) })
	return <-ended // the process ends with the first of them
}

// oneAtATime lets several goroutines write whole units.
type oneAtATime struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (o *oneAtATime) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
}

// bitrateFloorBps is the least that a picture is encoded with.
const bitrateFloorBps = 20_000

// obey carries out the commands of the source format until stdin ends: then the device is gone.
func (g *pipeline) obey(r io.Reader, c config, encoder preset) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		command, value, _ := strings.Cut(lines.Text(), " ")
		if command == "picture" {
			g.changePicture(value, c)
			continue
		}
		if g.encoder == nil {
			continue
		}
		switch command {
		case "key":
			g.forceKey()
		case "bitrate":
			bps, err := strconv.Atoi(value)
			if err != nil || encoder.element == "" {
				continue
			}
			if bps == 0 || bps > c.Bitrate {
				bps = c.Bitrate
			}
			property, value := encoder.bitrate(max(bps, bitrateFloorBps))
			g.set(g.encoder, property, value)
		}
	}
	return lines.Err()
}

// changePicture divides size and rate of the picture that is encoded; the encoder begins anew with it.
func (g *pipeline) changePicture(value string, c config) {
	var size, rate int
	if _, err := fmt.Sscanf(value, "%d %d", &size, &rate); err != nil || size < 1 || rate < 1 || g.format == nil {
		return
	}
	width, height, err := c.size()
	if err != nil {
		return
	}
	even := func(n int) int { return max(64, n/size/2*2) }
	g.set(g.format, "caps", pictureCaps(even(width), even(height), max(1, c.FPS/rate)))
}
