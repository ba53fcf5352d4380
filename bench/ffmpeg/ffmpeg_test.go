package ffmpeg

import (
	"slices"
	"testing"
	"time"
)

func TestPacketsAreRead(t *testing.T) {
	got, err := parsePackets([]byte(`{"packets": [
		{"codec_type": "video", "pts_time": "0.033000", "flags": "K_", "data_hash": "SHA256:AB"},
		{"codec_type": "audio", "pts_time": "1.020000", "flags": "K_", "data_hash": "SHA256:cd"}]}`))
	want := []Packet{{true, true, 33 * time.Millisecond, "ab"}, {false, true, 1020 * time.Millisecond, "cd"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{`{"packets": [{"codec_type": "video", "pts_time": "N/A"}]}`, `{"packets": [`, ``} {
		if _, err := parsePackets([]byte(bad)); err == nil {
			t.Errorf("%s is fine", bad)
		}
	}
}
