package charts

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

const results = "../results"

func TestPageShowsTheKeptResults(t *testing.T) {
	files, err := filepath.Glob(results + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no results: %v", err)
	}
	var reports []*report.Report
	for _, file := range files {
		r, err := report.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, r)
	}
	out := filepath.Join(t.TempDir(), "page.html")
	if err := Write(out, reports...); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, r := range reports {
		if !strings.Contains(page, `<section id="`+r.Scenario+`">`) {
			t.Errorf("the page lacks %s", r.Scenario)
		}
	}
	for _, want := range []string{"Setup, phase by phase", "burst: CPU per packet", "paced-1080p: CPU per viewer", "Latency distribution", reports[0].Machine.CPU} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, far := range []string{"http://", "https://", "NaN", "Inf", "ZgotmplZ"} {
		if strings.Contains(page, far) {
			t.Errorf("the page holds %s", far)
		}
	}
	drawn := 0
	for rest := page; ; drawn++ {
		_, after, found := strings.Cut(rest, "<svg")
		if !found {
			break
		}
		body, after, _ := strings.Cut(after, "</svg>")
		wellFormed(t, "<svg"+body+"</svg>")
		rest = after
	}
	if drawn < 10 {
		t.Errorf("%d drawings", drawn)
	}
}

func wellFormed(t *testing.T, svg string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %.200s", err, svg)
		}
	}
}

func TestScalesAndTicks(t *testing.T) {
	linear := scale{low: 0, high: 9.3, from: 100, to: 0}
	if got := linear.ticks(); len(got) != 5 || got[4].text != "8" || linear.at(9.3) != 0 || linear.at(0) != 100 {
		t.Errorf("%v", got)
	}
	log := scale{low: 0.1, high: 100, from: 0, to: 300, log: true}
	if got := log.ticks(); len(got) != 4 || got[0].text != "0.1" || log.at(1) != 100 {
		t.Errorf("%v %v", got, log.at(1))
	}
	for v, want := range map[float64]string{0: "0", 4.2e-7: "0.42 µs", 0.0045634: "4.56 ms", 1.25: "1.25 s"} {
		if got := span(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
}

func TestEmptyReportHasNoDrawings(t *testing.T) {
	for _, name := range []string{"setup", "fanout", "latency", "mailbox", "signaling", "soak", "other"} {
		if _, figures := drawings(&report.Report{Scenario: name}); len(figures) > 0 {
			t.Errorf("%s draws nothing %d times", name, len(figures))
		}
	}
}

func TestFloorIsScaledToAViewersPackets(t *testing.T) {
	r := &report.Report{Scenario: "fanout", Rows: []report.Row{{
		{Name: "variant", Value: "heliograph"}, {Name: "mode", Value: "paced"}, {Name: "viewers", Value: 10.0},
		{Name: "cpu_us_per_packet", Value: 2.0}, {Name: "cpu_s_per_s", Value: 0.01},
	}}}
	// 5000 packets a second, 500 to each viewer, at half a microsecond.
	if s, ok := floorSeries(r, "paced", 0.5); !ok || round(s.points[0].y, 6) != 0.25 {
		t.Errorf("%+v", s)
	}
}
