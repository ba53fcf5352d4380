package media

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// gstreamer is the program that runs GStreamer pipelines.
const gstreamer = "heliograph-gst"

// FindGStreamer returns the path of heliograph-gst: it is looked for beside this program, then in PATH.
func FindGStreamer() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), gstreamer)
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath(gstreamer)
	if err != nil {
		return "", fmt.Errorf("%s is neither beside this program nor in PATH: it needs GStreamer and is built with `make gst`", gstreamer)
	}
	return path, nil
}
