// Package rtsp is a network camera for tests and benchmarks: GStreamer's own RTSP server in a process of
// its own. Build compiles it (server/server.c), Start lets one camera serve a pipeline.
package rtsp

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

//go:embed server/server.c
var server []byte

// ErrMissing is what Build fails with where the machine cannot build the server; it says what to install.
var ErrMissing = errors.New("apt install gcc pkg-config libgstrtspserver-1.0-dev")

// Build compiles the server into dir, and returns its program.
func Build(ctx context.Context, dir string) (program string, err error) {
	flags, err := exec.CommandContext(ctx, "pkg-config", "--cflags", "--libs", "gstreamer-rtsp-server-1.0").Output()
	if err != nil {
		return "", fmt.Errorf("build RTSP server: %w", ErrMissing)
	}
	compiler, err := exec.LookPath("gcc")
	if err != nil {
		return "", fmt.Errorf("build RTSP server: %w", ErrMissing)
	}
	source, program := filepath.Join(dir, "server.c"), filepath.Join(dir, "rtsp-server")
	if err := os.WriteFile(source, server, 0o600); err != nil {
		return "", fmt.Errorf("build RTSP server: %w", err)
	}
	args := append([]string{"-O1", "-o", program, source}, strings.Fields(string(flags))...)
	if out, err := exec.CommandContext(ctx, compiler, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build RTSP server: %w\n%s", err, out)
	}
	return program, nil
}

// Camera is a running server.
type Camera struct {
	Port int

	cmd   *exec.Cmd
	stdin io.Closer
}

// Start returns when the camera serves pipeline, whose payloaders are named pay0 and pay1. Port 0 is any
// that is free. The camera ends with this process.
func Start(ctx context.Context, program string, port int, pipeline string) (*Camera, error) {
	c := &Camera{cmd: exec.CommandContext(ctx, program, strconv.Itoa(port), pipeline)}
	c.cmd.Stderr = os.Stderr
	stdout, err := c.cmd.StdoutPipe()
	if err == nil {
		c.stdin, err = c.cmd.StdinPipe()
	}
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start RTSP server: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		c.Port, err = strconv.Atoi(strings.TrimSpace(line))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start RTSP server: read port: %w", err), c.Stop())
	}
	return c, nil
}

// URL is where the camera serves.
func (c *Camera) URL() string { return fmt.Sprintf("rtsp://127.0.0.1:%d/camera", c.Port) }

// Process is the camera's, for those who do it harm.
func (c *Camera) Process() *os.Process { return c.cmd.Process }

// Stop ends the camera without a goodbye to those who watch it, and waits for its process.
func (c *Camera) Stop() error {
	c.stdin.Close()
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop RTSP server: %w", err)
	}
	var status *exec.ExitError
	if err := c.cmd.Wait(); err != nil && !errors.As(err, &status) {
		return fmt.Errorf("stop RTSP server: %w", err)
	}
	return nil
}
