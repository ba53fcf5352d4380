package subject

// The child. In order of execution: open the server named by the first argument, say where it is,
// answer questions until the input ends, stop.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/service"
)

// The questions.
const (
	cost   = "cost"
	settle = "settle"
)

const startWait = 15 * time.Second

// server is a subject in its own process.
type server interface {
	address() Address
	stop() error
}

func open(kind string) (server, error) {
	switch kind {
	case Heliograph:
		return openService()
	case Goroutine:
		return openEcho(serveGoroutines)
	case NetHTTP:
		return openEcho(serveNetHTTP)
	}
	return nil, fmt.Errorf("open subject: there is no %q", kind)
}

// Serve is the child's main: args are kind and profiles.
func Serve(args []string, in io.Reader, out io.Writer) (err error) {
	if len(args) != 3 {
		return errors.New("serve subject: this is how the benchmark calls itself, not for the command line")
	}
	profiles := Profiles{CPU: args[1], Heap: args[2]}
	if err := RaiseFiles(); err != nil {
		return err
	}
	endProfile, err := profileCPU(profiles.CPU)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, endProfile()) }()
	s, err := open(args[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	answers := json.NewEncoder(out)
	if err := answers.Encode(s.address()); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if lines.Text() == settle {
			debug.FreeOSMemory()
			if err := writeHeap(profiles.Heap); err != nil {
				return err
			}
		}
		c, err := costs()
		if err != nil {
			return err
		}
		if err := answers.Encode(c); err != nil {
			return err
		}
	}
	return nil
}

func costs() (Cost, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c := Cost{Heap: m.HeapAlloc, Stack: m.StackInuse, Goroutines: runtime.NumGoroutine()}
	var err error
	c.CPU, c.RSS, err = processCosts()
	return c, err
}

func profileCPU(name string) (end func() error, err error) {
	if name == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("write CPU profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("write CPU profile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

func writeHeap(name string) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write heap profile: %w", err)
	}
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}

// kvs is the service.
type kvs struct{ *service.Service }

func openService() (server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	s, err := service.Start(ctx, service.Config{
		Public: freeLoopback, Local: freeLoopback, RelayUDP: service.Off, RelayTCP: service.Off,
		Limits: service.Limits{Unlimited: true},
	})
	if err != nil {
		return nil, err
	}
	return kvs{s}, nil
}

func (k kvs) address() Address {
	return Address{
		URL: strings.Replace(k.PublicURL, "https:", "wss:", 1), CA: k.CAPEM, Region: k.Region, Credentials: k.Credentials,
	}
}

func (k kvs) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	return k.Stop(ctx)
}
