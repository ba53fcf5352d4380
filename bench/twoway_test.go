package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/media"
)

// answer is the device's to a request.
type answer struct {
	ID     json.RawMessage
	OK     bool
	Result map[string]any
	Error  *struct{ Code, Message string }
}

// talker is a viewer whose data channel the test holds.
type talker struct {
	*Viewer
	messages chan webrtc.DataChannelMessage
}

func newTalker(t *testing.T, ctx context.Context, group *actors.Group, w *World, clientID string, audio [][]byte) *talker {
	t.Helper()
	cfg := w.Viewer(1, clientID)
	cfg.Data, cfg.Audio = true, audio
	v := playing(t, ctx, group, cfg)
	await(t, ctx, func() bool { return v.data.ReadyState() == webrtc.DataChannelStateOpen && v.Progress().Pongs > 0 }, clientID+": data channel")
	k := &talker{v, make(chan webrtc.DataChannelMessage, 64)}
	v.data.OnMessage(func(m webrtc.DataChannelMessage) {
		if string(m.Data) != "pong" { // the viewer goes on with its pings
			k.messages <- m
		}
	})
	return k
}

func (k *talker) next(t *testing.T, ctx context.Context) webrtc.DataChannelMessage {
	t.Helper()
	select {
	case m := <-k.messages:
		return m
	case <-ctx.Done():
		t.Fatal("no message came")
		return webrtc.DataChannelMessage{}
	}
}

// ask sends a request and returns the answer, whose id must be the request's.
func (k *talker) ask(t *testing.T, ctx context.Context, id, request string) answer {
	t.Helper()
	if err := k.data.SendText(fmt.Sprintf(`{"id":%s,"request":%s}`, id, request)); err != nil {
		t.Fatal(err)
	}
	m := k.next(t, ctx)
	var a answer
	if err := json.Unmarshal(m.Data, &a); err != nil || !m.IsString || string(a.ID) != id {
		t.Fatalf("%s is answered with %q: %v", request, m.Data, err)
	}
	return a
}

func (k *talker) refused(t *testing.T, ctx context.Context, request, code string) {
	t.Helper()
	if a := k.ask(t, ctx, `"r"`, request); a.OK || a.Error == nil || a.Error.Code != code || a.Error.Message == "" {
		t.Errorf("%s: %+v, want %s", request, a, code)
	}
}

func (k *talker) granted(t *testing.T, ctx context.Context, request string) map[string]any {
	t.Helper()
	a := k.ask(t, ctx, "41", request)
	if !a.OK || a.Error != nil {
		t.Errorf("%s: %+v", request, a.Error)
	}
	return a.Result
}

// tone is Opus of the coder's highest mode that says nothing much, 20 ms each.
var tone = [][]byte{{0xfc, 0xff, 0xfe}}

