package bench

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

func goodRow(number int) Row {
	return Row{
		Viewer: number, FirstRTP: 8 * time.Millisecond, FirstKeyFrame: 12 * time.Millisecond, Frames: 700, CatchUpFrames: 30,
		FPS: 29.8, SourceFPS: 30, BitrateBps: 1.1e6, LatencyP50: time.Millisecond, LatencyP99: 3 * time.Millisecond,
		Pair: "host/host", Phases: messages.Phases{messages.PhaseFindPair: 2 * time.Millisecond, messages.PhaseDescribeChannel: time.Millisecond},
	}
}

func TestVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		cfg     LoadConfig
		spoil   func(*Row)
		dropped uint64
		want    string // empty: passes
	}{
		"good":           {},
		"error":          {spoil: func(r *Row) { r.Error = "no answer" }, want: "viewer 2: no answer"},
		"no key frame":   {spoil: func(r *Row) { r.FirstKeyFrame = nil }, want: "viewer 2: no decodable key frame"},
		"slow":           {spoil: func(r *Row) { r.FPS = 29 }, want: "viewer 2: 29.0 frames per second, the source makes 30.0"},
		"fast":           {spoil: func(r *Row) { r.FPS = 31 }, want: "viewer 2: 31.0 frames per second"},
		"rate unknown":   {spoil: func(r *Row) { r.SourceFPS = 0 }, want: "viewer 2: too few frames"},
		"freeze":         {spoil: func(r *Row) { r.Freezes, r.Frozen = 1, time.Second }, want: "viewer 2: the picture froze 1 times, 1s in all"},
		"dropped":        {dropped: 3, want: "3 ICE candidates were dropped"},
		"p50 in bounds":  {cfg: LoadConfig{MaxKeyP50: 20 * time.Millisecond}},
		"p50 above":      {cfg: LoadConfig{MaxKeyP50: 10 * time.Millisecond}, want: "first key frame p50 is 12"},
		"p95 above":      {cfg: LoadConfig{MaxKeyP95: 100 * time.Millisecond}, spoil: func(r *Row) { r.FirstKeyFrame = time.Second }, want: "first key frame p95 is 1"},
		"p95 of the few": {cfg: LoadConfig{MaxKeyP95: 100 * time.Millisecond}},
	} {
		rows := []Row{goodRow(1), goodRow(2), goodRow(3)}
		if c.spoil != nil {
			c.spoil(&rows[1])
		}
		r := c.cfg.judge(rows, c.dropped)
		failures := strings.Join(r.Failures, "; ")
		if r.Pass != (c.want == "") || !strings.Contains(failures, c.want) {
			t.Errorf("%s: pass %v, failures %q, want %q", name, r.Pass, failures, c.want)
		}
	}
}

// TestReportShape holds the report against the machine contract of design.md section 7.
func TestReportShape(t *testing.T) {
	failed := Row{Viewer: 2, Error: "no answer", Phases: messages.Phases{}}
	var b bytes.Buffer
	if err := (LoadConfig{Viewers: 2, Duration: time.Second}).judge([]Row{goodRow(1), failed}, 0).Write(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Schema   int
		Scenario string
		Machine  map[string]any
		Config   map[string]any
		Rows     []map[string]any
		Summary  map[string]any
		Pass     *bool
		Failures []string
	}
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != 1 || got.Scenario != "load" || got.Pass == nil || *got.Pass || len(got.Failures) != 1 {
		t.Errorf("%+v", got)
	}
	has := func(what string, object map[string]any, names ...string) {
		t.Helper()
		for _, name := range names {
			if _, ok := object[name]; !ok {
				t.Errorf("%s lacks %s: %v", what, name, slices.Sorted(maps.Keys(object)))
			}
		}
	}
	has("machine", got.Machine, "cpu", "cores", "arch", "kernel", "go")
	has("config", got.Config, "viewers", "duration_s")
	for _, row := range got.Rows {
		has("row", row, "viewer", "ok", "error", "first_rtp_s", "first_key_frame_s", "frames", "fps", "bitrate_bps",
			"packets_lost", "freezes", "latency_p50_s", "latency_p99_s", "pair")
	}
	has("first row", got.Rows[0], "find_pair_s", "describe_channel_s")
	has("summary", got.Summary, "viewers", "ok", "first_key_frame_p50_s", "first_key_frame_p95_s", "candidates_dropped")
	if got.Rows[0]["first_key_frame_s"] != 0.012 || got.Rows[1]["first_key_frame_s"] != nil || got.Rows[1]["ok"] != false {
		t.Errorf("rows %v", got.Rows)
	}
	p95, _ := got.Summary["first_key_frame_p95_s"].(float64)
	if got.Summary["ok"] != 1.0 || got.Summary["viewers"] != 2.0 || p95 < 0.0119 || p95 > 0.0121 {
		t.Errorf("summary %v", got.Summary)
	}
}

func TestPrintTellsTheVerdict(t *testing.T) {
	var b bytes.Buffer
	r := LoadConfig{}.judge([]Row{goodRow(1), {Viewer: 2, Error: "no answer"}}, 0)
	if err := Print(&b, r, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"describe channel  find pair", "2.0 ms", "host/host", "1.10 Mbit/s", "FAIL", "viewer 2: no answer"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &b)
		}
	}
}

func TestLoadRefusesWhatCannotRun(t *testing.T) {
	good := LoadConfig{Viewers: 1, Duration: time.Second, Embedded: true, Source: "sample"}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*LoadConfig){
		"--viewers":  func(c *LoadConfig) { c.Viewers = 0 },
		"--duration": func(c *LoadConfig) { c.Duration = 0 },
		"--loss":     func(c *LoadConfig) { c.Loss = 30 },
		"--channel":  func(c *LoadConfig) { c.Embedded = false },
		"--endpoint": func(c *LoadConfig) { c.Endpoint = "https://127.0.0.1:8443" },
		"source":     func(c *LoadConfig) { c.Source = "rtsp://camera" },
	} {
		c := good
		spoil(&c)
		if err := c.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
