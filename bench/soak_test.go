package bench

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

func TestNothingGrowsWhileViewersComeAndGo(t *testing.T) {
	samples, err := (soakPlan{duration: time.Millisecond, stay: 2, comer: 2, warm: 4}).run(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(samples) != soakSamplesMin {
		t.Fatalf("%d samples", len(samples))
	}
	for i, s := range samples {
		if s.joins != 2*(i+1) || s.sent == 0 || s.memory == 0 || s.peers < 2 || s.goroutines == 0 || s.heap == 0 {
			t.Errorf("%+v", s)
		}
	}
	r := report.New("soak", nil)
	judgeSoak(r, samples)
	var table bytes.Buffer
	if err := showSoak(&table, r); err != nil || strings.Count(table.String(), "\n") != soakSamplesMin+len(soakFigures)+3 {
		t.Errorf("%v in\n%s", err, &table)
	}
}

func TestSoakTellsWhatGrows(t *testing.T) {
	var samples []soakSample
	for i := range 10 {
		n := i * 4
		samples = append(samples, soakSample{
			standing: standing{goroutines: 100 + n, files: 10, peers: 3, actors: 9, heap: uint64(5e6 + n*300_000)},
			joins:    n, memory: 4e7, sent: 1000, lost: 2, dropped: 1,
		})
	}
	r := report.New("soak", nil)
	judgeSoak(r, samples)
	if got := strings.Join(r.Failures, "; "); r.Pass || len(r.Failures) != 4 || !strings.HasPrefix(got, "goroutines grew by 36.0 from 100.0") || !strings.Contains(got, "heap_bytes") {
		t.Errorf("%q", r.Failures)
	}
	grown, _ := r.Summary.Get("goroutines").(report.Row)
	if grown.Get("growth_per_join") != 1.0 {
		t.Errorf("%v", grown)
	}
}

func TestSoakLastsAsLongAsItIsTold(t *testing.T) {
	if p := planSoak(true, 0); p.duration != 10*time.Second {
		t.Errorf("%+v", p)
	}
	if p := planSoak(true, time.Hour); p.duration != time.Hour {
		t.Errorf("%+v", p)
	}
}
