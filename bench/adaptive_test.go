package bench

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/bench/impair"
	"github.com/heliograph-rtc/heliograph/messages"
)

// encoderScript stands in for a live encoder: it heeds wishes for key frames and for a bitrate.
type encoderScript struct {
	bps    atomic.Int64 // what it was asked for last; 0: its own rate
	asked  atomic.Int64 // times it was asked for one
	wished atomic.Bool
	keys   atomic.Int64
}

const (
	encoderOwnBps = 3_000_000
	encoderFPS    = 30
	encoderGroup  = 10 * encoderFPS
)

func (*encoderScript) Name() string { return "encoder script" }

func (*encoderScript) VideoCodec() messages.Codec { return messages.H264 }
func (*encoderScript) AudioCodec() messages.Codec { return messages.Opus }

func (e *encoderScript) RequestKeyFrame() bool { e.wished.Store(true); return true }

func (*encoderScript) RequestPicture(int, int) bool { return false }

func (e *encoderScript) RequestBitrate(bps int) bool {
	e.bps.Store(int64(bps))
	e.asked.Add(1)
	return true
}

func (e *encoderScript) Run(ctx context.Context, emit func(*messages.AccessUnit) error) error {
	tick := time.NewTicker(time.Second / encoderFPS)
	defer tick.Stop()
	for i := 0; ; i++ {
		if err := emit(e.picture(i)); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// picture has the size that the rate asks for, three times that for a key frame.
func (e *encoderScript) picture(i int) *messages.AccessUnit {
	bps := e.bps.Load()
	if bps == 0 {
		bps = encoderOwnBps
	}
	key := e.wished.Swap(false) || i%encoderGroup == 0
	size, head := int(bps/8/encoderFPS), []byte{0, 0, 0, 1, 0x41, 0x9a}
	if key {
		e.keys.Add(1)
		size, head = 3*size, []byte("\x00\x00\x00\x01\x67\x42\xc0\x1f\xda\x01\x40\x16\xec\x04\x40\x00\x00\x03\x00\x40\x00\x00\x0f\x03\xc6\x0c\xa8"+
			"\x00\x00\x00\x01\x68\xce\x32\xc8\x00\x00\x00\x01\x65\x88")
	}
	return &messages.AccessUnit{
		Track: messages.Video, Codec: messages.H264, KeyFrame: key, Captured: time.Now(), Duration: time.Second / encoderFPS,
		PTS: time.Duration(i) * time.Second / encoderFPS, Data: append(slices.Clone(head), slices.Repeat([]byte{0x55}, size)...),
	}
}

// A live encoder is asked for less when the path to the viewers narrows, for its own rate again when the
// viewer behind that path has gone, and for a key frame when one comes late in a group.
func TestEncoderFollowsThePaths(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	encoder := &encoderScript{}
	w := startWorld(t, ctx, WorldConfig{Source: encoder})
	cfg := w.Viewer(1, "narrow")
	cfg.Network = impair.Profile{RateBps: 2_000_000, QueueBytes: 100_000, Seed: 1}
	narrow, err := NewViewer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var group actors.Group
	narrowCtx, leave := context.WithCancel(ctx)
	group.Go("narrow", func() error { return narrow.Run(narrowCtx) })
	await(t, ctx, func() bool { bps := encoder.bps.Load(); return bps > 0 && bps < 2_000_000 }, "less asked of the encoder")
	pictures := narrow.Progress().Pictures
	await(t, ctx, func() bool { return narrow.Progress().Pictures > pictures+2*encoderFPS }, "the narrow path carrying pictures")
	leave()
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	keys := encoder.keys.Load()
	wide := newAudience(t, ctx, w, 1)
	await(t, ctx, func() bool { return encoder.keys.Load() > keys }, "a key frame for the viewer that has come")
	await(t, ctx, func() bool { return encoder.bps.Load() == 0 }, "the encoder's own rate again")
	wide.playOn(t, ctx, encoderFPS)
	wide.undisturbed(t)
}
