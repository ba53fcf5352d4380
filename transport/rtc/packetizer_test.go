package rtc

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

func h264Unit(data []byte) *messages.AccessUnit {
	return &messages.AccessUnit{Track: messages.Video, Codec: messages.H264, Data: data}
}

func TestPacketizerPutsParameterSetsIntoOnePayload(t *testing.T) {
	z := NewPacketizer(10)
	data := []byte{0, 0, 0, 1, 9, 0xf0 /* AUD */, 0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 1, 0x65, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	f, err := z.Frame(h264Unit(data))
	must(t, err)
	want := [][]byte{
		{0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 2},                        // STAP-A, RFC 6184 5.7.1
		{0x7c, 0x85, 3, 4, 5, 6, 7, 8, 9, 10}, {0x7c, 0x45, 11, 12}, // FU-A, 5.8
	}
	if !slices.EqualFunc(f.Payloads, want, bytes.Equal) {
		t.Fatalf("got % x\nwant % x", f.Payloads, want)
	}
}

// Every NAL unit of an H.265 picture arrives, with others, whole or in fragments (RFC 7798 4.4.1 to 4.4.3).
func TestPacketizerTakesH265(t *testing.T) {
	z := NewPacketizer(100)
	nal := func(kind byte, size int) []byte { // the header is two bytes, the type stands in the first one
		return append([]byte{kind << 1, 1}, bytes.Repeat([]byte{0x55}, size)...)
	}
	want := [][]byte{nal(32, 20), nal(33, 30), nal(34, 5), nal(19, 300)} // VPS, SPS, PPS, IDR_W_RADL
	var data []byte
	for _, n := range want {
		data = append(append(data, 0, 0, 0, 1), n...)
	}
	f, err := z.Frame(&messages.AccessUnit{Track: messages.Video, Codec: messages.H265, Data: data})
	must(t, err)
	var got [][]byte
	for _, p := range f.Payloads {
		switch kind := p[0] >> 1 & 0x3f; {
		case len(p) > 100:
			t.Fatalf("payload of %d bytes", len(p))
		case kind == 48: // 4.4.2
			for rest := p[2:]; len(rest) > 0; {
				size := int(rest[0])<<8 | int(rest[1])
				got, rest = append(got, rest[2:2+size]), rest[2+size:]
			}
		case kind != 49:
			got = append(got, p)
		case p[2]&0x80 != 0: // the first fragment of a unit
			got = append(got, append([]byte{p[0]&0x81 | p[2]&0x3f<<1, p[1]}, p[3:]...))
		default:
			got[len(got)-1] = append(got[len(got)-1], p[3:]...)
		}
	}
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("got  % x\nwant % x", got, want)
	}
}

func TestNumbersSkipWhatIsLostAndNotWhatIsEmpty(t *testing.T) {
	z := NewPacketizer(0)
	audio := &messages.AccessUnit{Track: messages.Audio, Codec: messages.Opus, Data: []byte{8, 1}}
	var passed [2]uint64
	number := func(unit *messages.AccessUnit) *messages.AccessUnit {
		unit.Seq = passed[unit.Track]
		passed[unit.Track]++
		return unit
	}
	for i := range uint64(3) {
		for _, unit := range []*messages.AccessUnit{h264Unit([]byte{0, 0, 1, 0x41, 0x80}), audio} {
			f, err := z.Frame(number(unit))
			must(t, err)
			if f.Seq != i || f.Unit != unit {
				t.Fatalf("%s frame %d has number %d", unit.Track, i, f.Seq)
			}
		}
		for _, bad := range []*messages.AccessUnit{
			h264Unit(nil), h264Unit([]byte{0, 0, 1, 9, 0xf0}), h264Unit([]byte{0, 0, 0, 1}),
			{Track: messages.Audio, Codec: messages.Opus}, {Track: messages.Video, Codec: "VP8", Data: []byte{0, 0, 1, 2}}, {Track: messages.Video, Codec: messages.H265, Data: []byte{0, 0, 1, 2}},
		} {
			if f, err := z.Frame(number(bad)); err == nil {
				t.Fatalf("%s unit % x gives %d payloads and no error", bad.Codec, bad.Data, len(f.Payloads))
			}
		}
	}
	passed[messages.Audio] += 2 // lost on the way
	f, err := z.Frame(number(audio))
	must(t, err)
	if f.Seq != 5 {
		t.Fatalf("after frame 2 and two lost ones comes frame %d", f.Seq)
	}
}

func TestRTPTimeNeitherDriftsNorOverflows(t *testing.T) {
	for _, c := range []struct {
		pts  time.Duration
		rate int64
		want int64
	}{
		{0, 90_000, 0},
		{time.Second / 30, 90_000, 3000},
		{2 * time.Second / 30, 90_000, 6000},
		{20 * time.Millisecond, 48_000, 960},
		{1000 * 24 * time.Hour, 90_000, 1000 * 24 * 3600 * 90_000},
	} {
		if got := rtpTime(c.pts, c.rate); got != c.want {
			t.Errorf("%v at %d Hz is %d, want %d", c.pts, c.rate, got, c.want)
		}
	}
}

