package report

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReportHasTheContractsShape(t *testing.T) {
	r := New("load", Row{{"duration_s", 20 * time.Second}})
	r.Rows = append(r.Rows, Row{
		{"viewer", 1}, {"ok", true}, {"first_rtp_s", 12345678 * time.Nanosecond},
		{"latency_p50_s", nil}, {"fps", 29.97003}, {"ratio", math.Inf(1)},
		{"time_rounds_s", []time.Duration{time.Second}}, {"ns_rounds", []float64{1.23456, math.NaN()}},
	})
	r.Summary = Row{{"viewers", 1}}
	r.Fail("viewer %d: %s", 1, "froze")
	file := filepath.Join(t.TempDir(), "report.json")
	if err := r.WriteFile(file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	machine, err := json.Marshal(ThisMachine())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"schema":1,"scenario":"load","machine":` + string(machine) + `,"config":{"duration_s":20},` +
		`"rows":[{"viewer":1,"ok":true,"first_rtp_s":0.012346,"latency_p50_s":null,"fps":29.97,"ratio":null,"time_rounds_s":[1],"ns_rounds":[1.235,null]}],` +
		`"summary":{"viewers":1},"pass":false,"failures":["viewer 1: froze"]}`
	var got bytes.Buffer
	if err := json.Compact(&got, b); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("got  %s\nwant %s", &got, want)
	}
}

func TestEmptyReportHasNoNulls(t *testing.T) {
	var b bytes.Buffer
	if err := New("churn", nil).Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"config": {}`, `"rows": []`, `"summary": {}`, `"failures": []`, `"pass": true`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is missing in %s", want, &b)
		}
	}
}

func TestEmulatorIsKnown(t *testing.T) {
	const x86, arm = "processor : 0\nvendor_id : GenuineIntel\n", "processor : 0\nCPU implementer : 0x41\n"
	for _, c := range []struct {
		arch, info string
		want       bool
	}{{"amd64", x86, false}, {"arm64", arm, false}, {"arm", arm, false}, {"arm64", x86, true}, {"arm", x86, true}, {"amd64", arm, true}, {"arm64", "", false}} {
		if got := emulated(c.arch, c.info); got != c.want {
			t.Errorf("%s with %q: %v", c.arch, c.info, got)
		}
	}
}

func TestMachineKnowsItself(t *testing.T) {
	m := ThisMachine()
	if m.CPU == "" || m.Cores < 1 || m.Arch != runtime.GOARCH || m.Kernel == "" || !strings.HasPrefix(m.Go, "go") {
		t.Errorf("%+v", m)
	}
}

func TestQuantiles(t *testing.T) {
	var l Latency
	if q := l.Quantile(0.5); q != nil {
		t.Errorf("median of nothing: %v", q)
	}
	for i := range 1000 {
		l.Record(time.Duration(i+1) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{
		0.5: 500 * time.Millisecond, 0.95: 950 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second,
	} {
		got := l.Quantile(q).(time.Duration)
		if diff := (got - want).Abs(); diff > want/500 {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	shape := l.Distribution()
	if last := shape[len(shape)-1]; len(shape) < 10 || len(shape) > 80 || last[0] < 0.99 || last[0] >= 1 || last[1] < 0.98 {
		t.Errorf("%d points, the last %v", len(shape), last)
	}
	var both, none Latency
	if len(none.Distribution()) > 0 {
		t.Error("nothing has a distribution")
	}
	both.Add(&none)
	both.Add(&l)
	both.Add(&l)
	if n, q := both.Count(), both.Quantile(0.5); n != 2000 || q != l.Quantile(0.5) {
		t.Errorf("twice the same: %d durations, median %v", n, q)
	}
	l.Record(-time.Second)
	l.Record(100 * time.Hour)
	if l.Count() != 1002 {
		t.Errorf("count %d", l.Count())
	}
	if low := l.Quantile(0).(time.Duration); low != 0 {
		t.Errorf("smallest %v", low)
	}
}

func TestTableLinesUp(t *testing.T) {
	var b bytes.Buffer
	err := Table(&b, []Row{
		{{"viewer", 1}, {"ok", true}, {"first_rtp_s", 5300 * time.Microsecond}, {"bitrate_bps", 1.25e6}, {"fps", 30.04}},
		{{"viewer", 10}, {"ok", false}, {"first_rtp_s", nil}, {"bitrate_bps", 0.0}, {"fps", 0.0}},
	}, "viewer", "ok", "first_rtp_s", "fps", "bitrate_bps")
	if err != nil {
		t.Fatal(err)
	}
	want := "" +
		"  viewer   ok  first rtp   fps      bitrate\n" +
		"       1  yes     5.3 ms  30.0  1.25 Mbit/s\n" +
		"      10   NO          -   0.0  0.00 Mbit/s\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
}
