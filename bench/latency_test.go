package bench

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

func TestLatencyMeasuresEveryRun(t *testing.T) {
	const span = 1500 * time.Millisecond
	plan := latencyPlan{
		rounds: 1, viewers: 3, warm: 300 * time.Millisecond, calm: 100 * time.Millisecond, stop: 200 * time.Millisecond,
		runs: []latencyRun{
			{runSample, nil, span}, {runPlain, nil, span},
			{runSlow, map[int]string{2: partStopped, 3: partLimited}, span}, {runLoss, map[int]string{3: partLossy}, span},
		},
	}
	found, err := plan.run(t.Context(), BenchConfig{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r := report.New("latency", plan.fields(true))
	judgeLatency(r, found, true)
	if !r.Pass || len(r.Rows) != 4*3+1+1+3+2 {
		t.Fatalf("%d rows, %q", len(r.Rows), r.Failures)
	}
	groups := map[string]report.Row{}
	for _, row := range r.Rows {
		part := row.Get("run").(string) + " " + row.Get("part").(string)
		if row.Get("viewers") != nil {
			groups[part] = row
		}
		if p99, ok := row.Get("latency_p99_s").(time.Duration); part != "slow limited" && (!ok || p99 <= 0) {
			t.Errorf("%s: latency p99 %v", part, row.Get("latency_p99_s"))
		}
	}
	for part, name := range map[string]string{
		"slow plain": "later_s", "slow stopped": "pair", "slow limited": "estimate_bps", "loss plain": "later_s", "loss lossy": "recovered_share",
		"sample plain": "latency_max_max_s", "1080p plain": "frames_dropped",
	} {
		if groups[part].Get(name) == nil {
			t.Errorf("%s lacks %s: %v", part, name, groups[part])
		}
	}
	if pair := groups["slow stopped"].Get("pair"); pair != "relay/host" {
		t.Errorf("the viewer on TURN has the pair %v", pair)
	}
	if missed := groups["loss lossy"].Get("packets_missed").(uint64); missed < 50 { // 300 ms of 4 Mbit/s are twice as many
		t.Errorf("the lossy viewer missed %d packets", missed)
	}
	var tables bytes.Buffer
	if err := showLatency(&tables, r); err != nil || strings.Count(tables.String(), partLossy) != 2 {
		t.Errorf("%v in\n%s", err, &tables)
	}
}

// latencyOf is a run in which each viewer had one latency.
func latencyOf(run latencyRun, took ...time.Duration) *latencyFound {
	f := &latencyFound{stolen: []float64{0.25}, latencyRun: run, viewers: len(took), rounds: make([][]*watched, 1)}
	for i, d := range took {
		w := &watched{part: partPlain, row: goodRow(i + 1)}
		if part, has := run.parts[i+1]; has {
			w.part = part
		}
		w.latency.Record(d)
		f.rounds[0] = append(f.rounds[0], w)
	}
	return f
}

func TestLatencyGoals(t *testing.T) {
	const ms = time.Millisecond
	base := latencyOf(latencyRun{name: runPlain}, 2*ms, 3*ms)
	lossy := latencyRun{name: runLoss, parts: map[int]string{2: partLossy}}
	late, good := latencyOf(lossy, 40*ms, 900*ms), latencyOf(lossy, 30*ms, 900*ms)
	late.rounds[0][0].device.FramesDropped = 1
	late.rounds[0][1].missed, late.rounds[0][1].filled = 100, 99
	good.rounds[0][1].missed, good.rounds[0][1].filled, good.rounds[0][1].recovery = 1000, 995, 499*ms
	for _, c := range []struct {
		found *latencyFound
		want  []string
	}{
		{base, nil},
		{latencyOf(latencyRun{name: runSample}, 6*ms), []string{"5ms at most; others took 25 %"}},
		{late, []string{"dropped 1 of", "38ms later", "99.00 %", "0 of 1 times"}},
		{good, nil},
	} {
		r := report.New("latency", nil)
		found := []*latencyFound{base}
		if c.found != base {
			found = append(found, c.found)
		}
		judgeLatency(r, found, false)
		if len(r.Failures) != len(c.want) || r.Pass != (len(c.want) == 0) {
			t.Errorf("%s: %q, want %q", c.found.name, r.Failures, c.want)
			continue
		}
		for i, part := range c.want {
			if !strings.Contains(r.Failures[i], part) {
				t.Errorf("%s: %q lacks %q", c.found.name, r.Failures[i], part)
			}
		}
	}
}
