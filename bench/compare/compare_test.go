package compare

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// measured is a report of one row whose rounds are times so large.
func measured(name string, times float64) *report.Report {
	var rounds []any
	for _, v := range []float64{1, 1.01, 1.02, 1.03, 1.04} {
		rounds = append(rounds, v*times)
	}
	return &report.Report{Schema: report.Schema, Scenario: "fanout", Rows: []report.Row{{
		{Name: "variant", Value: "heliograph"}, {Name: "viewers", Value: 10.0}, {Name: "rounds", Value: 5.0}, {Name: name, Value: rounds},
	}}}
}

func TestDifferencesAreTold(t *testing.T) {
	o := Options{Alpha: 0.05, Least: 0.03}
	for _, test := range []struct {
		figure string
		times  float64
		want   string
	}{
		{"cpu_rounds_us_per_packet", 1, Same},
		{"cpu_rounds_us_per_packet", 1.01, Same}, // chance
		{"cpu_rounds_us_per_packet", 1.5, Worse},
		{"cpu_rounds_us_per_packet", 0.5, Better},
		{"ratio_rounds", 0.5, Worse},
		{"ratio_rounds", 1.5, Better},
	} {
		all := Reports(measured(test.figure, 1), measured(test.figure, test.times), o)
		if len(all) != 1 || all[0].Verdict != test.want || strings.Contains(all[0].Figure, "rounds") {
			t.Errorf("%s, %g times: %+v", test.figure, test.times, all)
			continue
		}
		var b bytes.Buffer
		worse, err := Table(&b, all, false)
		if err != nil || (worse == 1) != (test.want == Worse) || strings.Contains(b.String(), "heliograph, viewers 10") != (test.want != Same) {
			t.Errorf("%d worse, %v in\n%s", worse, err, &b)
		}
	}
	if all := Reports(measured("cpu_rounds", 1), measured("cpu_rounds", 1.045), Options{Alpha: 0.05, Least: 0.2}); all[0].Verdict != Same {
		t.Errorf("a small change counts: %+v", all)
	}
}

func TestOnlyLikeRowsAreCompared(t *testing.T) {
	other := measured("cpu_rounds", 9)
	other.Rows[0][1].Value = 50.0
	if all := Reports(measured("cpu_rounds", 1), other, Options{Alpha: 0.05}); len(all) > 0 {
		t.Errorf("%+v", all)
	}
	empty := measured("cpu_rounds", 1)
	empty.Rows[0][3].Value = []any{nil}
	if all := Reports(empty, measured("cpu_rounds", 1), Options{Alpha: 0.05}); len(all) > 0 {
		t.Errorf("%+v", all)
	}
}

func TestTooFewRoundsAreSaid(t *testing.T) {
	var b bytes.Buffer
	if _, err := Table(&b, []Difference{{Rounds: "3+10", Verdict: Same}}, true); err != nil || !strings.Contains(b.String(), "fewer than 4") {
		t.Errorf("%v in\n%s", err, &b)
	}
}

func TestASlowerBaselineIsNobodysRegression(t *testing.T) {
	a, b := measured("cpu_rounds", 1), measured("cpu_rounds", 2)
	for _, r := range []*report.Report{a, b} {
		r.Rows[0][0].Value = "pion"
	}
	var out bytes.Buffer
	all := Reports(a, b, Options{Alpha: 0.05})
	if worse, err := Table(&out, all, false); err != nil || worse != 0 || all[0].Verdict != Worse {
		t.Errorf("%d worse, %v of %+v", worse, err, all)
	}
}
