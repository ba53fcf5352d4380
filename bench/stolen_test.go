package bench

import "testing"

func TestStolenShare(t *testing.T) {
	before := processorsOf("cpu  100 10 50 9000 5 1 4 20 0 0\ncpu0 1 2 3\n")
	if before != (processors{busy: 165, stolen: 20}) {
		t.Fatalf("%+v", before)
	}
	after := processorsOf("cpu  150 10 70 9900 5 1 9 45 7 0\n")
	if got := after.stolenSince(before); got != 0.25 {
		t.Errorf("share %v, want 25 of 100 ticks", got)
	}
	if got := before.stolenSince(before); got != 0 {
		t.Errorf("share %v of no time", got)
	}
	for _, text := range []string{"", "cpu", "intr 5 6 7 8 9 1 2 3 4"} {
		if got := processorsOf(text); got != (processors{}) {
			t.Errorf("%q gives %+v", text, got)
		}
	}
}
