package subject

// The child. In order of execution: open the server or sender named by the first argument, say where
// it is, answer questions until the input ends, stop.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/bench/profiles"
)

// The questions.
const (
	cost   = "cost"
	settle = "settle"
	play   = "play"   // and for how long; of a sender
	census = "census" // of the device
)

const startWait = 15 * time.Second

// server is a subject in its own process.
type server interface {
	address() Address
	stop() error
}

func open(kind string, lines *bufio.Scanner) (server, error) {
	switch kind {
	case Device, Pion, PionSHA1, Bare:
		return openSender(kind, lines)
	case Heliograph:
		return openService("")
	case Recording, Recorder:
		return openRecording(kind, lines)
	case Goroutine:
		return openEcho(serveGoroutines)
	case NetHTTP:
		return openEcho(serveNetHTTP)
	}
	return nil, fmt.Errorf("open subject: there is no %q", kind)
}

// Serve is the child's main: args are kind, and directory and name of its profiles.
func Serve(args []string, in io.Reader, out io.Writer) (err error) {
	if len(args) != 3 {
		return errors.New("serve subject: this is how the benchmark calls itself, not for the command line")
	}
	if err := RaiseFiles(); err != nil {
		return err
	}
	record, err := profiles.Start(profiles.Target{Dir: args[1], Name: args[2]})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, record.Stop()) }()
	lines := bufio.NewScanner(in)
	s, err := open(args[0], lines)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	answers := json.NewEncoder(out)
	if err := answers.Encode(s.address()); err != nil {
		return err
	}
	for lines.Scan() {
		c, err := answer(s, lines.Text(), record)
		if err != nil {
			return err
		}
		if err := answers.Encode(c); err != nil {
			return err
		}
	}
	return nil
}

// answer does what a question asks for and returns the costs as they are then, or the census.
func answer(s server, question string, record *profiles.Recorder) (any, error) {
	var c Cost
	var err error
	sender, sends := s.(*sender)
	if question == census && sends {
		return sender.census()
	}
	if sends {
		if answer, ok, err := sender.spans(question); ok {
			return answer, err
		}
	}
	if span, asked := strings.CutPrefix(question, play+" "); asked && sends {
		err = sender.play(span)
	} else if question == settle {
		debug.FreeOSMemory()
		err = record.Fullest()
	}
	if err == nil && sends {
		c.Viewers, err = sender.streaming()
	}
	if err != nil {
		return c, err
	}
	return c, costs(&c)
}

func costs(c *Cost) error {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	c.Heap, c.Stack, c.Mallocs, c.Goroutines = m.HeapAlloc, m.StackInuse, m.Mallocs, runtime.NumGoroutine()
	return processCosts(c)
}

// kvs is the service.
type kvs struct{ *service.Service }

// openService keeps its data in dir; empty: nowhere.
func openService(dir string) (server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	s, err := service.Start(ctx, service.Config{
		Dir: dir, Public: freeLoopback, Local: freeLoopback, RelayUDP: service.Off, RelayTCP: service.Off,
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
