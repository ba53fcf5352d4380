package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/ffmpeg"
	"github.com/heliograph-rtc/heliograph/bench/report"
)

// storedAs are rounds in which ours costs so many times what ffmpeg does, and the recorder half as much.
func storedAs(p storagePlan, times float64, files probedFiles) (found [][]storageCost) {
	for range 3 {
		cost := func(times float64) storageCost {
			return storageCost{span: 2 * time.Second, cpu: time.Duration(times * float64(time.Second)), bytes: 3_000_000, files: files}
		}
		found = append(found, []storageCost{cost(times), cost(times / 2), cost(1)})
	}
	return found
}

func TestStorageIsJudged(t *testing.T) {
	p := storagePlan{streams: 10}
	whole := probedFiles{all: 10, valid: 10, recorded: time.Minute}
	torn, apart, gap, few := whole, whole, whole, whole
	torn.valid, torn.said, apart.skew, gap.missing, few.all, few.valid = 9, "corrupt", 50*time.Millisecond, time.Second, 9, 9
	for _, c := range []struct {
		name        string
		files       probedFiles
		full, quick string // what is said of it; empty: nothing
	}{
		{"whole", whole, "", ""}, {"torn", torn, "corrupt", "corrupt"}, {"apart", apart, "50ms apart", "50ms apart"},
		{"gap", gap, "1s of picture", ""}, {"few", few, "9 files", "9 files"},
	} {
		for _, quick := range []bool{false, true} {
			r, said := report.New("storage", nil), c.full
			if quick {
				said = c.quick
			}
			judgeStorage(r, p, storedAs(p, 4, c.files), quick)
			if failures := strings.Join(r.Failures, "; "); r.Pass != (said == "") || !strings.Contains(failures, said) {
				t.Errorf("%s, quick %v: %q", c.name, quick, failures)
			}
		}
	}
	r := report.New("storage", nil)
	judgeStorage(r, p, storedAs(p, 4, whole), false)
	if row := r.Rows[0]; row.Get("times_ffmpeg") != 4.0 || row.Get("cpu_s_per_stream_s") != 200*time.Millisecond ||
		row.Get("disk_bytes_per_stream_s") != 150_000.0 || row.Get("files_valid") != 30 || r.Summary.Get("files_valid") != 30 {
		t.Errorf("%v, %v", row, r.Summary)
	}
	var tables bytes.Buffer
	if err := showStorage(&tables, r); err != nil || !strings.Contains(tables.String(), variantFFmpeg) {
		t.Errorf("%v in\n%s", err, &tables)
	}
}

// Sound that is late by less than half a second, and a picture that is not there, are found.
func TestProbedFilesAreMeasured(t *testing.T) {
	sound := map[string]time.Duration{"a": 3 * time.Second, "b": 5500 * time.Millisecond}
	var packets []ffmpeg.Packet
	for i := range 91 {
		if i != 70 {
			packets = append(packets, ffmpeg.Packet{Video: true, Key: i%60 == 0, At: time.Duration(i) * time.Second / 30})
		}
		switch i { // the loop began with the key frame at 0 s, less 2 s for each interval
		case 33:
			packets = append(packets, ffmpeg.Packet{At: 1020 * time.Millisecond, Hash: "a"})
		case 50:
			packets = append(packets, ffmpeg.Packet{At: 1460 * time.Millisecond, Hash: "b"}, ffmpeg.Packet{At: 1480 * time.Millisecond, Hash: "unknown"})
		}
	}
	var p probedFiles
	p.count(packets, sound)
	if p.skew != 40*time.Millisecond || p.missing != time.Second/30 || p.recorded.Round(time.Millisecond) != 3033*time.Millisecond {
		t.Errorf("%+v", p)
	}
}
