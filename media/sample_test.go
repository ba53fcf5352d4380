package media

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// runSample collects what Run emits within d of virtual time.
func runSample(t *testing.T, d time.Duration, slow func(*messages.AccessUnit)) (*Sample, []*messages.AccessUnit) {
	t.Helper()
	s, err := newSample(sampleH264)
	if err != nil {
		t.Fatal(err)
	}
	s.alarm = NewTimerAlarm // for virtual time
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var got []*messages.AccessUnit
	err = s.Run(ctx, func(u *messages.AccessUnit) error {
		got = append(got, u)
		if slow != nil {
			slow(u)
		}
		return nil
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("run ended with %v", err)
	}
	return s, got
}

func TestSampleIsPacedAndLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s, got := runSample(t, 25*time.Second-time.Millisecond, func(u *messages.AccessUnit) {
			if now := time.Now(); !now.Equal(u.Captured) {
				t.Fatalf("%s unit of %v emitted at %v, %v off schedule", u.Track, u.PTS, now.Sub(start), now.Sub(u.Captured))
			}
		})
		count := map[messages.Track]int{}
		next := map[messages.Track]time.Duration{}
		var last time.Duration
		for _, u := range got {
			if u.PTS != next[u.Track] {
				t.Fatalf("%s unit %d has PTS %v, want %v", u.Track, count[u.Track], u.PTS, next[u.Track])
			}
			if want := start.Add(u.PTS); !u.Captured.Equal(want) {
				t.Fatalf("captured %v, want %v", u.Captured, want)
			}
			if u.PTS < last {
				t.Fatalf("%s unit of %v comes after one of %v", u.Track, u.PTS, last)
			}
			if key := u.Track == messages.Video && count[u.Track]%60 == 0; u.KeyFrame != key {
				t.Fatalf("%s unit %d: key frame %v", u.Track, count[u.Track], u.KeyFrame)
			}
			last, next[u.Track] = u.PTS, u.PTS+u.Duration
			count[u.Track]++
		}
		if count[messages.Video] != 25*30 || count[messages.Audio] != 25*50 || s.Skipped() != 0 {
			t.Fatalf("got %v units, %d skipped in 25 s", count, s.Skipped())
		}
	})
}

func TestSampleCatchesUpAfterABlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const block = 3 * time.Second
		blocked := false
		var resumed []*messages.AccessUnit
		s, got := runSample(t, 10*time.Second, func(u *messages.AccessUnit) {
			switch {
			case u.PTS > time.Second && !blocked:
				blocked = true
				time.Sleep(block)
			case blocked:
				if late := time.Since(u.Captured); late != 0 {
					t.Fatalf("%s unit of %v emitted %v late", u.Track, u.PTS, late)
				}
				resumed = append(resumed, u)
			}
		})
		video := slices.IndexFunc(resumed, func(u *messages.AccessUnit) bool { return u.Track == messages.Video })
		audio := slices.IndexFunc(resumed, func(u *messages.AccessUnit) bool { return u.Track == messages.Audio })
		if u := resumed[video]; !u.KeyFrame || u.PTS != 6*time.Second {
			t.Fatalf("video goes on at %v, key frame %v", u.PTS, u.KeyFrame)
		}
		if u := resumed[audio]; u.PTS < 4*time.Second || u.PTS > 4100*time.Millisecond {
			t.Fatalf("audio goes on at %v", u.PTS)
		}
		if total := uint64(len(got)) + s.Skipped(); total < 800 || total > 802 { // two units are due exactly at the end
		}
	})
}

func TestSampleSurvivesAShortBlockWithoutLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, got := runSample(t, 4*time.Second-time.Millisecond, func(u *messages.AccessUnit) {
			if u.Track == messages.Video && u.PTS == time.Second {
				time.Sleep(1900 * time.Millisecond)
			}
		})
		if len(got) != 4*80 || s.Skipped() != 0 {
			t.Fatalf("%d units, %d skipped", len(got), s.Skipped())
		}
	})
}

func TestSampleStopsWhenEmitFails(t *testing.T) {
	s, err := NewSample()
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := s.Run(t.Context(), func(*messages.AccessUnit) error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("run ended with %v", err)
	}
	if s.RequestKeyFrame() {
		t.Fatal("the sample claims to make key frames on demand")
	}
}

