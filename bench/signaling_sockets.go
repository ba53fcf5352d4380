package bench

// The sockets of scenario signaling: a hall is one server with all the clients that came to it.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/bench/profiles"
	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/subject"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

const (
	dialers   = 8 // sockets that are opened at the same time
	dialWait  = 20 * time.Second
	calmWait  = 30 * time.Second
	calmEvery = 100 * time.Millisecond
)

type hall struct {
	*subject.Subject
	kind     string
	tls      *tls.Config
	channels []string // ARNs; the baselines have none

	readers actors.Group
	wires   []*wire // those that keep has taken
	ended   atomic.Int64
	closing atomic.Bool

	// delivery
	pairs  []pair
	round  atomic.Pointer[round]
	rounds int
}

func openHall(ctx context.Context, kind string, channels int, profile profiles.Target) (*hall, error) {
	s, err := subject.Start(ctx, kind, profile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.Address.CA)
	h := &hall{Subject: s, kind: kind, tls: &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}}}
	if kind == subject.Heliograph {
		if err := h.createChannels(ctx, channels); err != nil {
			return nil, errors.Join(err, h.close())
		}
	}
	return h, nil
}

func (h *hall) createChannels(ctx context.Context, n int) error {
	transport := &http.Transport{TLSClientConfig: h.tls, MaxIdleConnsPerHost: dialers}
	defer transport.CloseIdleConnections()
	calls := aws.NewClient(aws.ClientConfig{
		Region: h.Address.Region, ControlPlane: strings.Replace(h.Address.URL, "wss:", "https:", 1), HTTP: &http.Client{Transport: transport},
	})
	h.channels = make([]string, n)
	return sideBySide(n, func(i int) (err error) {
		h.channels[i], err = calls.CreateChannel(ctx, h.Address.Credentials, fmt.Sprintf("bench-%d", i))
		return err
	})
}

// sideBySide calls fn for 0 to n-1, dialers calls at a time, and returns the first error.
func sideBySide(n int, fn func(i int) error) error {
	var group actors.Group
	var next atomic.Int64
	for range dialers {
		group.Go("client", func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := fn(i); err != nil {
					next.Store(int64(n))
					return err
				}
			}
		})
	}
	return group.Wait()
}

// dial opens a socket: at the service as master (no client id) or viewer of a channel.
func (h *hall) dial(ctx context.Context, channel int, client string) (*wire, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWait)
	defer cancel()
	url := h.Address.URL
	if h.kind == subject.Heliograph {
		var err error
		url, err = aws.PresignWebSocket(ctx, url, h.channels[channel], client, h.Address.Credentials, h.Address.Region, time.Now())
		if err != nil {
			return nil, err
		}
	}
	return dialWire(ctx, url, h.tls)
}

// keep reads from a socket until it ends, and answers its pings; close closes it.
func (h *hall) keep(w *wire, onText func(text []byte, at time.Time)) {
	h.wires = append(h.wires, w)
	h.listen(w, onText)
}

func (h *hall) listen(w *wire, onText func(text []byte, at time.Time)) {
	h.readers.Go("read socket", func() error {
		for {
			text, err := w.read()
			if err != nil {
				if !h.closing.Load() {
					h.ended.Add(1)
				}
				return nil
			}
			onText(text, time.Now())
		}
	})
}

func (h *hall) close() error {
	h.closing.Store(true)
	for _, w := range h.wires {
		w.close()
	}
	return errors.Join(h.readers.Wait(), h.Stop())
}

// openMany opens n sockets, on channels from first on, perChannel on each: one master, then viewers.
// opened is called with each as soon as it is there, from several goroutines.
func (h *hall) openMany(ctx context.Context, p signalingPlan, first, n int, name string, opened func(*wire)) ([]*wire, error) {
	wires := make([]*wire, n)
	err := sideBySide(n, func(i int) (err error) {
		client := ""
		if i%p.perChannel > 0 {
			client = fmt.Sprintf("%s-%d", name, i)
		}
		if wires[i], err = h.dial(ctx, first+i/p.perChannel, client); err == nil {
			opened(wires[i])
		}
		return err
	})
	return wires, err
}

// calm waits until the server has done away with sockets that were closed.
func (h *hall) calm(ctx context.Context, goroutines int) (subject.Cost, error) {
	limit := time.Now().Add(calmWait)
	again := time.NewTicker(calmEvery)
	defer again.Stop()
	for {
		c, err := h.Cost()
		if err != nil || c.Goroutines <= goroutines {
			return c, err
		}
		if time.Now().After(limit) {
			return c, fmt.Errorf("%d goroutines are left of closed sockets after %v", c.Goroutines-goroutines, calmWait)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return c, ctx.Err()
		}
	}
}

