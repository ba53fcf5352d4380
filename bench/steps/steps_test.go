package steps

import (
	"testing"
)

func TestLayersOfSteps(t *testing.T) {
	c := tally{Counts: Counts{Layers: map[string]float64{}, Functions: map[string]float64{}}, layer: Other}
	for _, p := range []place{
		{layer: layerOf("runtime.mapaccess1")},
		{layer: layerOf("github.com/pion/srtp/v3.(*Context).EncryptRTP")},
		{layer: layerOf("runtime.memmove"), function: "runtime.memmove", copies: true},
		{layer: layerOf("sync.(*Mutex).Lock")},
		{layer: layerOf("golang.org/x/sys/unix.RawSyscall6"), call: true},
		{layer: layerOf("")},
		{layer: layerOf("time.Now")},
	} {
		c.step(p)
	}
	want := map[string]float64{Other: 1, "crypto": 2, Copy: 1, "syscalls": 2, Clock: 1}
	for layer, n := range want {
		if c.Layers[layer] != n {
			t.Errorf("%s: %v, want %v", layer, c.Layers[layer], n)
		}
	}
	if c.Instructions != 7 || c.Calls != 1 || c.Functions["runtime.memmove"] != 1 {
		t.Errorf("%+v", c.Counts)
	}
}

func TestMeanTakesTheMarksOff(t *testing.T) {
	one := func(n float64) Counts {
		return Counts{Instructions: n, Layers: map[string]float64{"a": n - 1, "b": 1}, Calls: n / 10, Copied: n * 2}
	}
	m := Mean([]Counts{one(10), one(110), one(130)})
	if m.Instructions != 110 || m.Layers["a"] != 110 || m.Layers["b"] != 0 || m.Calls != 11 || m.Copied != 220 {
		t.Errorf("%+v", m)
	}
	if m := Mean(nil); m.Instructions != 0 {
		t.Errorf("of nothing: %+v", m)
	}
}