// Several sets of parameters go together as long as a payload holds them, wherever they stand.
func TestPacketizerLosesNoParameterSet(t *testing.T) {
	z := NewPacketizer(12)
	f, err := z.Frame(h264Unit([]byte{0, 0, 1, 0x67, 1, 0, 0, 1, 0x28, 2, 0, 0, 1, 0x28, 3, 0, 0, 1, 0x65, 0, 4, 0, 0, 0, 1, 0x68, 5, 0, 0, 1, 0x0a, 0, 0}))
	must(t, err)
	want := [][]byte{{0x78, 0, 2, 0x67, 1, 0, 2, 0x28, 2}, {0x28, 3}, {0x65, 0, 4}, {0x68, 5}}
	if !slices.EqualFunc(f.Payloads, want, bytes.Equal) {
		t.Fatalf("got % x\nwant % x", f.Payloads, want)
	}
}

// A key frame costs a piece of memory for its fragments, and those for what points at them.
func TestPacketizerAllocatesOncePerUnit(t *testing.T) {
	z, unit := NewPacketizer(0), h264Unit(keyFrame(150<<10))
	if got := testing.AllocsPerRun(100, func() { _, _ = z.Frame(unit) }); got > 3 {
		t.Fatalf("%v allocations", got)
	}
}

// keyFrame has parameter sets and a slice of so many random bytes, without start codes within.
func keyFrame(size int) []byte {
	data := []byte{0, 0, 0, 1, 0x67, 1, 2, 3, 0, 0, 0, 1, 0x68, 4, 5, 0, 0, 0, 1, 0x65}
	random := rand.New(rand.NewPCG(1, 2))
	for range size {
		b := byte(random.Uint32())
		if n := len(data); b < 4 && data[n-1] == 0 && data[n-2] == 0 {
			b = 4
		}
		data = append(data, b)
	}
	return data
}

func BenchmarkPacketizer(b *testing.B) {
	data := keyFrame(150 << 10)
	b.Run("heliograph", func(b *testing.B) {
		z, unit := NewPacketizer(0), h264Unit(data)
		b.ReportAllocs()
		for b.Loop() {
			_, _ = z.Frame(unit)
		}
	})
	b.Run("pion", func(b *testing.B) {
		var z codecs.H264Payloader
		b.ReportAllocs()
		for b.Loop() {
			z.Payload(PayloadBytesMax, data)
		}
	})
}

// What pion's depacketizers make of the payloads is what was in the unit.
func FuzzPacketizer(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 1, 0x65, 3}, 30, false)
	f.Add([]byte{0, 0, 1, 0, 0, 1, 0, 0, 0, 1}, 5, false)
	f.Add([]byte{0, 0, 1, 0x40, 1, 2, 0, 0, 1, 0x42, 1, 3, 0, 0, 1, 0x44, 1, 4, 0, 0, 1, 0x26, 1, 0xaf, 1, 2, 3, 4}, 14, true)
	f.Fuzz(func(t *testing.T, data []byte, mtu int, h265 bool) {
		z := NewPacketizer(mtu)
		unit, format, packet := h264Unit(bytes.Clone(data)), h264Format, rtp.Depacketizer(&codecs.H264Packet{})
		if h265 {
			unit.Codec, format, packet = messages.H265, h265Format, &codecs.H265Depacketizer{}
		}
		frame, err := z.Frame(unit)
		if !bytes.Equal(unit.Data, data) {
			t.Fatal("the unit was written to")
		}
		var got []byte
		if err == nil {
			for _, payload := range frame.Payloads {
				if len(payload) == 0 || len(payload) > z.payloadMax {
					t.Fatalf("payload of %d bytes, at most %d are allowed", len(payload), z.payloadMax)
				}
				part, err := packet.Unmarshal(payload)
				must(t, err)
				got = append(got, part...)
			}
		}
		if want := sentOf(data, format); !bytes.Equal(got, want) {
			t.Fatalf("payloads of % d bytes have\n% x, the unit has\n% x", z.payloadMax, got, want)
		}
	})
}

// sentOf is what is to be sent of a unit, with start codes of four bytes.
func sentOf(data []byte, format nalFormat) (sent []byte) {
	_, data, _ = bytes.Cut(data, []byte{0, 0, 1})
	for nal := range bytes.SplitSeq(data, []byte{0, 0, 1}) {
		nal = bytes.TrimRight(nal, "\x00")
		if len(nal) > format.headerBytes && format.sends(nal) {
			sent = append(append(sent, 0, 0, 0, 1), nal...)
		}
	}
	return sent
}
