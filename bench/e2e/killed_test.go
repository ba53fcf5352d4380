//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/bench"
	"github.com/heliograph-rtc/heliograph/messages"
)

// slotFreeWithin is how long a viewer that was killed may keep its slot.
const slotFreeWithin = 35 * time.Second

// TestKilledViewer kills the process of a viewer while nine others watch: nobody loses a packet, and the
// slot is free again in time.
func TestKilledViewer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	w, err := bench.StartWorld(ctx, bench.WorldConfig{Log: logger(t, "world")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	})
	leave := nineViewers(t, ctx, w)
	doomed := viewerProcess(t, ctx, w)
	eventually(t, startWithin, "the tenth viewer streams", func() error { return streams(ctx, w, 10) })

	if err := doomed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = doomed.Wait() // killed: the error says so
	killed := time.Now()
	eventually(t, slotFreeWithin, "the slot is free", func() error { return streams(ctx, w, 9) })
	t.Logf("slot free %v after SIGKILL", time.Since(killed).Round(time.Millisecond))

	for _, row := range leave() {
		if !row.OK() || row.PacketsLost > 0 || row.Freezes > 0 {
			t.Errorf("%s: error %q, lost %d, freezes %d", row.ClientID, row.Error, row.PacketsLost, row.Freezes)
		}
	}
}

// nineViewers play; leave ends them and gives what they saw.
func nineViewers(t *testing.T, ctx context.Context, w *bench.World) (leave func() []bench.Row) {
	t.Helper()
	var viewers []*bench.Viewer
	ctx, cancel := context.WithCancel(ctx)
	var group actors.Group
	for i := range 9 {
		v, err := bench.NewViewer(w.Viewer(i+1, fmt.Sprint("watcher-", i+1)))
		if err != nil {
			t.Fatal(err)
		}
		viewers = append(viewers, v)
		group.Go("watcher", func() error { return v.Run(ctx) })
		select {
		case <-v.Playing():
		case <-time.After(startWithin):
			t.Fatalf("watcher %d does not play", i+1)
		}
	}
	return func() (rows []bench.Row) {
		cancel()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
		for _, v := range viewers {
			rows = append(rows, v.Row())
		}
		return rows
	}
}

// viewerProcess runs one viewer of the load test in a process of its own.
func viewerProcess(t *testing.T, ctx context.Context, w *bench.World) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	binary, roots := filepath.Join(dir, "heliograph-load"), filepath.Join(dir, "ca.pem")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "../../cmd/heliograph-load")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the load test: %v\n%s", err, out)
	}
	if err := os.WriteFile(roots, w.Service.CAPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	viewer := exec.CommandContext(ctx, binary, "--viewers", "1", "--duration", "2m", "--channel", w.Channel,
		"--endpoint", w.Service.PublicURL, "--region", w.Service.Region, "--ca-file", roots)
	viewer.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+w.Service.Credentials.AccessKeyID,
		"AWS_SECRET_ACCESS_KEY="+w.Service.Credentials.SecretAccessKey)
	if err := viewer.Start(); err != nil {
		t.Fatal(err)
	}
	return viewer
}

// streams objects unless so many viewers have a slot, and all of them stream.
func streams(ctx context.Context, w *bench.World, n int) error {
	census, err := w.Device.Census(ctx)
	if err != nil {
		return err
	}
	streaming := 0
	for _, v := range census.Viewers {
		if v.State == "streaming" && v.Phases[messages.PhaseFirstFrame] > 0 {
			streaming++
		}
	}
	if len(census.Viewers) != n || streaming != n {
		return errors.New(fmt.Sprint(len(census.Viewers), " viewers, ", streaming, " of them stream"))
	}
	return nil
}