func TestTwoWay(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	path := filepath.Join(t.TempDir(), "talk.ogg")
	sink, err := media.NewFileSink(path)
	if err != nil {
		t.Fatal(err)
	}
	encoder := &encoderScript{}
	w := startWorld(t, ctx, WorldConfig{Source: encoder, Device: func(_ *World, cfg *device.Config) {
		cfg.Sink, cfg.Grants = sink, device.Grants{"operator-*": {"bitrate", "exec:*"}}
		cfg.Commands = map[string][]string{"left": {"/bin/echo", "a, b", "$HOME"}}
	}})
	var group actors.Group
	life, leave := context.WithCancel(ctx)
	operator := newTalker(t, life, &group, w, "operator-1", tone)
	guest := newTalker(t, life, &group, w, "guest", nil)

	t.Run("everybody", func(t *testing.T) {
		if at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(guest.granted(t, ctx, `"ping"`)["time"])); err != nil || time.Since(at) > time.Minute {
			t.Errorf("the device's time is %v: %v", at, err)
		}
		if stats := guest.granted(t, ctx, `"stats"`); stats["client_id"] != "guest" || stats["video_frames"].(float64) < 1 {
			t.Errorf("stats %v", stats)
		}
		keys := encoder.keys.Load()
		guest.granted(t, ctx, `"keyframe"`)
		await(t, ctx, func() bool { return encoder.keys.Load() > keys }, "a key frame")
		guest.picture(t, ctx)
		guest.refused(t, ctx, `"reboot"`, "unknown_request")
		guest.refused(t, ctx, `7`, "bad_request")
		guest.refused(t, ctx, `"ping","bsp":1`, "bad_request")
	})
	t.Run("text of others goes back", func(t *testing.T) {
		for _, text := range []string{"hello camera", `{"content":"x"}`} {
			if err := guest.data.SendText(text); err != nil {
				t.Fatal(err)
			}
			if got := guest.next(t, ctx); string(got.Data) != text {
				t.Errorf("%s comes back as %s", text, got.Data)
			}
		}
	})
	t.Run("granted", func(t *testing.T) {
		guest.refused(t, ctx, `"bitrate","bps":500000`, "not_allowed")
		guest.refused(t, ctx, `"exec","command":"left"`, "not_allowed")
		operator.refused(t, ctx, `"bitrate"`, "bad_request")
		operator.refused(t, ctx, `"exec","command":"right"`, "failed")
		if got := operator.granted(t, ctx, `"exec","command":"left"`); got["output"] != "a, b $HOME\n" || got["status"] != 0.0 {
			t.Errorf("exec gives %v", got)
		}
		operator.granted(t, ctx, `"bitrate","bps":500000`)
		await(t, ctx, func() bool { return encoder.bps.Load() == 500_000 }, "the source at the bitrate asked for")
	})
	t.Run("too large", func(t *testing.T) {
		for _, text := range []string{`{"request":"` + strings.Repeat("x", 5000), strings.Repeat("x", 65537)} {
			if err := guest.data.SendText(text); err != nil {
				t.Fatal(err)
			}
			if got := guest.next(t, ctx); !strings.HasPrefix(string(got.Data), `{"id":null,"ok":false,"error":{"code":"too_large"`) {
				t.Errorf("%d bytes are answered with %.100q", len(text), got.Data)
			}
		}
	})
	t.Run("flood", func(t *testing.T) {
		for range 300 {
			if err := guest.data.SendText("x"); err != nil {
				t.Fatal(err)
			}
		}
		for {
			if m := guest.next(t, ctx); strings.Contains(string(m.Data), `"too_many_requests"`) {
				return
			}
		}
	})

	await(t, ctx, func() bool { info, err := os.Stat(path); return err == nil && info.Size() > 5000 }, "the operator's voice in the file")
	leave()
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	await(t, ctx, func() bool { return encoder.bps.Load() == 0 }, "the source's own bitrate, after who asked has left")
	if err := w.Device.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	probeOgg(t, path)
}

// picture asks for a snapshot and puts it together.
func (k *talker) picture(t *testing.T, ctx context.Context) {
	t.Helper()
	head := k.granted(t, ctx, `"snapshot"`)
	var picture []byte
	for range int(head["parts"].(float64)) {
		m := k.next(t, ctx)
		if m.IsString {
			t.Fatalf("among the parts of a picture there is %s", m.Data)
		}
		picture = append(picture, m.Data...)
	}
	if head["codec"] != "H264" || len(picture) != int(head["bytes"].(float64)) || !bytes.HasPrefix(picture, []byte{0, 0, 0, 1, 0x67}) {
		t.Errorf("a snapshot of %d bytes behind %v", len(picture), head)
	}
}

// probeOgg has ffprobe judge the file.
func probeOgg(t *testing.T, path string) {
	t.Helper()
	ffprobe, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Skip("ffprobe is missing")
	}
	out, err := exec.Command(ffprobe, "-v", "error", "-of", "csv", "-show_entries", "stream=codec_name,sample_rate:format=format_name", path).CombinedOutput()
	if err != nil || string(out) != "stream,opus,48000\nformat,ogg\n" {
		t.Errorf("ffprobe: %v: %s", err, out)
	}
}
