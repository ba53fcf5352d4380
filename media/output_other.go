//go:build !linux

package media

import (
	"io"
	"os"
)

func newOutput(pipe *os.File) (io.Reader, error) { return pipe, nil }
