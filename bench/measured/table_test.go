package measured

import (
	"os"
	"strings"
	"testing"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

const results = "../results"

// TestReadmeAgrees: what the README says was measured is what the kept reports say.
func TestReadmeAgrees(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	table, err := Table(results)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Into(string(readme), table)
	if err != nil {
		t.Fatal(err)
	}
	if want != string(readme) {
		t.Error("the README's table is not that of bench/results: run `make readme`")
	}
}

func TestFigures(t *testing.T) {
	for text, want := range map[string]string{
		"{churn when=after joins n} joins":         "1000 joins",
		"{churn when=after}":                       "!want report",
		"{churn when=never joins n}":               "!no row",
		"{churn when=after ghosts n}":              "!no such figure",
		"{churn when=after joins light-years}":     "!no unit",
		"{nothing when=after joins n}":             "!no such file",
		"{churn heap_growth_bytes MB.1} of memory": "0.1 of memory",
	} {
		got, err := fill(text, results, map[string]*report.Report{})
		if problem, bad := strings.CutPrefix(want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), problem) {
				t.Errorf("%s: %v, want %s", text, err, problem)
			}
		} else if err != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

func TestTextWithoutAPlace(t *testing.T) {
	if _, err := Into("no table here", ""); err == nil {
		t.Error("a table went nowhere")
	}
}
