package media

import (
	"bytes"
	"slices"
	"testing"
)

func TestSplitAnnexB(t *testing.T) {
	for _, c := range []struct {
		name   string
		stream []byte
		want   [][]byte
	}{
		{"nothing", nil, nil},
		{"no start code", []byte{1, 2, 3}, nil},
		{"only start codes", []byte{0, 0, 1, 0, 0, 0, 1, 0, 0, 1}, nil},
		{"both start codes", []byte{0, 0, 0, 1, 7, 9, 0, 0, 1, 8}, [][]byte{{7, 9}, {8}}},
		{"bytes before the first", []byte{5, 5, 0, 0, 1, 8}, [][]byte{{8}}},
		{"trailing zeros", []byte{0, 0, 1, 7, 0, 0, 0, 0, 0, 1, 8, 0, 0, 0}, [][]byte{{7}, {8}}},
		{"emulation prevention stays", []byte{0, 0, 1, 5, 0, 0, 3, 1}, [][]byte{{5, 0, 0, 3, 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := slices.Collect(SplitAnnexB(c.stream))
			if !slices.EqualFunc(got, c.want, bytes.Equal) {
				t.Fatalf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestSplitAnnexBStopsWhenAsked(t *testing.T) {
	for nal := range SplitAnnexB([]byte{0, 0, 1, 7, 0, 0, 1, 8}) {
		if nal[0] != 7 {
			t.Fatalf("got NAL unit %v after the loop had ended", nal)
		}
		break
	}
}

func TestH264KeyFrame(t *testing.T) {
	nal := func(kinds ...byte) []byte {
		var au []byte
		for _, k := range kinds {
			au = append(au, 0, 0, 0, 1, 0x60|k, 0x80)
		}
		return au
	}
	for _, c := range []struct {
		au   []byte
		want bool
	}{
		{nal(nalSPS, nalPPS, nalIDR), true},
		{nal(nalAUD, nalSPS, nalPPS, nalSEI, nalIDR, nalIDR), true},
		{nal(nalIDR), false},
		{nal(nalSPS, nalIDR), false},
		{nal(nalSPS, nalPPS, nalSlice), false},
		{nil, false},
	} {
		if got := H264KeyFrame(c.au); got != c.want {
			t.Errorf("key frame %v for % x, want %v", got, c.au, c.want)
		}
	}
}

func TestSplitAccessUnits(t *testing.T) {
	const first, further = 0x80, 0x40 // first_mb_in_slice 0 and not 0
	var stream []byte
	var want [][]byte
	unit := func(nals ...[2]byte) {
		at := len(stream)
		for i, n := range nals {
			if i > 0 || at%2 == 0 { // both forms of start code
				stream = append(stream, 0)
			}
			stream = append(stream, 0, 0, 1, n[0], n[1])
		}
		want = append(want, slices.Clone(stream[at:]))
	}
	unit([2]byte{nalSPS, 1}, [2]byte{nalPPS, 1}, [2]byte{nalIDR, first}, [2]byte{nalIDR, further})
	unit([2]byte{nalSlice, first})
	unit([2]byte{nalSlice, first}, [2]byte{nalSlice, further}, [2]byte{nalSlice, further})
	unit([2]byte{nalAUD, 1}, [2]byte{nalSEI, 1}, [2]byte{nalSlice, first})
	unit([2]byte{nalSEI, 1}, [2]byte{nalSPS, 1}, [2]byte{nalPPS, 1}, [2]byte{nalIDR, first})

	got := splitAccessUnits(stream)
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("got %v\nwant %v", got, want)
	}
}

func FuzzSplitAnnexB(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 7, 9, 0, 0, 1, 8})
	f.Add([]byte{0, 0, 1, 0, 0, 1, 5, 0, 0, 0, 0, 1})
	f.Add([]byte{5, 5, 0, 0, 1, 5, 0, 0, 3, 1})
	f.Add(sampleH264[:300])
	f.Fuzz(func(t *testing.T, stream []byte) {
		before := slices.Clone(stream)
		var again []byte
		nals := slices.Collect(SplitAnnexB(stream))
		for _, nal := range nals {
			if len(nal) == 0 || nal[len(nal)-1] == 0 || bytes.Contains(nal, startCode) {
				t.Fatalf("not a NAL unit: % x", nal)
			}
			again = append(append(again, startCode...), nal...)
		}
		if got := slices.Collect(SplitAnnexB(again)); !slices.EqualFunc(got, nals, bytes.Equal) {
			t.Fatalf("split again gives %v, want %v", got, nals)
		}
		if !bytes.Equal(stream, before) {
			t.Fatal("the stream was written to")
		}
		joined := bytes.Join(splitAccessUnits(stream), nil)
		if !bytes.Contains(append([]byte{0}, stream...), joined) {
			t.Fatal("the access units are no contiguous part of the stream")
		}
	})
}

func FuzzSplitOpus(f *testing.F) {
	f.Add(sampleOgg[:500])
	f.Add([]byte("OggS\x00"))
	f.Fuzz(func(t *testing.T, ogg []byte) {
		packets, err := splitOpus(ogg)
		size := 0
		for _, p := range packets {
			size += len(p)
		}
		if size > len(ogg) || err != nil && packets != nil {
			t.Fatalf("%d bytes of packets out of %d, error %v", size, len(ogg), err)
		}
	})
}
