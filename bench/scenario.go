package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/profiles"
	"github.com/heliograph-rtc/heliograph/bench/report"
)

// BenchConfig is what every scenario of heliograph-bench heeds. Its tags are read by the main.
type BenchConfig struct {
	Quick   bool   `flag:"quick" env:"HELIOGRAPH_QUICK" default:"false" help:"smaller, each scenario within a minute" group:"Benchmark"`
	JSON    string `flag:"json" env:"HELIOGRAPH_JSON" default:"" help:"file for the report; - is the standard output, and the tables go to the standard error" group:"Report"`
	HTML    string `flag:"html" env:"HELIOGRAPH_HTML" default:"" help:"file for the report as one HTML page with drawings"`
	Profile string `flag:"profile" env:"HELIOGRAPH_PROFILE" default:"" help:"directory for profiles of what is measured (CPU, heap, mutex, block, goroutine); they slow it down a little"`

	Duration time.Duration `flag:"duration" env:"HELIOGRAPH_DURATION" default:"0" help:"how long it lasts; 0: 5m, and 10s with --quick" group:"Scenario soak"`

	DeviceProgram string `flag:"device-program" env:"HELIOGRAPH_DEVICE_PROGRAM" default:"" help:"the daemon to measure; default: heliograph-device beside this program" group:"Scenario footprint"`

	RTTs []string `flag:"rtts" env:"HELIOGRAPH_RTTS" default:"" help:"these round-trip times instead of 0, 20ms, 50ms and 100ms" group:"Scenario setup"`

	Modes   []string `flag:"modes" env:"HELIOGRAPH_MODES" default:"" help:"only these of the modes burst, paced-1080p and paced-reference" group:"Scenario fanout"`
	Against string   `flag:"against" env:"HELIOGRAPH_AGAINST" default:"" help:"another build of this program: its device is the baseline, in turns with this one's"`
	Viewers []string `flag:"viewers" env:"HELIOGRAPH_VIEWERS" default:"" help:"these numbers of viewers instead of each mode's own"`
}

// scenario is one benchmark.
type scenario struct {
	name  string
	about string // for --help
	run   func(ctx context.Context, cfg BenchConfig, progress io.Writer) (*report.Report, error)
	show  func(w io.Writer, r *report.Report) error
}

// errLacks is why a machine cannot run a scenario at all: together with the others it is skipped then.
var errLacks = errors.New("this machine lacks something")

// allScenarios runs every scenario.
const allScenarios = "all"

func scenarios() []scenario {
	return []scenario{
		{"setup", "offer to first picture, phase by phase", setupScenario, showSetup},
		{"fanout", "what a packet costs the sender, next to pion's defaults", fanoutScenario, showFanout},
		{"model", "viewers per core, predicted from the instructions of a frame's path", modelScenario, showModel},
		{"latency", "capture to complete picture, also next to slow and lossy viewers", latencyScenario, showLatency},
		{"camera", "pictures of GStreamer: encoded next to a plain pipeline, passed through next to the sample", cameraScenario, showCamera},
		{"storage", "ten streams recorded, next to ffmpeg -c copy", storageScenario, showStorage},
		{"mailbox", "ten viewers' candidates at once, by four kinds of queue", mailboxScenario, showMailbox},
		{"footprint", "memory of the device daemon without viewers, with one and with ten", footprintScenario, showFootprint},
		{"signaling", "the service: delivery, connects, idle sockets, next to two baselines", signalingScenario, showSignaling},
		{"churn", "viewers that come and go, and what they leave behind", churnScenario, showChurn},
		{"soak", "viewers that stay while others come and go, and whether anything grows", soakScenario, showSoak},
	}
}

// ScenarioNames are those that Bench knows.
func ScenarioNames() []string {
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.name)
	}
	return append(names, allScenarios)
}

// About is a scenario in a few words.
func About(name string) string {
	for _, s := range scenarios() {
		if s.name == name {
			return s.about
		}
	}
	return "every scenario, one after the other"
}

// Bench runs a scenario and returns what it found; the error says that it could not run. Its tables
// go to tables, progress goes line by line to progress.
func Bench(ctx context.Context, name string, cfg BenchConfig, tables, progress io.Writer) (*report.Report, error) {
	if name == "" {
		return nil, fmt.Errorf("no scenario: name one of %s", strings.Join(ScenarioNames(), ", "))
	}
	if report.ThisMachine().Emulated {
		cfg.Quick = true
		fmt.Fprintln(tables, "EMULATED PROCESSOR: times mean nothing here, and none is judged. What counts is that it works, and allocations.")
	}
	var found []*report.Report
	for _, s := range scenarios() {
		if name != s.name && name != allScenarios {
			continue
		}
		r, err := s.measure(ctx, cfg, tables, progress)
		if name == allScenarios && errors.Is(err, errLacks) {
			fmt.Fprintf(progress, "scenario %s: skipped: %v\n", s.name, err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("scenario %s: %w", s.name, err)
		}
		found = append(found, r)
	}
	if cfg.Profile != "" {
		if _, err := profiles.Merge(cfg.Profile); err != nil {
			return nil, err
		}
	}
	switch {
	case len(found) == 0:
		return nil, fmt.Errorf("there is no scenario %q: name one of %s", name, strings.Join(ScenarioNames(), ", "))
	case name != allScenarios:
		return found[0], nil
	}
	return together(cfg, found), nil
}

// measure runs the scenario and writes its tables.
func (s scenario) measure(ctx context.Context, cfg BenchConfig, tables, progress io.Writer) (*report.Report, error) {
	if cfg.Profile != "" {
		cfg.Profile = filepath.Join(cfg.Profile, s.name)
	}
	r, err := s.run(ctx, cfg, progress)
	if err == nil {
		err = s.show(tables, r)
	}
	if err == nil && cfg.Profile != "" {
		err = whereTimeGoes(tables, r, cfg.Profile)
	}
	if err != nil {
		return nil, err
	}
	return r, verdict(tables, r)
}

// whereTimeGoes reads the profiles of a scenario.
func whereTimeGoes(w io.Writer, r *report.Report, dir string) error {
	p, err := profiles.Merge(dir)
	if err != nil || p == nil {
		return err
	}
	r.Summary = append(r.Summary, report.Field{Name: "time_by_layer", Value: profiles.Layers(p)})
	return profiles.Show(w, p)
}

// together is the report of all scenarios: each row and each failure says whose it is.
func together(cfg BenchConfig, parts []*report.Report) *report.Report {
	all := report.New(allScenarios, report.Row{{Name: "quick", Value: cfg.Quick}})
	for _, part := range parts {
		for _, row := range part.Rows {
			all.Rows = append(all.Rows, append(report.Row{{Name: "scenario", Value: part.Scenario}}, row...))
		}
		all.Summary = append(all.Summary, report.Field{Name: part.Scenario, Value: part.Summary})
		for _, failure := range part.Failures {
			all.Fail("%s: %s", part.Scenario, failure)
		}
	}
	return all
}

// verdict writes PASS, or FAIL and why.
func verdict(w io.Writer, r *report.Report) error {
	if r.Pass {
		_, err := fmt.Fprintln(w, "\nPASS")
		return err
	}
	fmt.Fprintln(w, "\nFAIL")
	for _, f := range r.Failures {
		fmt.Fprintln(w, " ", f)
	}
	return nil
}
