package bench

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/subject"
	"github.com/heliograph-rtc/heliograph/media/matroska"
)

func TestCameraIsJudgedAgainstItsBaselines(t *testing.T) {
	cost := func(device, source time.Duration, packets uint64) cameraCost {
		return cameraCost{span: time.Second, device: device, source: source, packets: packets}
	}
	found := func(passed time.Duration) []*cameraFound {
		return []*cameraFound{
			{mode: cameraEncode, viewers: 10, variants: []string{subject.Device, variantPlain}, rounds: [][]cameraCost{{cost(40, 160, 100), cost(0, 100, 0)}}},
			{mode: cameraRTSP, viewers: 10, variants: []string{subject.Device, variantSample}, rounds: [][]cameraCost{{cost(passed, 500, 90), cost(100, 0, 100)}}},
		}
	}
	r := report.New("camera", nil)
	crashed := [][]time.Duration{{time.Second, 2 * time.Second}}
	judgeCamera(r, found(99), crashed, false) // 1.1 a packet
	if !r.Pass || r.Rows[5].Get("without_picture_s") != 2*time.Second || r.Rows[1].Get("ratio") != 0.5 || r.Rows[1].Get("viewers") != 0 || r.Rows[2].Get("cpu_s_per_s") != time.Duration(99) {
		t.Errorf("%q, %v", r.Failures, r.Rows)
	}
	judgeCamera(r, found(100), [][]time.Duration{{time.Second, 2*time.Second + 1}}, false)
	if r.Pass || len(r.Failures) != 2 || !strings.Contains(r.Failures[0], "1.11 times as much") || !strings.Contains(r.Failures[1], "without a picture") {
		t.Errorf("what is too dear, and what lasts too long, passes: %q", r.Failures)
	}
	r = report.New("camera", nil)
	judgeCamera(r, found(100), crashed, true)
	r.Summary = append(r.Summary, report.Field{Name: "skipped", Value: []string{cameraRTSP}})
	var tables bytes.Buffer
	if err := showCamera(&tables, r); err != nil || !strings.Contains(tables.String(), "not judged") || !strings.Contains(tables.String(), "skipped:\n  rtsp") {
		t.Errorf("%v\n%s", err, &tables)
	}
}

// A machine without GStreamer is told what is missing, by the scenario on its own.
func TestCameraWithoutGStreamer(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Bench(t.Context(), "camera", BenchConfig{Quick: true}, io.Discard, io.Discard); !errors.Is(err, errNoGStreamer) || !strings.Contains(err.Error(), "make gst") {
		t.Errorf("%v", err)
	}
}

// The movie that the network camera plays is the sample, as often as is asked for.
func TestSampleAsMovie(t *testing.T) {
	path := t.TempDir() + "/sample.mkv"
	if err := writeSample(path, 15*time.Second); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	recording, err := matroska.Read(file, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[int]int{}
	for _, c := range recording.Clusters {
		if err := matroska.ReadCluster(file, c, func(b matroska.Block) error {
			blocks[b.Track]++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if blocks[matroska.VideoNumber] != 600 || blocks[matroska.AudioNumber] != 1000 {
		t.Errorf("blocks by track: %v", blocks)
	}
}

func TestProcessesAreCharged(t *testing.T) {
	before, err := processCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for after := before; after == before; { // working is what it is charged for
		if after, err = processCPU(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := childrenCPU(os.Getpid()); err == nil {
		t.Error("a process without children was charged for one")
	}
}
