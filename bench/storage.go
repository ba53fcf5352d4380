package bench

// Scenario storage: what it costs to record ten streams of 1080p30. In order of execution:
//
//	clip     ffmpeg encodes 10 s of it, which everybody plays in a loop, with the sample's sound
//	rounds   three variants in turns, each in processes of its own (storage_run.go):
//	         heliograph  the service: ten devices of this process store by it, over WebRTC
//	         recorder    its recorder alone: the same media come as plain RTP over UDP
//	         ffmpeg      ten times `ffmpeg -c copy`, which get the same RTP
//	judge    ffmpeg decodes every file, ffprobe counts (storage_probe.go); medians, rows (storage_rows.go)
//
// The service does more than ffmpeg: ICE, DTLS, decryption, reports, requests for what is lost. What is
// like ffmpeg is the recorder.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/subject"
	"github.com/heliograph-rtc/heliograph/media"
)

// The variants; the first is ours, the last the baseline.
var storageVariants = []string{subject.Recording, subject.Recorder, variantFFmpeg}

const variantFFmpeg = "ffmpeg"

type storagePlan struct {
	rounds  int
	streams int
	size    string        // of the picture
	rate    string        // of the video, as ffmpeg reads it
	warm    time.Duration // after the first bytes of each stream
	span    time.Duration // of one measurement
}

// planStorage: a quick run shows that everything works; it is too short to judge by.
func planStorage(quick bool) storagePlan {
	if quick {
		return storagePlan{rounds: 1, streams: 3, size: "640x360", rate: "1M", warm: time.Second, span: 2 * time.Second}
	}
	return storagePlan{rounds: 5, streams: 10, size: "1920x1080", rate: "4M", warm: 2 * time.Second, span: 10 * time.Second}
}

// errNoFFmpeg is why a machine cannot run the scenario.
var errNoFFmpeg = fmt.Errorf("%w: it needs ffmpeg and ffprobe: apt install ffmpeg", errLacks)

func storageScenario(ctx context.Context, cfg BenchConfig, progress io.Writer) (_ *report.Report, err error) {
	plan := planStorage(cfg.Quick)
	r := report.New("storage", report.Row{
		{Name: "quick", Value: cfg.Quick}, {Name: "rounds", Value: plan.rounds}, {Name: "streams", Value: plan.streams},
		{Name: "picture", Value: plan.size}, {Name: "bitrate", Value: plan.rate},
		{Name: "warm_up_s", Value: plan.warm}, {Name: "span_s", Value: plan.span}, {Name: "load_average_before", Value: loadAverage()},
	})
	for _, program := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, errNoFFmpeg
		}
	}
	dir, err := os.MkdirTemp("", "heliograph-storage-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	clip, err := plan.clip(ctx, dir)
	if err != nil {
		return nil, err
	}
	found := make([][]storageCost, plan.rounds)
	for round := range found {
		found[round] = make([]storageCost, len(storageVariants))
		for i := range storageVariants {
			if round%2 == 1 { // nobody always comes first
				i = len(storageVariants) - 1 - i
			}
			run := storageRun{storagePlan: plan, clip: clip, dir: filepath.Join(dir, fmt.Sprint(round, "-", i)), profiles: cfg.Profile}
			if found[round][i], err = run.measure(ctx, storageVariants[i], round); err != nil {
				return nil, fmt.Errorf("%s: %w", storageName(i), err)
			}
			fmt.Fprintf(progress, "storage, round %d, %s: %s\n", round+1, storageName(i), found[round][i])
		}
	}
	r.Config = append(r.Config, report.Field{Name: "load_average_after", Value: loadAverage()})
	judgeStorage(r, plan, found, cfg.Quick)
	return r, nil
}

// storageName is what the rows call a variant.
func storageName(v int) string {
	if storageVariants[v] == subject.Recording {
		return "heliograph"
	}
	return storageVariants[v]
}

// clip encodes the pictures: a moving test pattern with noise, so that the bitrate is really used.
func (p storagePlan) clip(ctx context.Context, dir string) ([]byte, error) {
	path := filepath.Join(dir, "clip.h264")
	pattern := fmt.Sprintf("testsrc2=s=%s:r=30:d=%d,noise=alls=12:allf=t", p.size, media.SampleLoop/time.Second)
	args := "-v error -f lavfi -i " + pattern + " -c:v libx264 -preset superfast -profile:v baseline -tune zerolatency -pix_fmt yuv420p" +
		" -b:v " + p.rate + " -maxrate " + p.rate + " -bufsize " + p.rate + " -g 60 -keyint_min 60 -sc_threshold 0 -f h264 " + path
	if out, err := exec.CommandContext(ctx, "ffmpeg", strings.Fields(args)...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("encode clip: %w: %s", err, out)
	}
	return os.ReadFile(path)
}
