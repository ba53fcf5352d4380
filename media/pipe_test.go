package media

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

func sameUnit(a, b PipeUnit) bool {
	return a.Codec == b.Codec && a.PTS == b.PTS && a.Monotonic == b.Monotonic && bytes.Equal(a.Data, b.Data)
}

// readPipe returns the units of a stream and the error that ended it.
func readPipe(stream []byte) (units []PipeUnit, err error) {
	r := NewPipeReader(bytes.NewReader(stream))
	for {
		u, err := r.Next()
		if err != nil {
			return units, err
		}
		units = append(units, u)
	}
}

func TestPipeCarriesUnits(t *testing.T) {
	want := []PipeUnit{
		{messages.H264, 0, false, []byte{0, 0, 1, 0x65, 1}},
		{messages.H265, 40 * time.Millisecond, true, []byte{0, 0, 1, 0x26, 1}},
		{messages.Opus, pipePTSMax, false, bytes.Repeat([]byte{7}, soundBytesMax)},
		{messages.H264, 1, true, bytes.Repeat([]byte{7}, UnitBytesMax)},
	}
	var stream bytes.Buffer
	for _, u := range want {
		if err := WritePipeUnit(&stream, u); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readPipe(stream.Bytes())
	if err != io.EOF || !slices.EqualFunc(got, want, sameUnit) {
		t.Fatalf("read %d units and %v", len(got), err)
	}
}

func TestPipeRefusesWhatIsNoUnit(t *testing.T) {
	good := []byte{pipeMagic, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9}
	with := func(at int, b byte) []byte {
		c := slices.Clone(good)
		c[at] = b
		return append(slices.Clone(good), c...) // the second unit is the bad one
	}
	for name, c := range map[string]struct {
		stream []byte
		want   string
	}{
		"text":            {append(slices.Clone(good), "hello, I am a camera"...), "unit 2 of the source: no header where one must be: it begins with 0x68"},
		"unknown codec":   {with(1, 9), "codec 9 is not known"},
		"no codec":        {with(1, 0), "codec 0 is not known"},
		"unknown flag":    {with(2, 0x80), "reserved bits must be 0"},
		"reserved byte":   {with(3, 1), "reserved bits must be 0"},
		"empty":           {with(7, 0), "the unit is empty"},
		"too large":       {with(4, 1), "at most 8388608 are allowed"},
		"too large sound": {slices.Concat(good, []byte{pipeMagic, 3, 0, 0, 0, 0, 0x20, 1}, make([]byte, 8)), "an audio packet of 8193 bytes"},
		"negative time":   {with(8, 0x80), "is outside 0 to"},
		"cut in header":   {append(slices.Clone(good), good[:9]...), "unit 2 of the source: the stream ends inside it"},
		"cut in data":     {append(slices.Clone(good), good[:16]...), "the stream ends inside it"},
	} {
		units, err := readPipe(c.stream)
		if err == nil || err == io.EOF || !strings.Contains(err.Error(), c.want) || len(units) != 1 {
			t.Errorf("%s: %d units and %v, want %q", name, len(units), err, c.want)
		}
	}
	if err := WritePipeUnit(io.Discard, PipeUnit{Codec: "VP8", Data: []byte{1}}); err == nil {
		t.Error("a codec without a number was written")
	}
}

func FuzzPipeReader(f *testing.F) {
	f.Add([]byte{pipeMagic, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9})
	f.Add([]byte{pipeMagic, 3, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2, pipeMagic, 2})
	f.Fuzz(func(t *testing.T, stream []byte) {
		units, err := readPipe(stream)
		if err == nil {
			t.Fatal("the stream has no end")
		}
		var again bytes.Buffer
		for _, u := range units {
			if err := WritePipeUnit(&again, u); err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
		}
		if !bytes.HasPrefix(stream, again.Bytes()) || err == io.EOF && again.Len() != len(stream) {
			t.Fatalf("%d units are other bytes than those read, end %v", len(units), err)
		}
	})
}

// FuzzAnnexB: however a stream comes in pieces, it is cut in the same places.
func FuzzAnnexB(f *testing.F) {
	f.Add(sampleH264[:3000], 100)
	f.Add([]byte{0, 0, 0, 1, 0x40, 1, 0, 0, 1, 0x26, 1, 0x80, 0, 0, 1, 2, 1, 0x80, 9}, 1)
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		whole, wholeErr := readAnnexB(bytes.NewReader(stream))
		pieces, err := readAnnexB(&inPieces{stream, max(1, piece)})
		if !slices.EqualFunc(whole, pieces, bytes.Equal) || (wholeErr == io.EOF) != (err == io.EOF) {
			t.Fatalf("cut into %d units, %v; in pieces of %d into %d, %v", len(whole), wholeErr, piece, len(pieces), err)
		}
		if !bytes.HasPrefix(stream, bytes.Join(whole, nil)) {
			t.Fatal("the units are not the stream")
		}
		var video inspector
		for i, data := range whole {
			unit := &messages.AccessUnit{Codec: messages.H265, Data: data, PTS: time.Duration(i)}
			if video.inspect(unit) == nil && unit.KeyFrame && unit.Spare {
				t.Fatal("a key frame to spare")
			}
		}
	})
}

type inPieces struct {
	data []byte
	size int
}

func (p *inPieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(p.size, len(b))], p.data)
	p.data = p.data[n:]
	return n, nil
}

func readAnnexB(r io.Reader) (units [][]byte, err error) {
	a := newAnnexB(r, "")
	for {
		unit, _, err := a.next()
		if err != nil {
			return units, err
		}
		units = append(units, unit)
	}
}
