package bench

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/queue"
	"github.com/heliograph-rtc/heliograph/bench/report"
)

func TestMailboxMeasuresEveryKind(t *testing.T) {
	plan := mailboxPlan{rounds: 2, names: []string{loadCrowd}, loads: map[string]queue.Load{
		loadCrowd: {Senders: 10, Each: candidatesEach, Service: 10 * time.Microsecond},
	}}
	found, missing, err := plan.run(t.Context(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r := report.New("mailbox", plan.fields(true))
	judgeMailbox(r, found)
	want := len(queue.Kinds())
	if len(missing) > 0 {
		want -= 2
	}
	if !r.Pass || len(r.Rows) != want {
		t.Fatalf("%d rows, %q", len(r.Rows), r.Failures)
	}
	for _, row := range r.Rows {
		if row.Get("sent") != int64(680) || row.Get("delivered").(int64)+row.Get("dropped").(int64) != 680 || row.Get("ns_per_message").(float64) < 10_000 {
			t.Errorf("%v", row)
		}
	}
	var tables bytes.Buffer
	if err := showMailbox(&tables, r); err != nil || strings.Count(tables.String(), loadCrowd) != want {
		t.Errorf("%v in\n%s", err, &tables)
	}
}

func TestMailboxFailsForALostMessage(t *testing.T) {
	r := report.New("mailbox", nil)
	judgeMailbox(r, []*mailboxFound{{Kind: queue.Kinds()[0], load: loadCrowd, rounds: []queue.Outcome{{Sent: 340, Delivered: 339, Dropped: 1, Took: time.Second}}}})
	if r.Pass || len(r.Failures) != 1 {
		t.Errorf("%q", r.Failures)
	}
}
