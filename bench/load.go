package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/bench/impair"
	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// Flow of Load: find or start the target -> one edge per viewer, staggered -> wait until everybody
// plays or has failed -> watch together -> judge -> table and JSON.

const (
	progressEvery = time.Second

	// AWS admits 3 viewers per second to a channel (kvs-protocol.md 3.8).
	awsStagger = 350 * time.Millisecond
)

// LoadConfig says who watches what. Its tags are read by the main.
type LoadConfig struct {
	Viewers  int           `flag:"viewers" env:"HELIOGRAPH_VIEWERS" default:"10" help:"how many viewers watch" group:"Load"`
	Duration time.Duration `flag:"duration" env:"HELIOGRAPH_DURATION" default:"20s" help:"how long all of them watch together, once everybody plays"`
	Stagger  time.Duration `flag:"stagger" env:"HELIOGRAPH_STAGGER" default:"0s" help:"time between one viewer's start and the next; against AWS 350ms at least"`

	Embedded  bool   `flag:"embedded" env:"HELIOGRAPH_EMBEDDED" default:"false" help:"start a service and a device for this run" group:"Target"`
	AWSLimits bool   `flag:"aws-limits" env:"HELIOGRAPH_AWS_LIMITS" default:"false" help:"the embedded service keeps to AWS's limits, which are lifted otherwise"`
	Source    string `flag:"source" env:"HELIOGRAPH_SOURCE" default:"sample" help:"what the embedded device sends: sample"`
	Channel   string `flag:"channel" env:"AWS_KVS_CHANNEL_NAME" default:"" help:"name of the signaling channel"`
	Endpoint  string `flag:"endpoint" env:"CONTROL_PLANE_URI,AWS_ENDPOINT_URL_KINESIS_VIDEO" default:"" help:"control plane URL of a compatible service; empty: AWS"`
	Region    string `flag:"region" env:"AWS_REGION,AWS_DEFAULT_REGION" default:"us-west-2" help:"AWS region"`
	Profile   string `flag:"profile" env:"AWS_PROFILE" default:"" help:"profile of the shared AWS configuration"`
	CAFile    string `flag:"ca-file" env:"AWS_KVS_CACERT_PATH,AWS_CA_CERT_PATH" default:"" help:"PEM file of the roots to trust; empty: the system's"`

	RelayOnly bool          `flag:"relay-only" env:"HELIOGRAPH_RELAY_ONLY" default:"false" help:"viewers connect through TURN alone" group:"Viewers"`
	RelayWait time.Duration `flag:"relay-wait" env:"HELIOGRAPH_RELAY_WAIT" default:"50ms" help:"how long viewers wait for a direct path before they take one through TURN"`
	Save      string        `flag:"save" env:"HELIOGRAPH_SAVE" default:"" help:"Matroska file (.mkv) for what the one viewer sees and hears"`
	SendAudio bool          `flag:"send-audio" env:"HELIOGRAPH_SEND_AUDIO" default:"false" help:"viewers talk back: the sample's Opus"`
	RTT       time.Duration `flag:"rtt" env:"HELIOGRAPH_RTT" default:"0s" help:"round trip that the viewers' network adds" group:"Network"`
	Loss      float64       `flag:"loss" env:"HELIOGRAPH_LOSS" default:"0" help:"share of packets that it loses in each direction, 0 to 1"`
	Rate      int           `flag:"rate" env:"HELIOGRAPH_RATE" default:"0" help:"bits per second that it carries in each direction, per socket; 0: any"`
	Seed      int           `flag:"seed" env:"HELIOGRAPH_SEED" default:"1" help:"the same seed loses the same packets"`

	JSON        string        `flag:"json" env:"HELIOGRAPH_JSON" default:"" help:"file for the report; - is the standard output, and the tables go to the standard error" group:"Report"`
	PrintPhases bool          `flag:"print-phases" env:"HELIOGRAPH_PRINT_PHASES" default:"true" help:"print each viewer's setup phases"`
	MaxKeyP50   time.Duration `flag:"max-first-key-frame-p50" env:"HELIOGRAPH_MAX_FIRST_KEY_FRAME_P50" default:"0s" help:"fail above this; 0s: no bound"`
	MaxKeyP95   time.Duration `flag:"max-first-key-frame-p95" env:"HELIOGRAPH_MAX_FIRST_KEY_FRAME_P95" default:"0s" help:"fail above this; 0s: no bound"`

	Log *zap.Logger // of the embedded service and device; nil: none
}

func (c LoadConfig) check() error {
	switch {
	case c.Viewers < 1:
		return errors.New("--viewers must be 1 at least")
	case c.Duration <= 0 || c.Stagger < 0 || c.RTT < 0 || c.Rate < 0:
		return errors.New("--duration must be above zero; --stagger, --rtt and --rate must not be below")
	case c.Save != "" && c.Viewers != 1:
		return errors.New("--save keeps what one viewer gets: --viewers 1")
	case c.Loss < 0 || c.Loss > 1:
		return errors.New("--loss is a share: 0 to 1")
	case !c.Embedded && c.Channel == "":
		return errors.New("no channel: set --channel or AWS_KVS_CHANNEL_NAME, or use --embedded")
	case c.Embedded && c.Endpoint != "":
		return errors.New("--embedded and --endpoint exclude each other")
	case c.Embedded && c.Source != "sample":
		return fmt.Errorf("open source %q: not known; use sample", c.Source)
	}
	return nil
}

