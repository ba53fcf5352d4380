package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

// cameraArgument makes this test's binary a source program that plays the sample.
const cameraArgument = "camera"

func playSample(stdout, stderr io.Writer) error {
	fmt.Fprintln(stderr, "pid", os.Getpid())
	sample, err := media.NewSample()
	if err != nil {
		return err
	}
	return sample.Run(context.Background(), func(u *messages.AccessUnit) error {
		return media.WritePipeUnit(stdout, media.PipeUnit{Codec: u.Codec, PTS: u.PTS, Data: u.Data})
	})
}

// camera is a source program with what it said.
type camera struct {
	*media.Exec
	logged *observer.ObservedLogs
}

func newCamera(args ...string) *camera {
	core, logged := observer.New(zap.InfoLevel)
	return &camera{media.NewExec(media.ExecConfig{Name: "camera", Args: args, Log: zap.New(core)}), logged}
}

// pids are those of the programs that have run so far.
func (c *camera) pids() (list []int) {
	for _, entry := range c.logged.All() {
		var pid int
		if said, ok := entry.ContextMap()["said"].(string); ok && strings.HasPrefix(said, "pid ") {
			if _, err := fmt.Sscanf(said, "pid %d", &pid); err == nil {
				list = append(list, pid)
			}
		}
	}
	return list
}

// A source program that crashes, or is killed, costs its viewers some pictures and nothing else.
func TestCameraIsKilledUnderTenViewers(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	source := newCamera(os.Args[0], cameraArgument)
	w := startWorld(t, ctx, WorldConfig{Source: source})
	ten := newAudience(t, ctx, w, 10)
	for i, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSEGV} {
		pids := source.pids()
		if len(pids) != i+1 {
			t.Fatalf("%d programs have run", len(pids))
		}
		if err := syscall.Kill(pids[i], signal); err != nil {
			t.Fatal(err)
		}
		killed := time.Now()
		await(t, ctx, func() bool { return len(source.pids()) == i+2 }, "program in the place of the one killed")
		goal := make([]uint64, len(ten.viewers)) // of pictures that the one killed has not made
		for n, v := range ten.viewers {
			goal[n] = v.Progress().Pictures + 3
		}
		for n, v := range ten.viewers {
			await(t, ctx, func() bool { return v.Progress().Pictures >= goal[n] }, v.cfg.ClientID+": pictures after the kill")
		}
		if took := time.Since(killed); took > 2*time.Second {
			t.Errorf("%v: pictures came back after %v, want 2 s", signal, took)
		}
		t.Logf("%v: three pictures at each of ten viewers %v after the kill", signal, time.Since(killed))
	}
	census, err := w.Device.Census(ctx)
	if err != nil || len(census.Viewers) != 10 {
		t.Errorf("%d viewers are left, %v", len(census.Viewers), err)
	}
	ten.undisturbed(t)
}
