package media

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

func writeFile(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "video")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFilePlaysInALoopAtItsRate(t *testing.T) {
	path := writeFile(t, sampleH264)
	synctest.Test(t, func(t *testing.T) {
		f, err := NewFile(messages.H264, path, 25)
		if err != nil {
			t.Fatal(err)
		}
		start, n := time.Now(), 0
		enough := errors.New("enough")
		err = f.Run(t.Context(), func(u *messages.AccessUnit) error {
			if due := time.Duration(n) * 40 * time.Millisecond; u.PTS != due || time.Since(start) != due || !u.Captured.Equal(start.Add(due)) {
				t.Fatalf("picture %d of %v came after %v", n, u.PTS, time.Since(start))
			}
			if key := n%300%60 == 0; u.KeyFrame != key { // the sample's 300 pictures
				t.Fatalf("picture %d: key frame %v", n, u.KeyFrame)
			}
			if n++; n == 700 {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
	})
}

func TestFileGoesOnAfterABlock(t *testing.T) {
	path := writeFile(t, sampleH264)
	synctest.Test(t, func(t *testing.T) {
		f, err := NewFile(messages.H264, path, 25)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		last := time.Duration(-1)
		err = f.Run(ctx, func(u *messages.AccessUnit) error {
			if u.PTS <= last || u.Captured.After(time.Now()) {
				t.Fatalf("picture of %v after one of %v, captured %v from now", u.PTS, last, time.Until(u.Captured))
			}
			if last = u.PTS; last == 4*time.Second {
				time.Sleep(5 * time.Second) // virtual
			}
			return nil
		})
		if !errors.Is(err, context.DeadlineExceeded) || last < 19*time.Second {
			t.Fatalf("got as far as %v, %v", last, err)
		}
	})
}

func TestFileSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":        {nil, "it holds no picture"},
		"text":         {[]byte("no video at all"), "no start code"},
		"no key frame": {[]byte{0, 0, 1, 0x41, 0x9a, 0x80}, "does not begin with a key frame"},
		"high 10":      {[]byte{0, 0, 1, 0x67, 110, 0, 31, 0, 0, 1, 0x68, 2, 0, 0, 1, 0x65, 0x88, 0x80}, "profile 110, which viewers cannot play"},
		"B-frames":     {[]byte{0, 0, 1, 0x41, 0x9e, 0x80}, "has B-frames, which viewers cannot play; turn B-frames off"}, // ue 0, ue 6
	} {
		if _, err := NewFile(messages.H264, writeFile(t, c.data), 30); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for _, fps := range []float64{0, -1, 1000} {
		if _, err := NewFile(messages.H264, writeFile(t, sampleH264), fps); err == nil || !strings.Contains(err.Error(), "frames per second") {
			t.Errorf("%v frames per second: %v", fps, err)
		}
	}
	if _, err := NewFile(messages.H264, "no such file", 30); err == nil {
		t.Error("a file that is not there")
	}
}

// A key frame that comes without its parameter sets is given those that came before.
func TestParameterSetsAreRepeated(t *testing.T) {
	var video inspector
	first := &messages.AccessUnit{Codec: messages.H264, Data: keyUnit}
	bare := &messages.AccessUnit{Codec: messages.H264, Data: []byte{0, 0, 1, 0x65, 0x88, 0x80}, PTS: 1}
	early := &messages.AccessUnit{Codec: messages.H264, Data: bare.Data}
	for _, u := range []*messages.AccessUnit{first, bare} {
		if err := video.inspect(u); err != nil || !u.KeyFrame || !H264KeyFrame(u.Data) {
			t.Fatalf("%v, key frame %v: % x", err, u.KeyFrame, u.Data)
		}
	}
	if err := new(inspector).inspect(early); err != nil || early.KeyFrame {
		t.Fatalf("%v: without any parameter sets it is a key frame: %v", err, early.KeyFrame)
	}
}
