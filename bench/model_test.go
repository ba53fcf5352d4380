package bench

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/steps"
	"github.com/heliograph-rtc/heliograph/bench/subject"
)

// countedUnit is a unit of so many packets of a path that takes 5000 instructions, 3000 a packet, and 3400 of
// AES-GCM.
func countedUnit(packets float64) unitCost {
	return unitCost{packets: packets, Counts: steps.Counts{
		Instructions: 5000 + 6400*packets, Layers: map[string]float64{steps.AES: 3400 * packets, "webrtc": 5000 + 3000*packets},
	}}
}

// burstOf is a burst whose pictures take so long each.
func burstOf(picture time.Duration) fanoutCost {
	return fanoutCost{span: time.Second, cpu: 1000 * picture, packets: 1000 * burstPackets}
}

func foundModel() *modelFound {
	// 0.5 ns an instruction, 0.1 of AES-GCM: a picture of the burst takes 65000/2 + 68000/10.
	picture := 39_300 * time.Nanosecond
	return &modelFound{
		plan:  planModel(false),
		units: map[string]unitCost{subject.SpanSound: countedUnit(1), subject.SpanPicture: countedUnit(13)},
		plain: unitCost{Counts: steps.Counts{Instructions: 10_000}, cpu: 2500 * time.Nanosecond},
		seal:  unitCost{Counts: steps.Counts{Instructions: 3400}, cpu: 340 * time.Nanosecond},
		few:   []fanoutCost{burstOf(picture), burstOf(picture), burstOf(picture)}, more: []fanoutCost{burstOf(picture), burstOf(2 * picture), burstOf(picture)},
		pacedPerViewer: []time.Duration{2 * time.Millisecond, 3 * time.Millisecond, 4 * time.Millisecond},
	}
}

func TestModelFindsThePath(t *testing.T) {
	m := foundModel().fit()
	for name, figure := range map[string][2]float64{
		"base": {m.base, 5000}, "each": {m.each, 3000}, "aes": {m.aes, 3400}, "ns": {m.ns, 0.5}, "aes ns": {m.aesNs, 0.1}, "plain ns": {m.plainNs, 0.25},
		"unit of 13": {m.unit(13, m.ns, m.aesNs), 0.5*44_000 + 0.1*44_200},
	} {
		if math.Abs(figure[0]-figure[1]) > 1e-6*figure[1] {
			t.Errorf("%s: %v, want %v", name, figure[0], figure[1])
		}
	}
}

func TestModelSaysHowGoodItIs(t *testing.T) {
	r := report.New("model", nil)
	f := foundModel()
	f.judge(r, false)
	if !r.Pass {
		t.Fatal(r.Failures)
	}
	get := func(name string) float64 { return r.Summary.Get(name).(float64) }
	if got := get("burst_predicted_by_measured"); got != 1 {
		t.Errorf("burst: %v of what was measured", got)
	}
	if least := get("burst_predicted_by_measured_min"); least != 0.5 {
		t.Errorf("a burst that took twice as long: %v of that", least)
	}
	path, with, left := get("viewers_per_core_of_path"), get("viewers_per_core"), get("paced_measured_by_path")
	if path <= with || math.Abs(with-1/3e-3) > 1 || left <= 1 {
		t.Errorf("%v viewers per core by the path, %v with what it leaves out, which is %v times the path; one takes 3 ms", path, with, left)
	}
	counted, processors := 0, 0
	for _, row := range r.Rows {
		if row.Get("work") != nil {
			counted++
		} else if viewers, ok := row.Get("viewers_per_core").(float64); ok && viewers > 0 && viewers < with {
			processors++
		}
	}
	if counted != 2 || processors != len(boards) {
		t.Errorf("%d rows of work, %d of processors that serve fewer viewers than this one", counted, processors)
	}
	f.units[subject.SpanSound] = countedUnit(13)
	f.units[subject.SpanPicture] = countedUnit(1)
	f.few = []fanoutCost{burstOf(1)}
	if r := report.New("model", nil); true {
		if f.judge(r, false); r.Pass {
			t.Error("an instruction that takes less than no time passes")
		}
	}
}

func TestFunctionsByTheirInstructions(t *testing.T) {
	rows := functionRows("sound", map[string]float64{"least": 1, "most": 3, "b": 2, "a": 2})
	var names []any
	for _, row := range rows {
		names = append(names, row.Get("function"))
	}
	if want := []any{"most", "a", "b", "least"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
}

// The stream of a script, by the second.
func TestStreamOfAScript(t *testing.T) {
	s := streamOf(paced(1), 13)
	if math.Abs(s.pictures-29.5) > 0.01 || math.Abs(s.keys-0.5) > 0.01 || s.picturePackets != 13 || s.keyPackets != 104 || s.sounds != 50 {
		t.Errorf("%+v", s)
	}
}
