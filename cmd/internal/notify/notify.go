// Package notify tells a service manager such as systemd how the program is (sd_notify(3)). Without one
// every call does nothing.
package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// idleEvery is how often the program is asked how it is where nobody watches.
	idleEvery = 30 * time.Second

	// answerWithin is how long it has to answer.
	answerWithin = 2 * time.Second
)

// Supervisor is the way to the service manager that runs the program. It has one user.
type Supervisor struct {
	socket   *net.UnixConn // nil: there is none
	watchdog time.Duration // 0: nobody watches
}

// FromEnvironment finds the manager that the environment names: NOTIFY_SOCKET, WATCHDOG_USEC and
// WATCHDOG_PID, which must be this process's when it is set.
func FromEnvironment(environ []string, pid int) (*Supervisor, error) {
	env := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	s := &Supervisor{}
	path := env["NOTIFY_SOCKET"]
	if path == "" {
		return s, nil
	}
	socket, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		return nil, fmt.Errorf("reach the service manager at NOTIFY_SOCKET: %w", err)
	}
	s.socket = socket
	if watched := env["WATCHDOG_PID"]; watched != "" && watched != strconv.Itoa(pid) {
		return s, nil
	}
	if text := env["WATCHDOG_USEC"]; text != "" {
		usec, err := strconv.ParseUint(text, 10, 62)
		if err != nil || usec == 0 {
			return nil, errors.Join(fmt.Errorf("WATCHDOG_USEC=%q is no number of microseconds", text), socket.Close())
		}
		s.watchdog = time.Duration(usec) * time.Microsecond
	}
	return s, nil
}

// Program is what a supervisor attends to.
type Program struct {
	Failed <-chan error                              // when it cannot go on
	Check  func(ctx context.Context) (string, error) // tells how things are, in one line for people

	Changed <-chan os.Signal      // when it shall read its settings again; nil: never
	Reload  func(context.Context) // does so
}

// Attend says that the program is up, and goes on saying so for as long as its check answers: a program
// whose parts no longer answer is one that the watchdog shall end. It returns when ctx ends, nil then, or
// with the error of a program that has failed.
func (s *Supervisor) Attend(ctx context.Context, p Program) error {
	s.say("READY=1")
	defer s.say("STOPPING=1")
	ticker := time.NewTicker(s.every())
	defer ticker.Stop()
	for ctx.Err() == nil { // a tick may be due as well when the context has ended
		s.attest(ctx, p.Check)
		select {
		case <-ticker.C:
		case <-p.Changed:
			s.say("RELOADING=1")
			p.Reload(ctx)
			s.say("READY=1")
		case err := <-p.Failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// every is a third of the watchdog's time: one answer may be lost.
func (s *Supervisor) every() time.Duration {
	if s.watchdog > 0 {
		return s.watchdog / 3
	}
	return idleEvery
}

func (s *Supervisor) attest(ctx context.Context, check func(context.Context) (string, error)) {
	if s.socket == nil {
		return
	}
	asking, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	status, err := check(asking)
	if err != nil {
		s.say("STATUS=" + oneLine(err.Error()))
		return
	}
	s.say("WATCHDOG=1", "STATUS="+oneLine(status))
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }

// Close lets go of the manager.
func (s *Supervisor) Close() error {
	if s.socket == nil {
		return nil
	}
	return s.socket.Close()
}

// say is for a manager that may be gone: then there is nobody to tell.
func (s *Supervisor) say(lines ...string) {
	if s.socket != nil {
		_, _ = s.socket.Write([]byte(strings.Join(lines, "\n")))
	}
}
