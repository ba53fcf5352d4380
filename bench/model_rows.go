package bench

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/steps"
	"github.com/heliograph-rtc/heliograph/bench/subject"
)

// model is the cost of a frame's path for one viewer: a unit of n packets costs base + n*each instructions, and
// n*aes of AES-GCM, which are told apart because they are no ordinary ones.
type model struct {
	base, each, aes float64
	ns              float64 // an instruction of the path takes, with its share of the kernel
	plainNs, aesNs  float64 // likewise of ordinary Go code, and of AES-GCM
}

// fit makes the model of a picture and of sound, and times it by bursts.
func (f *modelFound) fit() model {
	aes := func(c unitCost) float64 { return c.Layers[steps.AES] }
	per := func(c unitCost) float64 { return float64(c.cpu) / c.Instructions }
	sound, picture := f.units[subject.SpanSound], f.units[subject.SpanPicture]
	m := model{plainNs: per(f.plain), aesNs: per(f.seal), aes: aes(picture) / picture.packets}
	m.each = (picture.Instructions - aes(picture) - sound.Instructions + aes(sound)) / (picture.packets - sound.packets)
	m.base = sound.Instructions - aes(sound) - m.each*sound.packets
	m.ns = (perBurst(f.few).median - m.aesNs*m.aes*burstPackets) / (m.base + m.each*burstPackets)
	return m
}

// perBurst is what a picture of a burst takes, in nanoseconds.
func perBurst(costs []fanoutCost) spread[float64] {
	var ns []float64
	for _, c := range costs {
		ns = append(ns, burstPackets*c.perPacket(float64(c.cpu)))
	}
	return spreadOf(ns)
}

// unit is what a unit of so many packets takes, in nanoseconds.
func (m model) unit(packets, ns, aesNs float64) float64 {
	return ns*(m.base+m.each*packets) + aesNs*m.aes*packets
}

// second is what a second of a stream takes for one viewer.
func (m model) second(s stream, ns, aesNs float64) time.Duration {
	return time.Duration(s.pictures*m.unit(s.picturePackets, ns, aesNs) + s.keys*m.unit(s.keyPackets, ns, aesNs) + s.sounds*m.unit(1, ns, aesNs))
}

// stream is what is sent in a second.
type stream struct{ pictures, picturePackets, keys, keyPackets, sounds float64 }

// streamOf is that of a script, of which picturePackets are known.
func streamOf(s subject.Script, picturePackets float64) stream {
	every := s.Every.Seconds()
	keys := 1 / every / float64(s.KeyEvery)
	of := stream{
		pictures: 1/every - keys, keys: keys, picturePackets: picturePackets,
		keyPackets: math.Round(picturePackets * float64(s.KeyBytes) / float64(s.Bytes)),
	}
	if s.Opus > 0 {
		of.sounds = 50
	}
	return of
}

// board is a processor that the model speaks of. Its figures are assumptions: its clock, how many instructions
// of ordinary Go code it does in a cycle, and its cycles for a byte of AES-128-GCM, with or without
// instructions for that.
type board struct {
	name            string
	hertz, ipc, aes float64
}

var boards = []board{
	{"Cortex-A7, 1.0 GHz, no AES instructions", 1.0e9, 0.5, 45},
	{"Cortex-A53, 1.4 GHz, AES instructions", 1.4e9, 0.7, 4},
	{"Cortex-A72, 1.5 GHz, no AES instructions", 1.5e9, 1.1, 22},
	{"Cortex-A76, 2.4 GHz, AES instructions", 2.4e9, 1.8, 1.5},
}

// judge draws up the model and what it says.
func (f *modelFound) judge(r *report.Report, quick bool) {
	paced := streamOf(f.plan.stream.script(1), f.units[subject.SpanPicture].packets)
	m := f.fit()
	path := m.second(paced, m.ns, m.aesNs).Seconds()
	var burst, left []float64
	for round := range f.more {
		burst = append(burst, m.unit(burstPackets, m.ns, m.aesNs)/perBurst(f.more[round:round+1]).median)
		left = append(left, f.pacedPerViewer[round].Seconds()/path)
	}
	r.Rows = append(r.Rows, f.rows()...)
	r.Summary = append(r.Summary,
		report.Field{Name: "instructions_per_unit", Value: m.base}, report.Field{Name: "instructions_per_packet", Value: m.each},
		report.Field{Name: "aes_instructions_per_packet", Value: m.aes}, report.Field{Name: "path_ns_per_instruction", Value: m.ns},
		report.Field{Name: "plain_ns_per_instruction", Value: m.plainNs}, report.Field{Name: "aes_ns_per_instruction", Value: m.aesNs},
		report.Field{Name: "viewers_per_core_of_path", Value: math.Floor(1 / path)},
		report.Field{Name: "viewers_per_core", Value: math.Floor(1 / path / spreadOf(left).median)})
	r.Summary = append(r.Summary, spreadOf(burst).fields("burst_predicted_by_measured", "")...)
	r.Summary = append(r.Summary, spreadOf(left).fields("paced_measured_by_path", "")...)
	for _, b := range boards {
		r.Rows = append(r.Rows, m.on(b, paced, spreadOf(left).median))
	}
	if !quick && (m.base < 0 || m.each < 0 || m.ns < 0) {
		r.Fail("what was counted and timed does not fit the model: %.0f instructions a unit, %.0f a packet, %.2f ns each", m.base, m.each, m.ns)
	}
}

