package media

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// helper is the program that runs GStreamer pipelines.
const helper = "heliograph-gst"

// FindHelper returns the path of heliograph-gst: it is looked for beside this program, then in PATH.
func FindHelper() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), helper)
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath(helper)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside this program nor in PATH: it needs GStreamer and is built with `make gst`", helper)
	}
	return path, nil
}
