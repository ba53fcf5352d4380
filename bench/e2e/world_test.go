//go:build e2e

package e2e

// A world is a service and a device on free loopback ports, in this process, with the built-in sample.
// The test that made it owns it; both are stopped when the test ends.

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

const (
	channel      = "demo"
	startWithin  = 20 * time.Second
	stopWithin   = 15 * time.Second
	pollEvery    = 50 * time.Millisecond
	outDir       = "out" // what is kept for people to look at
	packagesHint = "run `npm ci` in bench/e2e"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type world struct {
	*service.Service
	device *device.Device
}

// newService starts a service that keeps nothing.
func newService(t *testing.T) *service.Service {
	t.Helper()
	return newServiceWith(t, service.Config{})
}

// newServiceWith starts a service on free ports; cfg says the rest.
func newServiceWith(t *testing.T, cfg service.Config) *service.Service {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	cfg.Public, cfg.Local, cfg.RelayUDP, cfg.RelayTCP = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Log = logger(t, "service")
	s, err := service.Start(ctx, cfg)
	if err != nil {
		t.Fatalf("start service: %v", err)
	}
	stopAtEnd(t, "service", s.Stop)
	return s
}

// newWorld starts a service and a device, and returns when viewers may come.
func newWorld(t *testing.T) *world {
	t.Helper()
	s := newService(t)
	return &world{Service: s, device: newDevice(t, s)}
}

// newDevice starts a device on a service, and returns when its channel is open.
func newDevice(t *testing.T, s *service.Service) *device.Device {
	t.Helper()
	source, err := media.NewSample()
	if err != nil {
		t.Fatalf("open sample: %v", err)
	}
	return newDeviceWith(t, s, source)
}

func newDeviceWith(t *testing.T, s *service.Service, source media.Source) *device.Device {
	t.Helper()
	return newDeviceFor(t, s, source, 0)
}

// newDeviceFor bounds the viewers too; 0: as many as AWS has.
func newDeviceFor(t *testing.T, s *service.Service, source media.Source, viewersMax int) *device.Device {
	t.Helper()
	d, err := device.Start(device.Config{
		ViewersMax: viewersMax, Channel: channel, Region: s.Region, ControlPlane: s.PublicURL, RootCAs: s.CA,
		Credentials: aws.Static(s.Credentials.AccessKeyID, s.Credentials.SecretAccessKey, s.Credentials.SessionToken),
		Source:      source, IncludeLoopback: true, AdminListen: "127.0.0.1:0", Log: logger(t, "device"),
	})
	if err != nil {
		t.Fatalf("start device: %v", err)
	}
	stopAtEnd(t, "device", d.Stop)
	eventually(t, startWithin, "the device's signaling session is open", func() error { return d.Ready(t.Context()) })
	return d
}

// kvs is our own client of the service's REST calls.
func kvs(t *testing.T, s *service.Service) *aws.Client {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CA}}}
	t.Cleanup(client.CloseIdleConnections)
	return aws.NewClient(aws.ClientConfig{Region: s.Region, ControlPlane: s.PublicURL, HTTP: client})
}

func createChannel(t *testing.T, s *service.Service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	if _, err := kvs(t, s).CreateChannel(ctx, s.Credentials, channel); err != nil {
		t.Fatalf("create channel: %v", err)
	}
}

// metric is what one of the device's counters says.
func (w *world) metric(t *testing.T, name string) (value float64) {
	t.Helper()
	response, err := http.Get("http://" + w.device.AdminAddr() + "/metrics")
	if err != nil {
		t.Fatalf("read the device's metrics: %v", err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), name+" %g", &value); err == nil {
			return value
		}
	}
	t.Fatalf("the device has no metric %s", name)
	return 0
}

// viewer is the one viewer that the device has.
func (w *world) viewer(t *testing.T) messages.ViewerStatus {
	t.Helper()
	census, err := w.device.Census(t.Context())
	if err != nil {
		t.Fatalf("ask the device who watches: %v", err)
	}
	if len(census.Viewers) != 1 {
		t.Fatalf("the device has %d viewers, want 1", len(census.Viewers))
	}
	return census.Viewers[0]
}

// stopAtEnd stops what a test leaves running.
func stopAtEnd(t *testing.T, what string, stop func(context.Context) error) {
	t.Cleanup(func() { stopNow(t, what, stop) })
}

func stopNow(t *testing.T, what string, stop func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	if err := stop(ctx); err != nil {
		t.Errorf("stop %s: %v", what, err)
	}
}

// logger writes warnings to the test's log.
func logger(t *testing.T, name string) *zap.Logger {
	return zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)).Named(name)
}

// eventually asks until there is no objection left.
func eventually(t *testing.T, within time.Duration, what string, objection func() error) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := objection()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s: %v", within, what, err)
		}
	}
}

// program finds a program that the tests need.
func program(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	lacks(t, "none of the programs "+names[0]+" … is installed")
	return ""
}

// packageFile finds a file of an npm package.
func packageFile(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("node_modules", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		lacks(t, name+" is not installed: "+packagesHint)
	}
	return path
}

func lacks(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI must not skip this: %s", what)
	}
	t.Skipf("NOT TESTED: %s", what)
}

func keep(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(outDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outDir, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}
