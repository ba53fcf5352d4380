package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// What must not disturb those who watch: a viewer too many, one that is gone without a word, a service
// that restarts.

// audience is a number of viewers that play.
type audience struct {
	world   *World
	viewers []*Viewer
	group   actors.Group
	leave   context.CancelFunc
}

func newAudience(t *testing.T, ctx context.Context, w *World, n int) *audience {
	t.Helper()
	a := &audience{world: w}
	ctx, a.leave = context.WithCancel(ctx)
	for i := range n {
		cfg := w.Viewer(i+1, fmt.Sprint("viewer-", i+1))
		v, err := NewViewer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		a.viewers = append(a.viewers, v)
		a.group.Go(cfg.ClientID, func() error { return v.Run(ctx) })
	}
	for _, v := range a.viewers {
		select {
		case <-v.Playing():
		case <-v.life.Done():
			t.Fatalf("viewer %s ended: %v", v.cfg.ClientID, context.Cause(v.life))
		}
	}
	return a
}

// playOn waits until each viewer has seen so many pictures more.
func (a *audience) playOn(t *testing.T, ctx context.Context, pictures uint64) {
	t.Helper()
	for _, v := range a.viewers {
		goal := v.Progress().Pictures + pictures
		await(t, ctx, func() bool { return v.Progress().Pictures >= goal }, v.cfg.ClientID+": pictures after the disturbance")
	}
}

// undisturbed ends the audience and fails for anybody who lost a packet or a connection.
func (a *audience) undisturbed(t *testing.T) {
	t.Helper()
	a.leave()
	if err := a.group.Wait(); err != nil {
		t.Error(err)
	}
	for _, v := range a.viewers {
		if row := v.Row(); !row.OK() || row.PacketsLost > 0 || row.AudioLost > 0 {
			t.Errorf("%s: error %q, lost %d, audio lost %d, pair %s", row.ClientID, row.Error, row.PacketsLost, row.AudioLost, row.Pair)
		}
	}
}

func startWorld(t *testing.T, ctx context.Context, cfg WorldConfig) *World {
	t.Helper()
	w, err := StartWorld(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t)
	})
	return w
}

func TestEleventhViewerIsRefusedAndTenPlayOn(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	w := startWorld(t, ctx, WorldConfig{AWSLimits: true})
	ten := newAudience(t, ctx, w, 10)
	eleventh, err := NewViewer(w.Viewer(11, "viewer-11"))
	if err != nil {
		t.Fatal(err)
	}
	var refused *signaling.HandshakeError
	if err := eleventh.Run(ctx); !errors.As(err, &refused) || refused.Status != 400 || refused.Type != "ClientLimitExceededException" {
		t.Errorf("the eleventh viewer: %v", err)
	}
	ten.playOn(t, ctx, 15)
	ten.undisturbed(t)
}

func TestVanishedViewerDisturbsNobodyAndMayReturn(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	w := startWorld(t, ctx, WorldConfig{AWSLimits: true})
	nine := newAudience(t, ctx, w, 9)
	one := newAudience(t, ctx, w, 0)
	one.viewers = append(one.viewers, playing(t, ctx, &one.group, w.Viewer(10, "ghost")))
	one.viewers[0].Vanish()
	gone := time.Now()
	back := playing(t, ctx, &one.group, w.Viewer(10, "ghost")) // the same id, at once
	back.Vanish()
	await(t, ctx, func() bool {
		census, err := w.Device.Census(ctx)
		return err == nil && len(census.Viewers) == 9
	}, "free slot on the device")
	if took := time.Since(gone); took > 35*time.Second {
		t.Errorf("the slot was free after %v", took)
	}
	nine.playOn(t, ctx, 15)
	nine.undisturbed(t)
	if err := one.group.Wait(); err != nil {
		t.Error(err)
	}
}

func TestServiceRestartsUnderTenViewers(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	w := startWorld(t, ctx, WorldConfig{Dir: t.TempDir()})
	ten := newAudience(t, ctx, w, 10)
	if err := w.RestartService(ctx); err != nil {
		t.Fatal(err)
	}
	await(t, ctx, func() bool { return w.Device.Ready(ctx) == nil }, "device that has come back")
	ten.playOn(t, ctx, 30)
	ten.undisturbed(t)
	newcomer := newAudience(t, ctx, w, 1) // the channel is known again, without having been created anew
	newcomer.undisturbed(t)
}

// The device lets no frame go. What is on its way when the viewer begins the restart is another matter:
// pion, as the one that offers, closes its old candidates at once.
func TestDeviceDropsNothingWhenViewersRestartICE(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	w := startWorld(t, ctx, WorldConfig{})
	three := newAudience(t, ctx, w, 3)
	status := func(clientID string) (s messages.ViewerStatus) {
		if census, err := w.Device.Census(ctx); err == nil {
			if i := slices.IndexFunc(census.Viewers, func(s messages.ViewerStatus) bool { return s.ClientID == clientID }); i >= 0 {
				s = census.Viewers[i]
			}
		}
		return s
	}
	for _, v := range three.viewers {
		id := v.cfg.ClientID
		for n := range uint64(2) {
			before := status(id)
			if err := v.RestartICE(); err != nil {
				t.Fatal(err)
			}
			await(t, ctx, func() bool { return status(id).IceRestarts == n+1 && !v.restarting.Load() }, "restart")
			goal := v.Progress().Pictures + 15
			await(t, ctx, func() bool { return v.Progress().Pictures >= goal }, "pictures after the restart")
			await(t, ctx, func() bool { return status(id).VideoFrames >= before.VideoFrames+15 }, "word of them")
			if after := status(id); after.Epoch != before.Epoch || after.FramesDropped != before.FramesDropped {
				t.Errorf("%s: before %+v, after %+v", id, before, after)
			}
		}
	}
	three.leave()
	if err := three.group.Wait(); err != nil {
		t.Error(err)
	}
}

func TestViewerAboveTheDevicesLimitLearnsWhy(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	w := startWorld(t, ctx, WorldConfig{Viewers: 2, AWSLimits: true})
	two := newAudience(t, ctx, w, 2)
	third, err := NewViewer(w.Viewer(3, "viewer-3"))
	if err != nil {
		t.Fatal(err)
	}
	if err := third.Run(ctx); !errors.Is(err, errRefused) {
		t.Errorf("the third viewer: %v", err)
	}
	census, err := w.Device.Census(ctx)
	if err != nil || census.Refused != 1 || len(census.Viewers) != 2 {
		t.Errorf("census %+v, %v", census, err)
	}
	two.playOn(t, ctx, 15)
	two.undisturbed(t)
}