// target is what the viewers of a run watch.
type target struct {
	viewer  ViewerConfig // of every viewer, but for its number and id
	dropped func(ctx context.Context) (uint64, error)
	stop    func() error
}

// Load runs the load test and returns what it found; the error says that it could not run. Progress
// goes line by line to progress.
func Load(ctx context.Context, cfg LoadConfig, progress io.Writer) (_ *report.Report, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	t, err := cfg.target(ctx, progress)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	if !cfg.Embedded && cfg.Endpoint == "" && cfg.Stagger < awsStagger {
		cfg.Stagger = awsStagger
	}
	viewers, err := cfg.viewers(t.viewer)
	if err != nil {
		return nil, err
	}
	watchTogether(ctx, cfg, viewers, progress)
	dropped, err := t.dropped(context.WithoutCancel(ctx))
	if err != nil {
		return nil, fmt.Errorf("ask the device for its counters: %w", err)
	}
	rows := make([]Row, len(viewers))
	for i, v := range viewers {
		rows[i] = v.Row()
		dropped += rows[i].CandidatesDropped
	}
	r := cfg.judge(rows, dropped)
	if ctx.Err() != nil {
		r.Fail("interrupted")
	}
	return r, nil
}

func (c LoadConfig) target(ctx context.Context, progress io.Writer) (target, error) {
	if c.Embedded {
		w, err := StartWorld(ctx, WorldConfig{Viewers: c.admitted(), AWSLimits: c.AWSLimits, Log: c.Log})
		if err != nil {
			return target{}, err
		}
		limits := "AWS's limits are lifted"
		if c.AWSLimits {
			limits = "AWS's limits are kept"
		}
		fmt.Fprintf(progress, "embedded service and device are ready; %s\n", limits)
		return target{w.Viewer(0, ""), w.CandidatesDropped, w.Stop}, nil
	}
	roots, err := aws.ReadRoots(c.CAFile)
	if err != nil {
		return target{}, err
	}
	provider, err := aws.DefaultChain(ctx, c.Region, c.Profile)
	if err != nil {
		return target{}, err
	}
	return target{
		viewer: ViewerConfig{
			Channel: c.Channel, Region: c.Region, ControlPlane: c.Endpoint, RootCAs: roots,
			Credentials: provider, Loopback: aws.OnLoopback(c.Endpoint),
		},
		dropped: func(context.Context) (uint64, error) { return 0, nil }, // a device elsewhere keeps its counters
		stop:    func() error { return nil },
	}, nil
}

// admitted is how many viewers the embedded device takes.
func (c LoadConfig) admitted() int {
	if c.AWSLimits {
		return viewersDefault
	}
	return max(c.Viewers, viewersDefault)
}

func (c LoadConfig) viewers(common ViewerConfig) ([]*Viewer, error) {
	if c.SendAudio {
		packets, err := media.SampleAudio()
		if err != nil {
			return nil, err
		}
		common.Audio = packets
	}
	common.RelayOnly, common.RelayWait, common.Save = c.RelayOnly, c.RelayWait, c.Save
	var run [4]byte
	_, _ = rand.Read(run[:]) // never fails
	viewers := make([]*Viewer, c.Viewers)
	for i := range viewers {
		cfg := common
		cfg.Number = i + 1
		cfg.ClientID = fmt.Sprintf("load-%s-%d", hex.EncodeToString(run[:]), i+1)
		cfg.Network = impair.Profile{RTT: c.RTT, Loss: c.Loss, RateBps: c.Rate, Seed: uint64(c.Seed)<<32 + uint64(i)}
		v, err := NewViewer(cfg)
		if err != nil {
			return nil, err
		}
		viewers[i] = v
	}
	return viewers, nil
}

// watchTogether runs the viewers until all of them have played for the whole duration, or ctx ends.
func watchTogether(ctx context.Context, cfg LoadConfig, viewers []*Viewer, progress io.Writer) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group actors.Group
	settled := make(chan struct{}, len(viewers)) // one token from each viewer that plays or has ended
	for i, v := range viewers {
		ended := make(chan struct{})
		group.Go("viewer", func() error {
			defer close(ended)
			if !pause(ctx, time.Duration(i)*cfg.Stagger) {
				return nil
			}
			return v.Run(ctx)
		})
		group.Go("wait for viewer", func() error {
			select {
			case <-v.Playing():
			case <-ended:
			}
			settled <- struct{}{}
			return nil
		})
	}
	began := time.Now()
	ticks := time.NewTicker(progressEvery)
	defer ticks.Stop()
	var over <-chan time.Time
	for waiting := len(viewers); ctx.Err() == nil; {
		select {
		case <-settled:
			if waiting--; waiting == 0 {
				over = time.After(cfg.Duration)
			}
		case <-ticks.C:
			printProgress(progress, time.Since(began), viewers)
		case <-over:
			cancel()
		case <-ctx.Done():
		}
	}
	_ = group.Wait() // each viewer's row tells its error
}

// pause waits; false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func printProgress(w io.Writer, since time.Duration, viewers []*Viewer) {
	var connected, playing int
	var pictures, lost uint64
	for _, v := range viewers {
		p := v.Progress()
		if p.Connected {
			connected++
		}
		if p.Playing {
			playing++
		}
		pictures, lost = pictures+p.Pictures, lost+p.Lost
	}
	fmt.Fprintf(w, "%4.0f s  connected %d/%d  playing %d  frames %d  lost packets %d\n",
		since.Seconds(), connected, len(viewers), playing, pictures, lost)
}
