package bench

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

func TestNothingIsLeftOfViewersThatLeave(t *testing.T) {
	r := report.New("churn", nil)
	if err := (churnPlan{warm: 8, joins: 24, atOnce: 4, steps: 2}).run(t.Context(), r, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !r.Pass || len(r.Rows) != 4 {
		t.Errorf("%d rows, %q", len(r.Rows), r.Failures)
	}
	var table bytes.Buffer
	if err := showChurn(&table, r); err != nil || strings.Count(table.String(), "\n") != 5 {
		t.Errorf("%v in\n%s", err, &table)
	}
}

func TestChurnTellsWhatIsLeft(t *testing.T) {
	r := report.New("churn", nil)
	judgeChurn(r, standing{goroutines: 10, files: 5, actors: 6, heap: 1}, standing{goroutines: 11, files: 6, peers: 1, actors: 7, heap: churnHeapMax + 1})
	if r.Pass || len(r.Failures) != 5 {
		t.Errorf("%q", r.Failures)
	}
}
