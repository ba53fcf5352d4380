package media

import (
	"encoding/hex"
	"testing"

	"github.com/heliograph-rtc/heliograph/messages"
)

// The sequence parameter sets are x264's and x265's; ffprobe says the same of the streams.
func TestFormatOf(t *testing.T) {
	for _, c := range []struct {
		codec     messages.Codec
		set, want string
	}{
		{messages.H264, "67640020acd94056063e688c0440000003004000000c83c60c6580", "H264 high profile, level 3.2, 1366x770"},
		{messages.H264, "674d401eeca0503db011000003000100000300321f142996", "H264 main profile, level 3.0, 640x480"}, // interlaced
		{messages.H264, "67f4000d919b282a33c7c5e022000003000200000300641e28532c", "H264 high 4:4:4 profile, level 1.3, 322x182"},
		{messages.H265, "420101016000000300900000030000030078a002ac80309d4996566924caf0168080000003008000000c84", "H265 main profile, level 4.0, 1366x770"},
	} {
		nal, err := hex.DecodeString(c.set)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := FormatOf(&messages.AccessUnit{Codec: c.codec, Data: append([]byte{0, 0, 1}, nal...)})
		if !ok || got.String() != c.want {
			t.Errorf("%v %v, want %s", got, ok, c.want)
		}
		if _, ok := FormatOf(&messages.AccessUnit{Codec: c.codec, Data: append([]byte{0, 0, 1}, nal[:6]...)}); ok {
			t.Errorf("%s: a cut one is read", c.want)
		}
	}
}

func TestFormatOfTheSample(t *testing.T) {
	s, err := newSample(sampleH264)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := FormatOf(&messages.AccessUnit{Codec: messages.H264, Data: s.units[0].Data})
	if !ok || got.Profile != "constrained baseline" || got.Width != 1280 || got.Height != 720 {
		t.Fatalf("%v %v", got, ok)
	}
}

func FuzzFormatOf(f *testing.F) {
	f.Add(true, []byte("\x00\x00\x01\x67\x64\x00\x20\xac\xd9"))
	f.Add(false, []byte("\x00\x00\x01\x42\x01\x01\x01\x60"))
	f.Fuzz(func(t *testing.T, avc bool, data []byte) {
		codec := messages.H265
		if avc {
			codec = messages.H264
		}
		FormatOf(&messages.AccessUnit{Codec: codec, Data: data})
	})
}
