package notify

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestUnitFiles lets systemd's own checker read the unit files, and judge how much they leave open: 0 is
// nothing, 10 everything.
func TestUnitFiles(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not there")
	}
	units, err := filepath.Glob(filepath.Join("..", "..", "..", "deploy", "*.service"))
	if err != nil || len(units) != 2 {
		t.Fatalf("unit files %v, %v", units, err)
	}
	for _, unit := range units {
		t.Run(filepath.Base(unit), func(t *testing.T) {
			if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=25", unit).CombinedOutput(); err != nil {
				t.Errorf("more than 2.5 of 10 is left open: %v\n%s", err, out)
			}
			if out, err := exec.Command("systemd-analyze", "verify", "--man=no", installed(t, unit)).CombinedOutput(); err != nil {
				t.Errorf("verify: %v\n%s", err, out)
			}
		})
	}
}

// installed copies a unit, with a program in place of the one that it starts, which verify looks for.
func installed(t *testing.T, unit string) string {
	t.Helper()
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`/usr/bin/heliograph-\w+`).ReplaceAll(text, []byte(program))
	path := filepath.Join(t.TempDir(), filepath.Base(unit))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