func TestSampleUnitsMakeUpTheFile(t *testing.T) {
	pictures := splitAccessUnits(sampleH264)
	if !bytes.Equal(bytes.Join(pictures, nil), sampleH264) {
		t.Fatal("the access units do not make up the file")
	}
	for i, p := range pictures {
		var kinds []byte
		for nal := range SplitAnnexB(p) {
			kinds = append(kinds, nal[0]&nalTypeMask)
		}
		want := []byte{nalSlice}
		if i%60 == 0 {
			want = []byte{nalSPS, nalPPS, nalIDR}
		}
		if !bytes.Equal(kinds, want) {
			t.Fatalf("picture %d holds NAL units %v, want %v", i, kinds, want)
		}
	}
	if total := len(sampleH264) + len(sampleOgg); total > 1_200_000 {
		t.Fatalf("the embedded sample has %d bytes, at most 1.2 MB are wanted in the binary", total)
	}
}

func TestSampleAudioIsOneFrameOf20MsPerPacket(t *testing.T) {
	packets, err := SampleAudio()
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		// RFC 6716 3.1: code 0 in the low bits is one frame; of the configurations, these have 20 ms.
		config, code := p[0]>>3, p[0]&3
		twenty := config < 12 && config%4 == 1 || config >= 12 && config < 16 && config%2 == 1 || config >= 16 && config%4 == 3
		if code != 0 || !twenty {
			t.Fatalf("packet %d: configuration %d, code %d", i, config, code)
		}
	}
	if got := pages(sampleOgg); got != len(packets)+opusHeaderPages {
		t.Fatalf("%d Ogg pages for %d packets", got, len(packets))
	}
}

func pages(ogg []byte) int { return bytes.Count(ogg, []byte("OggS\x00")) }

func TestSplitOpusRefusesDamage(t *testing.T) {
	for name, ogg := range map[string][]byte{
		"empty":           nil,
		"cut in header":   sampleOgg[:20],
		"cut in lacing":   sampleOgg[:27],
		"cut in packet":   sampleOgg[:len(sampleOgg)-1],
		"no page":         append([]byte("x"), sampleOgg...),
		"another content": bytes.Replace(sampleOgg, []byte("OpusHead"), []byte("OpusTail"), 1),
	} {
		if packets, err := splitOpus(ogg); err == nil {
			t.Errorf("%s: %d packets and no error", name, len(packets))
		}
	}
}

// TestSampleIsWhatFfprobeSeesInIt holds the files against a decoder that is not ours.
func TestSampleIsWhatFfprobeSeesInIt(t *testing.T) {
	ffprobe, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Skip("ffprobe is not installed (Debian: apt-get install ffmpeg); the sample is checked by our own parser only")
	}
	type stream struct {
		Codec    string `json:"codec_name"`
		Profile  string `json:"profile"`
		Level    int    `json:"level"`
		Width    int    `json:"width"`
		Height   int    `json:"height"`
		BFrames  int    `json:"has_b_frames"`
		Rate     string `json:"r_frame_rate"`
		Frames   string `json:"nb_read_frames"`
		Hz       string `json:"sample_rate"`
		Channels int    `json:"channels"`
	}
	probe := func(file string) stream {
		out, err := exec.CommandContext(t.Context(), ffprobe, "-v", "error", "-count_frames", "-show_streams", "-of", "json", file).Output()
		if err != nil {
			t.Fatalf("ffprobe %s: %v", file, err)
		}
		var got struct{ Streams []stream }
		if err := json.Unmarshal(out, &got); err != nil || len(got.Streams) != 1 {
			t.Fatalf("ffprobe %s: %v %s", file, err, out)
		}
		return got.Streams[0]
	}
	video := stream{Codec: "h264", Profile: "Constrained Baseline", Level: 31, Width: 1280, Height: 720, Rate: "30/1", Frames: "300"}
	if got := probe("sample/sample.h264"); got != video {
		t.Errorf("video is %+v\nwant %+v", got, video)
	}
	audio := probe("sample/sample.ogg")
	if audio.Codec != "opus" || audio.Hz != "48000" || audio.Channels != 1 || audio.Frames != "500" {
		t.Errorf("audio is %+v", audio)
	}
}
