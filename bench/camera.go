package bench

// Scenario camera: what pictures of GStreamer cost. In order of execution:
//
//	service     in this process, its limits lifted; also all viewers are here
//	rounds      two modes, each with a baseline that takes turns with ours (camera_run.go):
//	            encode   a device whose source is a pipeline that makes and encodes pictures, next to the
//	                     same pipeline in gst-launch-1.0 for nobody
//	            rtsp     a device that passes a network camera through, next to one that plays the same
//	                     pictures from its built-in sample
//	crash       the program that makes the pictures is killed under ten viewers
//	judge       medians, rows, goals (camera_rows.go)
//
// Ten viewers watch each device. CPU time is that of processes: the device's, and its source's.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/rtsp"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/media/matroska"
	"github.com/heliograph-rtc/heliograph/messages"
)

// The modes, and their variants: the first is ours.
const (
	cameraEncode = "encode"
	cameraRTSP   = "rtsp"

	variantPlain  = "gst-launch"
	variantSample = "sample"
)

// errNoGStreamer is why a machine cannot run the scenario.
var errNoGStreamer = fmt.Errorf("%w: it needs GStreamer", errLacks)

type cameraPlan struct {
	rounds  int
	viewers int
	warm    time.Duration
	span    time.Duration // of one measurement
}

// planCamera: a quick run shows that everything works; it is too short to judge by.
func planCamera(quick bool) cameraPlan {
	if quick {
		return cameraPlan{rounds: 2, viewers: viewersDefault, warm: 500 * time.Millisecond, span: 1500 * time.Millisecond}
	}
	return cameraPlan{rounds: 7, viewers: viewersDefault, warm: 1500 * time.Millisecond, span: 6 * time.Second}
}

// encodePipeline is 720p30 at 2 Mbit/s with sound, up to where the sinks of video and sound are named.
const encodePipeline = "videotestsrc is-live=true pattern=smpte ! video/x-raw,format=I420,width=1280,height=720,framerate=30/1 ! " +
	"x264enc name=encoder tune=zerolatency speed-preset=superfast bframes=0 bitrate=2000 key-int-max=60 ! " +
	"video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au ! %[1]s name=video %[2]s " +
	"audiotestsrc is-live=true wave=ticks ! audio/x-raw,rate=48000 ! opusenc frame-size=20 bitrate=32000 ! %[1]s name=audio %[2]s"

// rtspPipeline serves the sample.
const rtspPipeline = "( filesrc location=%s ! matroskademux name=movie movie. ! queue ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 " +
	"movie. ! queue ! opusparse ! rtpopuspay name=pay1 pt=97 )"

func cameraScenario(ctx context.Context, cfg BenchConfig, progress io.Writer) (*report.Report, error) {
	plan := planCamera(cfg.Quick)
	r := report.New("camera", report.Row{
		{Name: "quick", Value: cfg.Quick}, {Name: "rounds", Value: plan.rounds}, {Name: "viewers", Value: plan.viewers},
		{Name: "warm_up_s", Value: plan.warm}, {Name: "span_s", Value: plan.span}, {Name: "load_average_before", Value: loadAverage()},
	})
	found, crashed, skipped, err := plan.run(ctx, cfg, progress)
	if err != nil {
		return nil, err
	}
	r.Config = append(r.Config, report.Field{Name: "load_average_after", Value: loadAverage()})
	judgeCamera(r, found, crashed, cfg.Quick)
	r.Summary = append(r.Summary, report.Field{Name: "skipped", Value: skipped})
	return r, nil
}

// run measures both modes. skipped says why one of them was not.
func (p cameraPlan) run(ctx context.Context, cfg BenchConfig, progress io.Writer) (found []*cameraFound, crashed [][]time.Duration, skipped []string, err error) {
	program, err := media.FindGStreamer()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %w", errNoGStreamer, err)
	}
	launcher, err := exec.LookPath("gst-launch-1.0")
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w: apt install gstreamer1.0-tools", errNoGStreamer)
	}
	s, stop, err := lone(ctx, service.Off)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	run := cameraRun{cameraPlan: p, service: s, program: program, launcher: launcher, profiles: cfg.Profile}
	f, err := run.rounds(ctx, cameraEncode, progress)
	if err != nil {
		return nil, nil, nil, err
	}
	found = append(found, f)
	for round := range p.rounds {
		took, err := run.crash(ctx, round)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("crash: %w", err)
		}
		fmt.Fprintf(progress, "crash, round %d: %v without a picture\n", round+1, took)
		crashed = append(crashed, took)
	}

	dir, err := os.MkdirTemp("", "heliograph-camera-")
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	camera, err := serveSample(ctx, dir, connectWithin+p.warm+p.span)
	if errors.Is(err, rtsp.ErrMissing) {
		fmt.Fprintf(progress, "%s: skipped: %v\n", cameraRTSP, err)
		return found, crashed, []string{cameraRTSP}, nil
	}
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { err = errors.Join(err, camera.Stop()) }()
	run.url = camera.URL()
	if f, err = run.rounds(ctx, cameraRTSP, progress); err != nil {
		return nil, nil, nil, err
	}
	return append(found, f), crashed, []string{}, nil
}

// serveSample starts a network camera that plays the sample, from its begin whenever somebody comes.
func serveSample(ctx context.Context, dir string, length time.Duration) (*rtsp.Camera, error) {
	server, err := rtsp.Build(ctx, dir)
	if err != nil {
		return nil, err
	}
	movie := filepath.Join(dir, "sample.mkv")
	if err := writeSample(movie, length); err != nil {
		return nil, fmt.Errorf("write sample as movie: %w", err)
	}
	return rtsp.Start(ctx, server, 0, fmt.Sprintf(rtspPipeline, movie))
}

// writeSample writes as many loops of the sample as length takes.
func writeSample(path string, length time.Duration) (err error) {
	units, err := media.SampleUnits()
	if err != nil {
		return err
	}
	video, err := matroska.VideoTrack(messages.H264, units[0].Data)
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w, err := matroska.Create(file, matroska.Header{Tracks: []matroska.Track{video, matroska.AudioTrack()}, Date: time.Now()})
	if err != nil {
		return err
	}
	for loop := time.Duration(0); loop < length; loop += media.SampleLoop {
		for _, u := range units {
			block := matroska.Block{Track: matroska.AudioNumber, Time: loop + u.PTS, Key: u.KeyFrame, Data: u.Data}
			if u.Track == messages.Video {
				block.Track, block.Data = matroska.VideoNumber, matroska.Sample(u.Codec, u.Data)
			}
			if err := w.Write(block); err != nil {
				return err
			}
		}
	}
	return w.Close()
}
