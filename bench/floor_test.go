package bench

import "testing"

func TestFloorIsMeasured(t *testing.T) {
	f, err := measureFloor()
	if err != nil {
		t.Fatal(err)
	}
	if f.seal <= 0 || f.send < 0 {
		t.Errorf("%+v", f)
	}
	if got := f.fields(); (len(got) == 3) != (f.send > 0) {
		t.Errorf("%v of %+v", got, f)
	}
}
