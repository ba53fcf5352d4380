// Package subject runs what a benchmark measures in a process of its own, so that memory and CPU time
// are the subject's and the load's are not among them.
//
// The flow: Start runs this same program again with Argument as its first argument -> its main calls
// Serve, which opens the server and writes its Address as a line of JSON -> for each line that the
// parent writes, a question, the child answers with a line of JSON -> the end of the child's input, also
// when the parent was killed, ends the child.
//
// The servers: serve.go has the service and both baselines to choose from, echo.go the baselines. The
// senders, masters of a channel that play a Script to its viewers: sender.go has the device, pion.go the
// baseline, bare_linux.go the floor, script.go the source of all. Their first line of input is an Order.
package subject

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/profiles"
	"github.com/heliograph-rtc/heliograph/messages"
)

// Argument as the first argument makes the main of a benchmark call Serve with those that follow.
const Argument = "subject"

// The servers.
const (
	Heliograph = "heliograph" // the service, its limits lifted
	Recording  = "recording"  // the same, with a data directory
	Recorder   = "recorder"   // records streams that come as plain RTP
	Goroutine  = "gobwas"     // a goroutine per connection that echoes, on gobwas/ws over crypto/tls
	NetHTTP    = "coder"      // net/http and coder/websocket, whose handler echoes
)

// The senders.
const (
	Device   = "device"    // our device
	Pion     = "pion"      // a master on pion's defaults
	PionSHA1 = "pion-sha1" // the same, held to the SRTP profile that browsers choose there
	Bare     = "bare"      // sends as many bytes to Order.Sinks, and does nothing besides; Linux alone
)

const stopWait = 20 * time.Second

// Address is where a subject serves.
type Address struct {
	URL         string // wss://host:port; of the service also its control plane, with https
	CA          []byte // PEM
	Region      string
	Credentials messages.Credentials // of the service
	Ports       []int                // of a Recorder: UDP ports on loopback, of each stream's video and its sound
}

// StartRecording returns once a Recording or a Recorder answers, which keep what they record in a
// directory. A Recorder takes so many streams, at Address.Ports.
func StartRecording(ctx context.Context, kind, dir string, streams int, target profiles.Target) (*Subject, error) {
	return start(ctx, kind, target, &Order{Dir: dir, Streams: streams})
}

// Cost is what a subject has used so far (CPU) and uses now (the rest).
type Cost struct {
	CPU        time.Duration // user and system time
	RSS        uint64        // bytes
	Heap       uint64        // bytes of live and not yet swept objects
	Stack      uint64        // bytes of goroutines' stacks
	Goroutines int
	Peak       uint64 // bytes of RSS at its highest
	Private    uint64 // bytes of RSS without the pages of the program's file
	Mallocs    uint64 // objects allocated so far
	Viewers    int    // of a sender: those that it streams to
}

// Memory is what a process has of the machine's, in bytes.
type Memory struct {
	RSS     uint64
	Peak    uint64 // RSS at its highest
	Private uint64 // RSS without the pages of files, the program's own above all
}

// Subject is a running server or sender.
type Subject struct {
	Address Address
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// Start returns once the server answers. When ctx ends, the process is killed.
func Start(ctx context.Context, kind string, target profiles.Target) (*Subject, error) {
	return start(ctx, kind, target, nil)
}

// StartSender returns once the sender waits for viewers. When ctx ends, the process is killed.
func StartSender(ctx context.Context, kind string, order Order, target profiles.Target) (*Subject, error) {
	return start(ctx, kind, target, &order)
}

func start(ctx context.Context, kind string, target profiles.Target, order *Order) (*Subject, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", kind, err)
	}
	if order != nil && order.Program != "" {
		program = order.Program
	}
	s := &Subject{cmd: exec.CommandContext(ctx, program, Argument, kind, target.Dir, target.Name)}
	s.cmd.Stderr, s.cmd.WaitDelay = os.Stderr, stopWait
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", kind, err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", kind, err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", kind, err)
	}
	if order != nil {
		_ = json.NewEncoder(s.in).Encode(order) // a child that is gone does not answer either
	}
	if err := s.answer(&s.Address); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", kind, err), s.Stop())
	}
	return s, nil
}

// Pid is the subject's process id.
func (s *Subject) Pid() int { return s.cmd.Process.Pid }

func (s *Subject) answer(into any) error {
	line, err := s.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, into)
	}
	return err
}

// Cost asks for the costs as they are.
func (s *Subject) Cost() (Cost, error) { return s.ask(cost) }

// Settle makes the subject collect its garbage and give free memory back first.
func (s *Subject) Settle() (Cost, error) { return s.ask(settle) }

// Play makes a sender play its script for so long, and returns when its source has emitted everything;
// some of that may still be under way.
func (s *Subject) Play(d time.Duration) error {
	_, err := s.ask(play + " " + d.String())
	return err
}

// Census asks the device who is connected.
func (s *Subject) Census() (c messages.Census, err error) {
	if _, err = fmt.Fprintln(s.in, census); err == nil {
		err = s.answer(&c)
	}
	if err != nil {
		err = fmt.Errorf("ask subject for its census: %w", err)
	}
	return c, err
}

func (s *Subject) ask(question string) (c Cost, err error) {
	if _, err = fmt.Fprintln(s.in, question); err == nil {
		err = s.answer(&c)
	}
	if err != nil {
		err = fmt.Errorf("ask subject: %s: %w", question, err)
	}
	return c, err
}

// Stop ends the subject and waits for its process.
func (s *Subject) Stop() error {
	_ = s.in.Close()
	limit := time.AfterFunc(stopWait, func() { _ = s.cmd.Process.Kill() })
	defer limit.Stop()
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("stop subject: %w", err)
	}
	return nil
}
