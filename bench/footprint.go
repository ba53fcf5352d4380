package bench

// Scenario footprint: what the device daemon itself takes of a machine. In order of execution:
//
//	service  in this process
//	device   heliograph-device with its defaults, a process of its own, no viewer yet: idle
//	viewers  one, then ten, that answer with NACKs and feedback as browsers do
//	leave    all of them: what is kept

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/subject"
)

const (
	deviceProgram = "heliograph-device"
	footprintSlot = 5 * time.Second // from a change of the viewers to the measurement
)

func footprintScenario(ctx context.Context, cfg BenchConfig, progress io.Writer) (*report.Report, error) {
	slot, rounds := footprintSlot, 3
	if cfg.Quick {
		slot, rounds = 2*time.Second, 1
	}
	r := report.New("footprint", report.Row{
		{Name: "quick", Value: cfg.Quick}, {Name: "rounds", Value: rounds}, {Name: "settle_s", Value: slot},
	})
	program, size, err := findDevice(cfg.DeviceProgram)
	if err != nil {
		fmt.Fprintf(progress, "footprint: NOT MEASURED: %v\n", err)
		r.Summary = report.Row{{Name: "not_measured", Value: err.Error()}}
		return r, nil
	}
	samples := map[string][]subject.Memory{}
	for round := range rounds {
		f := footprintRun{program: program, slot: slot, progress: progress, samples: samples}
		if err := f.run(ctx); err != nil {
			return nil, fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	for _, state := range footprintStates {
		r.Rows = append(r.Rows, footprintRow(state.name, state.viewers, samples[state.name]))
	}
	r.Summary = report.Row{{Name: "binary_bytes", Value: size}}
	return r, nil
}

var footprintStates = []struct {
	name    string
	viewers int
}{{"idle", 0}, {"one viewer", 1}, {"ten viewers", 10}, {"all have left", 0}}

// findDevice looks beside this program where nothing is named.
func findDevice(named string) (path string, size int64, err error) {
	if path = named; path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", 0, err
		}
		path = filepath.Join(filepath.Dir(self), deviceProgram)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", 0, fmt.Errorf("no %s beside this program, name it with --device-program: %w", deviceProgram, err)
	}
	return path, info.Size(), nil
}

type footprintRun struct {
	program  string
	slot     time.Duration
	progress io.Writer
	samples  map[string][]subject.Memory
}

func (f footprintRun) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "footprint-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := service.Start(ctx, service.Config{
		Dir: dir, Public: freeLoopback, Local: freeLoopback, RelayUDP: freeLoopback, RelayTCP: freeLoopback, Limits: service.Limits{Unlimited: true},
	})
	if err != nil {
		return fmt.Errorf("start embedded service: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		err = errors.Join(err, s.Stop(ctx))
	}()
	device, err := f.start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, device.Process.Signal(syscall.SIGTERM), device.Wait())
	}()
	return f.visit(ctx, s, strconv.Itoa(device.Process.Pid))
}

// start runs the daemon as its user would, with its defaults.
func (f footprintRun) start(ctx context.Context, dir string) (*exec.Cmd, error) {
	env, err := service.ReadEnv(dir)
	if err != nil {
		return nil, err
	}
	device := exec.CommandContext(ctx, f.program, "--channel", worldChannel, "--endpoint", env.Endpoint, "--region", env.Region,
		"--ca-file", env.CAFile, "--admin", "", "--log-level", "error")
	device.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+env.Credentials.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+env.Credentials.SecretAccessKey)
	device.Stderr = os.Stderr
	if err := device.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", deviceProgram, err)
	}
	return device, nil
}

// visit lets viewers come and go, and looks at the daemon in between.
func (f footprintRun) visit(ctx context.Context, s *service.Service, process string) (err error) {
	api, err := spectatorAPI(true, true)
	if err != nil {
		return err
	}
	var c crowd
	defer func() { err = errors.Join(err, c.leave()) }()
	var l *lobby
	for _, state := range footprintStates {
		if state.viewers < len(c) {
			if err := c.leave(); err != nil {
				return err
			}
			c = nil
		}
		for len(c) < state.viewers {
			if l == nil {
				if l, err = openLobby(ctx, s, worldChannel, api); err != nil {
					return err
				}
			}
			viewer, err := l.join(ctx, fmt.Sprintf("viewer-%d", len(c)+1))
			if err != nil {
				return err
			}
			c = append(c, viewer)
		}
		if !pause(ctx, f.slot) {
			return ctx.Err()
		}
		m, err := subject.MemoryOf(process)
		if err != nil {
			return err
		}
		f.samples[state.name] = append(f.samples[state.name], m)
		fmt.Fprintf(f.progress, "footprint: %s: RSS %.1f MB\n", state.name, float64(m.RSS)/1e6)
	}
	return nil
}

func footprintRow(state string, viewers int, samples []subject.Memory) report.Row {
	figure := func(of func(subject.Memory) uint64) spread[uint64] {
		var values []uint64
		for _, m := range samples {
			values = append(values, of(m))
		}
		return spreadOf(values)
	}
	rss, private, peak := figure(func(m subject.Memory) uint64 { return m.RSS }), figure(func(m subject.Memory) uint64 { return m.Private }),
		figure(func(m subject.Memory) uint64 { return m.Peak })
	return report.Row{
		{Name: "state", Value: state}, {Name: "viewers", Value: viewers},
		{Name: "rss_bytes", Value: rss.median}, {Name: "rss_min_bytes", Value: rss.least}, {Name: "rss_max_bytes", Value: rss.most},
		{Name: "private_rss_bytes", Value: private.median}, {Name: "peak_rss_bytes", Value: peak.median},
	}
}

func showFootprint(w io.Writer, r *report.Report) error {
	if len(r.Rows) == 0 {
		return nil
	}
	if err := report.Table(w, r.Rows, "state", "viewers", "rss_bytes", "rss_min_bytes", "rss_max_bytes", "private_rss_bytes", "peak_rss_bytes"); err != nil {
		return err
	}
	size, _ := r.Summary.Get("binary_bytes").(int64)
	_, err := fmt.Fprintf(w, "\nbinary %.1f MB\n", float64(size)/1e6)
	return err
}