// on is what the model says of a processor. left is how much more a stream takes than its path.
func (m model) on(b board, s stream, left float64) report.Row {
	plain := 1e9 / b.hertz / b.ipc
	aes := 1e9 / b.hertz * b.aes * sealBytes / m.aes
	path := m.second(s, m.ns*plain/m.plainNs, aes)
	return report.Row{
		{Name: "processor", Value: b.name}, {Name: "assumed_hertz", Value: b.hertz}, {Name: "assumed_instructions_per_cycle", Value: b.ipc},
		{Name: "assumed_aes_cycles_per_byte", Value: b.aes}, {Name: "path_s_per_viewer_s", Value: path},
		{Name: "viewers_per_core", Value: math.Floor(1 / (path.Seconds() * left))},
	}
}

// rows are what was counted.
func (f *modelFound) rows() (rows []report.Row) {
	for _, work := range slices.Sorted(maps.Keys(f.units)) {
		c := f.units[work]
		row := report.Row{
			{Name: "work", Value: work}, {Name: "packets", Value: c.packets}, {Name: "instructions", Value: c.Instructions},
			{Name: "system_calls", Value: c.Calls}, {Name: "copied_bytes", Value: c.Copied},
		}
		for _, layer := range slices.Sorted(maps.Keys(c.Layers)) {
			row = append(row, report.Field{Name: layer + "_instructions", Value: math.Round(c.Layers[layer])})
		}
		rows = append(rows, row)
	}
	for _, work := range slices.Sorted(maps.Keys(f.units)) {
		rows = append(rows, functionRows(work, f.units[work].Functions)...)
	}
	return rows
}

// functionsShown have nearly all of a unit's instructions together.
const functionsShown = 60

// functionRows are the functions that a unit spends the most instructions in, by themselves.
func functionRows(work string, functions map[string]float64) (rows []report.Row) {
	names := slices.SortedFunc(maps.Keys(functions), func(a, b string) int {
		return cmp.Or(cmp.Compare(functions[b], functions[a]), cmp.Compare(a, b))
	})
	for _, name := range names[:min(functionsShown, len(names))] {
		rows = append(rows, report.Row{
			{Name: "of", Value: work}, {Name: "function", Value: name}, {Name: "function_instructions", Value: math.Round(functions[name])},
		})
	}
	return rows
}

func showModel(w io.Writer, r *report.Report) error {
	for _, row := range r.Rows {
		if row.Get("work") == nil {
			continue
		}
		fmt.Fprintf(w, "\n%v for one viewer more: %.1f packets, %.0f instructions, %.1f system calls, %.0f bytes copied\n", row.Get("work"),
			row.Get("packets"), row.Get("instructions"), row.Get("system_calls"), row.Get("copied_bytes"))
		if err := showFunctions(w, r, row.Get("work")); err != nil {
			return err
		}
	}
	s := r.Summary
	fmt.Fprintf(w, "\na unit takes %.0f instructions, and %.0f a packet, at %.2f ns (ordinary code: %.2f); AES-GCM %.0f a packet at %.2f ns\n",
		s.Get("instructions_per_unit"), s.Get("instructions_per_packet"), s.Get("path_ns_per_instruction"),
		s.Get("plain_ns_per_instruction"), s.Get("aes_instructions_per_packet"), s.Get("aes_ns_per_instruction"))
	for _, line := range []struct{ name, text string }{
		{"burst_predicted_by_measured", "what the model says of a burst to more viewers, by what that took"},
		{"paced_measured_by_path", "what a paced stream took, by what its path takes"},
	} {
		fmt.Fprintf(w, "%s: %.2f (%.2f to %.2f)\n", line.text, s.Get(line.name), s.Get(line.name+"_min"), s.Get(line.name+"_max"))
	}
	fmt.Fprintf(w, "viewers of 1080p30 per core here: %.0f by the path alone, %.0f with what it leaves out\n\n", s.Get("viewers_per_core_of_path"), s.Get("viewers_per_core"))
	var predicted []report.Row
	for _, row := range r.Rows {
		if row.Get("processor") != nil {
			predicted = append(predicted, row)
		}
	}
	if err := report.Table(w, predicted, "processor", "assumed_hertz", "assumed_instructions_per_cycle", "assumed_aes_cycles_per_byte", "path_s_per_viewer_s", "viewers_per_core"); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nassumed besides: as many instructions as here; kernel, memory and what the path leaves out are as much slower as ordinary code")
	return nil
}

// linesShown of functions are on a terminal; the report has more.
const linesShown = 12

func showFunctions(w io.Writer, r *report.Report, work any) error {
	var rows []report.Row
	for _, row := range r.Rows {
		if row.Get("of") == work && len(rows) < linesShown {
			rows = append(rows, row)
		}
	}
	return report.Table(w, rows, "function", "function_instructions")
}
