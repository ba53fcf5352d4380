// Package steps counts the instructions that one thread of another process executes in user space, exactly,
// and tells by the program counter which layer they belong to. The process must be this same program.
//
// The flow: the counted thread calls Mark, works, calls Mark again, and so on -> Follow, in the parent, waits
// for the first mark, lets every other thread of the process stand still, so that nothing preempts the
// counted one or works beside it, and has the kernel stop it after each instruction (ptrace(2),
// PTRACE_SINGLESTEP) -> what lies between two marks is a span. What the kernel does in a system call is one
// step: its instructions cannot be counted so. Within a span the clocks show a nanosecond an instruction.
//
// Processors count by themselves (perf_event_open(2)), but neither virtual machines nor many boards let a
// program ask them, and they do not tell layers apart.
package steps

import (
	"errors"
	"maps"
	"strings"

	"github.com/heliograph-rtc/heliograph/bench/profiles"
)

// ErrMissing is why a machine cannot count at all.
var ErrMissing = errors.New("instructions cannot be counted here")

// Layers besides those of package profiles.
const (
	AES   = "aes"   // AES itself and its modes, whose instructions are no ordinary ones
	Copy  = "copy"  // memmove, for whomever
	Clock = "clock" // the kernel's code in user space, which reads the clock
	Other = "other" // before anything that belongs to a layer
)

// Counts are what happened in a span, or a mean of several.
type Counts struct {
	Instructions float64
	Layers       map[string]float64 // their sum is Instructions
	Functions    map[string]float64 // likewise; Clock: the kernel's
	Calls        float64            // system calls
	Copied       float64            // bytes that memmove was told to move
}

// Plus adds counts, times a factor.
func (c Counts) Plus(d Counts, times float64) Counts {
	sum := Counts{
		Instructions: c.Instructions + times*d.Instructions,
		Layers:       plus(c.Layers, d.Layers, times), Functions: plus(c.Functions, d.Functions, times),
		Calls: c.Calls + times*d.Calls, Copied: c.Copied + times*d.Copied,
	}
	return sum
}

// plus adds b, times a factor, to a.
func plus(a, b map[string]float64, times float64) map[string]float64 {
	sum := maps.Clone(a)
	if sum == nil {
		sum = map[string]float64{}
	}
	for name, n := range b {
		sum[name] += times * n
	}
	return sum
}

// Mean is of the spans after the first, which must be empty: two marks, one after the other. What the marks
// themselves cost is taken off.
func Mean(spans []Counts) Counts {
	var sum Counts
	if len(spans) < 2 {
		return sum
	}
	share := 1 / float64(len(spans)-1)
	for _, s := range spans[1:] {
		sum = sum.Plus(s, share)
	}
	return sum.Plus(spans[0], -1)
}

// tally counts one span while it goes on.
type tally struct {
	Counts
	layer string // of the last function that belongs to one
}

// place is what is known of a program counter.
type place struct {
	function string
	layer    string // empty: whoever called it
	call     bool   // the instruction is a system call
	repeats  bool   // it stops once for each repetition, and counts once
	copies   bool   // memmove begins here
}

// layerOf gives a function to a layer; what has none works for whoever called it.
func layerOf(function string) string {
	switch {
	case function == "":
		return Clock
	case function == "runtime.memmove":
		return Copy
	case strings.HasPrefix(function, "crypto/internal/fips140/aes"):
		return AES
	}
	return profiles.LayerOf(function)
}

// spare takes instructions off that reading a clock took for nothing.
func (t *tally) spare(more float64) {
	t.Instructions -= more
	t.Layers[Clock] -= more
	t.Functions[Clock] -= more
}

// step counts an instruction. Copies and the clock are layers of their own, and come back to the caller's.
func (t *tally) step(p place) {
	layer := p.layer
	switch layer {
	case "":
		layer = t.layer
	case Copy, Clock:
	default:
		t.layer = layer
	}
	t.Instructions++
	t.Layers[layer]++
	t.Functions[p.function]++
	if p.call {
		t.Calls++
	}
}
