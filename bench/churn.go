package bench

// Scenario churn: viewers join and leave, half of them without a word, and afterwards everything is as
// it was before: goroutines, open files, peer connections, actors and the heap. Service, device and
// viewers are this one process, so that nothing can hide in another.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/bench/report"
)

const (
	churnConsent   = time.Second // a viewer that is gone without a word is given up after it
	churnViewers   = 100         // that the device admits at once
	churnHeapMax   = 2_000_000   // growth, in bytes
	churnSettle    = 30 * time.Second
	churnSettleFor = 2 * time.Second // so long nothing changes: it has settled
)

type churnPlan struct{ warm, joins, atOnce, steps int }

func planChurn(quick bool) churnPlan {
	if quick {
		return churnPlan{warm: 100, joins: 200, atOnce: 10, steps: 4}
	}
	return churnPlan{warm: 300, joins: 1000, atOnce: 10, steps: 10}
}

// consenting makes a device that admits many, and soon gives up those that are gone without a word.
func consenting() WorldConfig {
	return WorldConfig{Viewers: churnViewers, Device: func(_ *World, c *device.Config) { c.ConsentTimeout = churnConsent }}
}

// standing is what there is of everything that a viewer takes.
type standing struct {
	goroutines, files, peers, actors int // files: -1 where the system does not tell
	heap                             uint64
}

func churnScenario(ctx context.Context, cfg BenchConfig, progress io.Writer) (*report.Report, error) {
	plan := planChurn(cfg.Quick)
	r := report.New("churn", report.Row{
		{Name: "quick", Value: cfg.Quick}, {Name: "joins", Value: plan.joins}, {Name: "at_once", Value: plan.atOnce},
		{Name: "consent_timeout_s", Value: churnConsent}, {Name: "viewers_max", Value: churnViewers},
	})
	return r, plan.run(ctx, r, progress)
}

func (p churnPlan) run(ctx context.Context, r *report.Report, progress io.Writer) (err error) {
	w, err := StartWorld(ctx, consenting())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Stop()) }()
	if err := w.churn(ctx, 0, p.warm, p.atOnce); err != nil { // pools, caches and connections that are kept
		return err
	}
	before, err := w.settled(ctx, nil)
	if err != nil {
		return err
	}
	r.Rows = append(r.Rows, before.fields("before", 0))
	joined, step := 0, p.joins/p.steps
	for range p.steps {
		if err := w.churn(ctx, p.warm+joined, step, p.atOnce); err != nil {
			return err
		}
		joined += step
		now := w.stand()
		r.Rows = append(r.Rows, now.fields("churning", joined))
		fmt.Fprintf(progress, "churn: %d of %d joins, %d goroutines, %d peer connections\n", joined, p.joins, now.goroutines, now.peers)
	}
	after, err := w.settled(ctx, &before)
	if err != nil {
		return err
	}
	r.Rows = append(r.Rows, after.fields("after", joined))
	judgeChurn(r, before, after)
	return nil
}

// churn lets n viewers join and leave, every second one without a word.
func (w *World) churn(ctx context.Context, first, n, atOnce int) error {
	var next atomic.Int64
	var group actors.Group
	for range atOnce {
		group.Go("join and leave", func() error {
			for {
				number := int(next.Add(1))
				if number > n {
					return nil
				}
				if err := w.joinAndLeave(ctx, first+number, 0); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// joinAndLeave lets a viewer in, who watches so long from its first picture on.
func (w *World) joinAndLeave(ctx context.Context, number int, watch time.Duration) error {
	cfg := w.Viewer(number, fmt.Sprint("churn-", number))
	cfg.Data = true
	cfg.NoServers = true // an allocation without an owner lives on for ten minutes (RFC 8656 3.2)
	v, err := NewViewer(cfg)
	if err != nil {
		return err
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	var group actors.Group
	group.Go(cfg.ClientID, func() error { return v.Run(ctx) })
	select {
	case <-v.Playing():
		pause(ctx, watch)
	case <-v.life.Done(): // the error is Run's
	}
	if number%2 == 0 {
		v.Vanish()
	}
	leave()
	if err := group.Wait(); err != nil {
		return fmt.Errorf("%s: %w", cfg.ClientID, err)
	}
	return nil
}

// settled waits until nobody is left and nothing changes any more, or until all is as it was in goal.
func (w *World) settled(ctx context.Context, goal *standing) (standing, error) {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	deadline := time.Now().Add(churnSettle)
	last, since := w.stand(), time.Now()
	for {
		select {
		case <-again.C:
		case <-ctx.Done():
			return last, ctx.Err()
		}
		now := w.stand()
		if now.same(last) {
			last.heap = min(last.heap, now.heap)
		} else {
			last, since = now, time.Now()
		}
		reached := goal == nil || last.within(*goal)
		if time.Since(since) >= churnSettleFor && (reached && last.peers <= 1 || time.Now().After(deadline)) {
			return last, nil
		}
	}
}

func (s standing) same(other standing) bool { other.heap = s.heap; return s == other }

func (s standing) within(goal standing) bool {
	return s.goroutines <= goal.goroutines && s.files <= goal.files && s.peers <= goal.peers && s.actors <= goal.actors
}

func (w *World) stand() standing {
	runtime.GC()
	runtime.GC() // what has a finalizer goes with the second
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	s := standing{goroutines: runtime.NumGoroutine(), files: openFiles(), peers: w.Device.Peers(), heap: memory.HeapAlloc}
	for _, box := range w.Device.Mailboxes() {
		s.actors += box.Actors
	}
	return s
}

// openFiles is the number of this process's file descriptors.
func openFiles() int {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(files)
}

func (s standing) fields(when string, joins int) report.Row {
	return report.Row{
		{Name: "when", Value: when}, {Name: "joins", Value: joins}, {Name: "goroutines", Value: s.goroutines}, {Name: "open_files", Value: s.files},
		{Name: "peer_connections", Value: s.peers}, {Name: "mailboxes", Value: s.actors}, {Name: "heap_bytes", Value: s.heap},
	}
}

func judgeChurn(r *report.Report, before, after standing) {
	growth := int64(after.heap) - int64(before.heap)
	r.Summary = report.Row{
		{Name: "goroutines_more", Value: after.goroutines - before.goroutines}, {Name: "open_files_more", Value: after.files - before.files},
		{Name: "peer_connections_more", Value: after.peers - before.peers}, {Name: "mailboxes_more", Value: after.actors - before.actors},
		{Name: "heap_growth_bytes", Value: growth},
	}
	for _, what := range []struct {
		name          string
		before, after int
	}{
		{"goroutines", before.goroutines, after.goroutines}, {"open files", before.files, after.files},
		{"peer connections", before.peers, after.peers}, {"mailboxes", before.actors, after.actors},
	} {
		if what.after > what.before {
			r.Fail("%s: %d before, %d after", what.name, what.before, what.after)
		}
	}
	if growth >= churnHeapMax {
		r.Fail("the heap has grown by %.1f MB, the goal is %.1f at most", float64(growth)/1e6, float64(churnHeapMax)/1e6)
	}
}

func showChurn(w io.Writer, r *report.Report) error {
	return report.Table(w, r.Rows, "when", "joins", "goroutines", "open_files", "peer_connections", "mailboxes", "heap_bytes")
}
