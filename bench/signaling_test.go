package bench

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/profiles"
	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/subject"
)

// smallPlan passes through every phase of the scenario in a few seconds.
var smallPlan = signalingPlan{
	rounds: 2, pairs: 3, rate: 200, deliverWarm: 50 * time.Millisecond, deliver: 200 * time.Millisecond,
	connects: 12, idle: 20, idleHold: 10 * time.Millisecond, perChannel: 5,
}

func TestSignalingMeasuresEverySubject(t *testing.T) {
	found := make([]*signalingFound, len(kinds))
	for i, kind := range kinds {
		found[i] = &signalingFound{kind: kind}
	}
	profile := t.TempDir() + "/cpu"
	if err := smallPlan.busy(t.Context(), BenchConfig{Profile: profile}, found, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		var err error
		if f.idle, err = smallPlan.hold(t.Context(), f.kind, profiles.Target{}); err != nil {
			t.Fatal(err)
		}
		if f.deliver.sent != 80 || f.deliver.lost != 0 || f.deliver.latency.Count() != 80 || f.deliver.cpu <= 0 {
			t.Errorf("%s: deliver %+v", f.kind, f.deliver)
		}
		if f.connect.connects != 24 || f.connect.cpu <= 0 {
			t.Errorf("%s: connect %+v", f.kind, f.connect)
		}
		// So few hold less than what the heap varies by, and some of the server's own goroutines may have ended.
		if f.idle.ended != 0 || f.idle.goroutines < 10 || f.idle.rss == 0 {
			t.Errorf("%s: idle %+v", f.kind, f.idle)
		}
	}
	r := report.New("signaling", nil)
	judgeSignaling(r, found, false)
	for _, name := range []string{"messages_per_s", "deliver_p50_s", "deliver_p99_s", "idle_connections", "bytes_per_idle_connection", "connects_per_s_per_core"} {
		if r.Summary.Get(name) == nil {
			t.Errorf("summary lacks %s", name)
		}
	}
	for _, row := range r.Rows {
		baseline := row.Get("variant") != subject.Heliograph
		if has := row.Get("ratio") != nil; has != baseline {
			t.Errorf("ratio in %v", row)
		}
	}
	var tables bytes.Buffer
	if err := showSignaling(&tables, r); err != nil || strings.Count(tables.String(), subject.NetHTTP) != 3 {
		t.Errorf("%v in\n%s", err, &tables)
	}
}

func TestLateMessagesAreNotHidden(t *testing.T) {
	begin := time.Now()
	r := &round{begin: begin, spacing: time.Millisecond, done: make(chan struct{})}
	if due := r.due(7); !due.Equal(begin.Add(7 * time.Millisecond)) {
		t.Errorf("message 7 is due after %v", due.Sub(begin))
	}
	found := []*signalingFound{{kind: subject.Heliograph}, {kind: subject.Goroutine}}
	for _, f := range found {
		f.deliver = delivered{sent: 100, lost: 2, spent: time.Second, handled: 100}
		f.idle = idled{connections: 10, rss: 10 * (bytesPerIdleConnectionMax + 1), ended: 3, held: time.Second}
	}
	found[0].deliver.latency.Record(2 * deliverP99Max)
	for quick, failures := range map[bool]int{false: 6, true: 5} { // a quick run does not fail for a time
		r := report.New("signaling", nil)
		judgeSignaling(r, found, quick)
		if r.Pass || len(r.Failures) != failures || len(r.Summary.Get("goals_missed").([]string)) != 1 {
			t.Errorf("quick %v: failures %q", quick, r.Failures)
		}
	}
}

func TestBenchNamesItsScenarios(t *testing.T) {
	for _, name := range []string{"", "signalling"} {
		_, err := Bench(t.Context(), name, BenchConfig{}, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "signaling, ") {
			t.Errorf("scenario %q: %v", name, err)
		}
	}
	if names := ScenarioNames(); !slices.Contains(names, "signaling") || names[len(names)-1] != allScenarios {
		t.Errorf("scenarios %q", names)
	}
}

func TestAllTellsWhoseFailureItIs(t *testing.T) {
	one := report.New("one", nil)
	one.Rows, one.Summary = []report.Row{{{Name: "x", Value: 1}}}, report.Row{{Name: "y", Value: 2}}
	two := report.New("two", nil)
	two.Fail("broke")
	all := together(BenchConfig{}, []*report.Report{one, two})
	if all.Pass || len(all.Failures) != 1 || all.Failures[0] != "two: broke" {
		t.Errorf("%v %q", all.Pass, all.Failures)
	}
	if all.Rows[0].Get("scenario") != "one" || all.Summary.Get("one") == nil {
		t.Errorf("%+v", all)
	}
}
