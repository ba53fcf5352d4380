package bench

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/subject"
)

// gentle is a burst that viewers of a busy machine can take.
func gentle(int) subject.Script {
	return subject.Script{Every: 20 * time.Millisecond, Pictures: 2, Slices: 1, Bytes: burstBytes, KeyEvery: 25, KeyBytes: burstBytes}
}

// smallFanout passes through every kind of mode and every variant.
var smallFanout = fanoutPlan{rounds: 1, modes: []fanoutMode{
	{modeBurst, []int{2}, []string{subject.Device, subject.Pion, subject.PionSHA1}, gentle, 100 * time.Millisecond, 200 * time.Millisecond, false},
	{modeReference, []int{0, 1}, []string{subject.Device, subject.Pion, subject.Bare}, reference, 100 * time.Millisecond, 400 * time.Millisecond, true},
}}

func TestFanoutMeasuresEveryVariant(t *testing.T) {
	found, err := smallFanout.run(t.Context(), BenchConfig{Profile: t.TempDir() + "/cpu"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r := report.New("fanout", nil)
	judgeFanout(r, found, true)
	if !r.Pass || len(r.Rows) != 9 {
		t.Fatalf("%d rows, %q", len(r.Rows), r.Failures)
	}
	for i, row := range r.Rows {
		viewers, baseline := row.Get("viewers").(int), row.Get("variant") != "heliograph"
		for _, name := range []string{"cpu_s_per_s", "cpu_min_s_per_s", "cpu_max_s_per_s", "rss_bytes", "private_rss_bytes"} {
			if row.Get(name) == nil {
				t.Errorf("row %d lacks %s: %v", i, name, row)
			}
		}
		for _, name := range []string{"cpu_us_per_packet", "cpu_min_us_per_packet", "cpu_max_us_per_packet", "allocs_per_packet"} {
			if has := row.Get(name) != nil; has != (viewers > 0) {
				t.Errorf("row %d, %s: %v", i, name, row)
			}
		}
		if has := row.Get("ratio") != nil; has != baseline {
			t.Errorf("ratio in row %d: %v", i, row)
		}
	}
	// Ten instants, whose pictures 10 to 29 have a key frame among them.
	const want = 2 * (10*2*burstPackets + 1)
	for v, cost := range found[0].rounds[0] {
		if cost.packets != want || cost.lost > 0 {
			t.Errorf("%s: %d packets instead of %d, %d lost", found[0].variants[v], cost.packets, want, cost.lost)
		}
	}
	// 20 packets of sound and ten pictures of six; a key frame is more to ours, with its parameter sets.
	for v, cost := range found[2].rounds[0] {
		if cost.packets < 80 || cost.packets > 90 || cost.lost > 0 {
			t.Errorf("reference, %s: %d packets, %d lost", found[2].variants[v], cost.packets, cost.lost)
		}
	}
	var tables bytes.Buffer
	if err := showFanout(&tables, r); err != nil || strings.Count(tables.String(), subject.PionSHA1) == 0 {
		t.Errorf("%v in\n%s", err, &tables)
	}
}

func TestFanoutPlanIsCutDown(t *testing.T) {
	plan, err := planFanout(false).only(BenchConfig{Modes: []string{modePaced}, Viewers: []string{"3", "7"}})
	if err != nil || len(plan.modes) != 1 || plan.modes[0].name != modePaced || !slices.Equal(plan.modes[0].viewers, []int{3, 7}) {
		t.Errorf("%v %+v", err, plan)
	}
	for _, cfg := range []BenchConfig{{Modes: []string{modeBurst, "brust"}}, {Viewers: []string{"ten"}}, {Viewers: []string{"-1"}}} {
		if _, err := planFanout(false).only(cfg); err == nil {
			t.Errorf("%q %q pass", cfg.Modes, cfg.Viewers)
		}
	}
}

// ranAs makes rounds in which ours costs so much per second and the baselines so many times that.
func ranAs(mode string, viewers int, cpu time.Duration, times ...float64) *fanoutFound {
	f := &fanoutFound{mode: mode, viewers: viewers, variants: []string{subject.Device, subject.Pion, subject.PionSHA1}[:1+len(times)]}
	for round := range 3 {
		costs := []fanoutCost{{span: time.Second, cpu: cpu, packets: 1000, mallocs: 200, sends: 70, peak: 20_000_000}}
		for _, n := range times {
			off := 1 + 0.2*float64(round-1) // the middle round is the median
			costs = append(costs, fanoutCost{span: time.Second, cpu: time.Duration(float64(cpu) * n * off), packets: 1000, sends: -1})
		}
		f.rounds = append(f.rounds, costs)
	}
	return f
}

func TestFanoutGoals(t *testing.T) {
	lossy := ranAs(modePaced, 3, time.Millisecond, 5)
	lossy.rounds[0][1].lost = 100
	wasteful := ranAs(modeBurst, 10, time.Millisecond, 5, 5)
	for _, round := range wasteful.rounds {
		round[0].mallocs = 400
	}
	fat := ranAs(modeReference, 10, time.Millisecond, 5)
	for _, round := range fat.rounds {
		round[0].peak = 30_000_000
	}
	for _, test := range []struct {
		name   string
		found  *fanoutFound
		missed int
	}{
		{"burst met", ranAs(modeBurst, 10, time.Millisecond, 3.05, 4.55), 0},
		{"burst at ten", ranAs(modeBurst, 10, time.Millisecond, 2.95, 4.45), 2},
		{"burst at fifty", ranAs(modeBurst, 50, time.Millisecond, 3.5, 4.6), 1},
		{"paced met", ranAs(modePaced, 50, time.Millisecond, 2.3), 0},
		{"paced", ranAs(modePaced, 10, time.Millisecond, 1.5), 1},
		{"reference met", ranAs(modeReference, 10, 17*time.Millisecond, 1), 0},
		{"reference at ten", ranAs(modeReference, 10, 19*time.Millisecond, 1), 1},
		{"reference at one", ranAs(modeReference, 1, 11*time.Millisecond, 1), 1},
		{"lossy", lossy, 1}, {"wasteful", wasteful, 1}, {"fat", fat, 1},
	} {
		full, quick := report.New("fanout", nil), report.New("fanout", nil)
		judgeFanout(full, []*fanoutFound{test.found}, false)
		judgeFanout(quick, []*fanoutFound{test.found}, true)
		if len(full.Failures) != test.missed || !quick.Pass {
			t.Errorf("%s: full %q, quick %q", test.name, full.Failures, quick.Failures)
		}
		if missed := quick.Summary.Get("goals_missed").([]string); len(missed) != test.missed {
			t.Errorf("%s: a quick run tells of %q", test.name, missed)
		}
	}
	dead := ranAs(modeBurst, 1, time.Millisecond, 5)
	for _, round := range dead.rounds {
		round[1].packets = 0
	}
	r := report.New("fanout", nil)
	if judgeFanout(r, []*fanoutFound{dead}, true); r.Pass {
		t.Error("a quick run passes where no packet came")
	}
}

func TestViewersPerCore(t *testing.T) {
	r := report.New("fanout", nil)
	judgeFanout(r, []*fanoutFound{
		ranAs(modePaced, 10, 30*time.Millisecond, 2), ranAs(modeBurst, 30, time.Second, 5, 5), ranAs(modePaced, 50, 110*time.Millisecond, 2),
	}, true)
	// 10 ms whatever there is, 2 ms for each viewer; pion costs twice as much in the middle round.
	if n := r.Summary.Get("heliograph_viewers_per_core"); n != 495.0 {
		t.Errorf("%v viewers per core", n)
	}
	if n := r.Summary.Get("pion_viewers_per_core"); n != 245.0 {
		t.Errorf("%v viewers per core of pion's", n)
	}
	var tables bytes.Buffer
	if err := showFanout(&tables, r); err != nil || !strings.Contains(tables.String(), "heliograph: 495 viewers of 1080p30 per core (495 to 495)") {
		t.Errorf("%v in\n%s", err, &tables)
	}
}

func TestTallyCountsWhatWasSent(t *testing.T) {
	var tally tally
	for _, sequence := range []uint16{65533, 65534, 1, 0, 0, 2} { // 65535 is lost, 0 comes late and twice
		tally.count(sequence)
	}
	if tally.sent.Load() != 6 || tally.received.Load() != 6 {
		t.Errorf("sent %d, received %d", tally.sent.Load(), tally.received.Load())
	}
}