// connected is what the connects of one subject cost.
type connected struct {
	connects int
	cpu      time.Duration // of the server
}

func (c *connected) perCoreSecond() float64 { return float64(c.connects) / c.cpu.Seconds() }

func connectRow(f *signalingFound) (report.Row, float64) {
	perConnect := float64(f.connect.cpu.Microseconds()) / float64(f.connect.connects)
	return report.Row{
		{Name: "phase", Value: "connect"},
		{Name: "connects", Value: f.connect.connects}, {Name: "connects_per_s_per_core", Value: f.connect.perCoreSecond()},
		{Name: "cpu_us_per_connect", Value: perConnect},
	}, perConnect
}

func (h *hall) connectMany(ctx context.Context, p signalingPlan, round int, into *connected) error {
	before, err := h.Cost()
	if err != nil {
		return err
	}
	wires, err := h.openMany(ctx, p, p.pairs, p.connects, fmt.Sprintf("c%d", round), func(*wire) {})
	if err == nil {
		var after subject.Cost
		after, err = h.Cost()
		into.connects += p.connects
		into.cpu += after.CPU - before.CPU
	}
	for _, w := range wires {
		if w != nil {
			w.close()
		}
	}
	if err != nil {
		return err
	}
	_, err = h.calm(ctx, before.Goroutines+dialers)
	return err
}

// idled is what idle connections hold.
type idled struct {
	connections          int
	ended                int64
	rss                  float64 // growth in bytes after the hold, garbage and all
	settled, heap, stack float64 // growth after a collection of garbage
	goroutines           float64
	cpu                  time.Duration // while they were held
	held                 time.Duration
}

func (i *idled) per(bytes float64) float64 { return bytes / float64(i.connections) }

func idleRow(f *signalingFound) (report.Row, float64) {
	i := &f.idle
	return report.Row{
		{Name: "phase", Value: "idle"},
		{Name: "connections", Value: i.connections},
		{Name: "bytes_per_connection", Value: i.per(i.rss)}, {Name: "settled_bytes_per_connection", Value: i.per(i.settled)},
		{Name: "heap_bytes_per_connection", Value: i.per(i.heap)}, {Name: "stack_bytes_per_connection", Value: i.per(i.stack)},
		{Name: "goroutines_per_connection", Value: i.per(i.goroutines)},
		{Name: "cpu_us_per_connection_s", Value: float64(i.cpu.Microseconds()) / float64(i.connections) / i.held.Seconds()},
	}, i.per(i.rss)
}

// hold opens the idle connections of a fresh server, after a few whose traces are not counted, and
// keeps them for a while.
func (p signalingPlan) hold(ctx context.Context, kind string, profile profiles.Target) (found idled, err error) {
	h, err := openHall(ctx, kind, p.idle/p.perChannel+1, profile)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	empty, err := h.Cost()
	if err != nil {
		return found, err
	}
	first, err := h.openMany(ctx, p, p.idle/p.perChannel, p.perChannel, "first", func(*wire) {})
	if err != nil {
		return found, err
	}
	for _, w := range first {
		w.close()
	}
	if _, err = h.calm(ctx, empty.Goroutines+dialers); err != nil {
		return found, err
	}
	before, err := h.Settle()
	if err != nil {
		return found, err
	}
	// Each is read from at once: opening thousands takes longer than a server waits for a pong.
	wires, err := h.openMany(ctx, p, 0, p.idle, "idle", func(w *wire) { h.listen(w, func([]byte, time.Time) {}) })
	for _, w := range wires {
		if w != nil {
			h.wires = append(h.wires, w)
		}
	}
	if err != nil {
		return found, err
	}
	return h.measureIdle(ctx, p, before)
}

func (h *hall) measureIdle(ctx context.Context, p signalingPlan, before subject.Cost) (found idled, err error) {
	open, err := h.Cost()
	if err != nil {
		return found, err
	}
	if !pause(ctx, p.idleHold) {
		return found, ctx.Err()
	}
	held, err := h.Cost()
	if err != nil {
		return found, err
	}
	settled, err := h.Settle()
	if err != nil {
		return found, err
	}
	return idled{
		connections: p.idle, ended: h.ended.Load(), rss: grown(held.RSS, before.RSS),
		settled: grown(settled.RSS, before.RSS), heap: grown(settled.Heap, before.Heap), stack: grown(settled.Stack, before.Stack),
		goroutines: float64(settled.Goroutines - before.Goroutines), cpu: held.CPU - open.CPU, held: p.idleHold,
	}, nil
}

func grown(after, before uint64) float64 { return float64(after) - float64(before) }
