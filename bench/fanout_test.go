package bench

import (
	"bytes"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/subject"
)

// smallFanout passes through every kind of mode and every variant.
var smallFanout = fanoutPlan{rounds: 1, modes: []fanoutMode{
	{modeBurst, []int{2}, []string{subject.Device, subject.Pion, subject.PionSHA1}, burst, 100 * time.Millisecond, 200 * time.Millisecond, false},
	{modeReference, []int{0, 1}, []string{subject.Device, subject.Pion}, reference, 100 * time.Millisecond, 400 * time.Millisecond, true},
}}

func TestFanoutMeasuresEveryVariant(t *testing.T) {
	found, err := smallFanout.run(t.Context(), BenchConfig{Profile: t.TempDir() + "/cpu"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r := report.New("fanout", nil)
	judgeFanout(r, found, true)
	if !r.Pass || len(r.Rows) != 7 {
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
	for _, f := range found[:1] {
		// 32 instants of 12.8 ms... the script is the same for all, and so is the number of packets but for parameter sets.
		for v, cost := range f.rounds[0] {
			pictures := uint64(math.Ceil(200 / 12.8 * burstPictures))
			if least := 2 * burstPackets * (pictures - burstPictures); cost.packets < least {
				t.Errorf("variant %d: %d packets, at least %d were due", v, cost.packets, least)
			}
		}
	}
	var tables bytes.Buffer
	if err := showFanout(&tables, r); err != nil || strings.Count(tables.String(), subject.PionSHA1) == 0 {
		t.Errorf("%v in\n%s", err, &tables)
	}
}
