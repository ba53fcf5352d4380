package bench

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The daemon that users run is what is measured, and it serves viewers.
func TestFootprintOfTheDaemon(t *testing.T) {
	program := filepath.Join(t.TempDir(), deviceProgram)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/heliograph-rtc/heliograph/cmd/heliograph-device")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r, err := footprintScenario(t.Context(), BenchConfig{Quick: true, DeviceProgram: program}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != len(footprintStates) {
		t.Fatalf("%d rows", len(r.Rows))
	}
	idle, _ := r.Rows[0].Get("private_rss_bytes").(uint64)
	ten, _ := r.Rows[2].Get("private_rss_bytes").(uint64)
	if idle == 0 || ten <= idle {
		t.Errorf("private memory is %d bytes idle and %d with ten viewers", idle, ten)
	}
	var table bytes.Buffer
	if err := showFootprint(&table, r); err != nil || !strings.Contains(table.String(), "ten viewers") {
		t.Errorf("%v in\n%s", err, &table)
	}
}

func TestFootprintWithoutADaemon(t *testing.T) {
	var said strings.Builder
	r, err := footprintScenario(t.Context(), BenchConfig{DeviceProgram: filepath.Join(t.TempDir(), "none")}, &said)
	if err != nil || len(r.Rows) != 0 || !strings.Contains(said.String(), "NOT MEASURED") {
		t.Errorf("%v, %d rows, %q", err, len(r.Rows), said.String())
	}
	if err := showFootprint(io.Discard, r); err != nil {
		t.Error(err)
	}
}
