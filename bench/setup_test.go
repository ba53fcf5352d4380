package bench

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

func TestSetupMeasuresEveryCase(t *testing.T) {
	plan := setupPlan{rounds: 2, rtts: []time.Duration{0, 4 * time.Millisecond}, crowds: []int{2}, stagger: 20 * time.Millisecond}
	found, err := plan.run(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r := report.New("setup", plan.fields(true))
	judgeSetup(r, found, true)
	if !r.Pass || len(r.Rows) != 13 {
		t.Fatalf("%d rows, %q", len(r.Rows), r.Failures)
	}
	for _, row := range r.Rows {
		for _, name := range []string{
			"answer_p50_s", "first_rtp_p50_s", "first_rtp_max_s", "first_key_frame_p50_s", "first_key_frame_p50_min_s", "first_key_frame_p95_s",
			"first_key_frame_max_s", "first_key_frame_max_max_s", "find_pair_p50_s", "find_pair_p95_s", "dtls_handshake_p50_s",
			"connect_websocket_p50_s", "first_frame_p50_s", "device_find_pair_p50_s", "device_dtls_handshake_p95_s", "device_first_frame_p50_s",
		} {
			if took, ok := row.Get(name).(time.Duration); !ok || took <= 0 {
				t.Errorf("%v: %s is %v", row.Get("case"), name, row.Get(name))
			}
		}
		if rtp, key := row.Get("first_rtp_p50_s").(time.Duration), row.Get("first_key_frame_p50_s").(time.Duration); rtp > key {
			t.Errorf("%v: the first packet came after %v, the first key frame after %v", row.Get("case"), rtp, key)
		}
		// A check, its answer, four flights of DTLS and the picture take three round trips at least.
		if rtt := row.Get("rtt_s").(time.Duration); row.Get("first_key_frame_p50_min_s").(time.Duration) < 3*rtt {
			t.Errorf("%v: quicker than the network", row.Get("case"))
		}
		if viewers := row.Get("viewers"); (viewers == 1) != (row.Get("arrive") == arriveOne) {
			t.Errorf("%v: %v viewers", row.Get("case"), viewers)
		}
	}
	for _, f := range found {
		for _, j := range f.joins {
			if relayed := strings.HasPrefix(j.Pair, "relay/"); relayed != (f.path == pathRelay) {
				t.Errorf("%v: pair %s", f.setupCase, j.Pair)
			}
		}
	}
	var tables bytes.Buffer
	if err := showSetup(&tables, r); err != nil || strings.Count(tables.String(), "2 staggered") != 8 || strings.Count(tables.String(), "2 at once, AWS's limits") != 2 {
		t.Errorf("%v in\n%s", err, &tables)
	}
}

func TestSetupIsJudgedInAFullRun(t *testing.T) {
	late := join{Row: goodRow(1)}
	late.FirstKeyFrame = 111 * time.Millisecond
	f := &setupFound{setupCase: setupCase{path: pathDirect, arrive: arriveAtOnce, viewers: 10, rtt: 20 * time.Millisecond}, joins: []join{late}}
	f.rounds = []setupRound{newSetupRound(f.joins)}
	for _, quick := range []bool{true, false} {
		r := report.New("setup", nil)
		judgeSetup(r, []*setupFound{f}, quick)
		if goals := r.Summary.Get("goals_missed").([]string); len(goals) != 1 || !strings.Contains(goals[0], "p50 111") || r.Pass != quick {
			t.Errorf("quick %v: pass %v, goals missed %q", quick, r.Pass, goals)
		}
	}
}

func TestSetupTakesRoundTripTimes(t *testing.T) {
	p, err := planSetup(true).only(BenchConfig{RTTs: []string{"0", " 30ms"}})
	if err != nil || len(p.cases()) != 13 || p.rtts[1] != 30*time.Millisecond {
		t.Errorf("%v, %v", p.rtts, err)
	}
	if cases := planSetup(false).cases(); len(cases) != 41 { // 2 paths, 4 RTTs: one, five and ten at once and staggered; AWS's limits
		t.Errorf("%d cases", len(cases))
	}
	if _, err := planSetup(true).only(BenchConfig{RTTs: []string{"fast"}}); err == nil {
		t.Error("fast is a time")
	}
}
