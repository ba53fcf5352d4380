package bench

// Scenario signaling. In order of execution:
//
//	subjects    the service and two baselines, each in a process of its own (package subject)
//	deliver     rounds, one subject after the other: messages at a fixed rate (signaling_deliver.go)
//	connect     rounds likewise: sockets opened, and what that costs the server (signaling_sockets.go)
//	idle        fresh processes, many sockets that do nothing, and the memory they take
//	judge       rows, summary and goals
//
// This process is the load. CPU time and memory are the servers' alone.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/profiles"
	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/subject"
)

// The goals of the service.
const (
	deliverP99Max             = 5 * time.Millisecond
	bytesPerIdleConnectionMax = 40_000
)

// signalingPlan says how much is measured.
type signalingPlan struct {
	rounds      int
	pairs       int // sender and recipient, each on a channel of their own
	rate        int // messages per second, over all pairs
	deliverWarm time.Duration
	deliver     time.Duration // of one round
	connects    int           // of one round
	idle        int           // connections
	idleHold    time.Duration
	perChannel  int // connections: one master, the rest viewers
}

func planSignaling(quick bool) signalingPlan {
	p := signalingPlan{
		rounds: 3, pairs: 100, rate: 1000, deliverWarm: time.Second, deliver: 8 * time.Second,
		connects: 1000, idle: 10_000, idleHold: 35 * time.Second, perChannel: 10,
	}
	if quick {
		p.rounds, p.deliverWarm, p.deliver = 2, 500*time.Millisecond, 1500*time.Millisecond
		p.connects, p.idle, p.idleHold = 200, 1000, time.Second
	}
	return p
}

func (p signalingPlan) fields(quick bool) report.Row {
	return report.Row{
		{Name: "quick", Value: quick}, {Name: "rounds", Value: p.rounds}, {Name: "pairs", Value: p.pairs},
		{Name: "rate_per_s", Value: p.rate}, {Name: "deliver_round_s", Value: p.deliver}, {Name: "message_bytes", Value: messageBytes},
		{Name: "connects_per_round", Value: p.connects}, {Name: "idle_connections", Value: p.idle},
		{Name: "idle_channels", Value: p.idle / p.perChannel}, {Name: "idle_hold_s", Value: p.idleHold},
		{Name: "load_average_before", Value: loadAverage()},
	}
}

// kinds are the subjects in the order they take turns; the first is ours.
var kinds = []string{subject.Heliograph, subject.Goroutine, subject.NetHTTP}

// signalingFound is what was measured of one subject.
type signalingFound struct {
	kind    string
	deliver delivered
	connect connected
	idle    idled
}

func signalingScenario(ctx context.Context, cfg BenchConfig, progress io.Writer) (*report.Report, error) {
	if err := subject.RaiseFiles(); err != nil {
		return nil, err
	}
	plan := planSignaling(cfg.Quick)
	r := report.New("signaling", plan.fields(cfg.Quick))
	found := make([]*signalingFound, len(kinds))
	for i, kind := range kinds {
		found[i] = &signalingFound{kind: kind}
	}
	if err := plan.busy(ctx, cfg, found, progress); err != nil {
		return nil, err
	}
	for _, f := range found {
		fmt.Fprintf(progress, "idle: %d sockets to %s\n", plan.idle, f.kind)
		var err error
		if f.idle, err = plan.hold(ctx, f.kind, profilesOf(f.kind, cfg, "idle")); err != nil {
			return nil, fmt.Errorf("idle, %s: %w", f.kind, err)
		}
	}
	r.Config = append(r.Config, report.Field{Name: "load_average_after", Value: loadAverage()})
	judgeSignaling(r, found, cfg.Quick)
	return r, nil
}

// profilesOf asks only our own server for profiles.
func profilesOf(kind string, cfg BenchConfig, name string) profiles.Target {
	if kind != subject.Heliograph {
		return profiles.Target{}
	}
	return profiles.Target{Dir: cfg.Profile, Name: name}
}

// busy measures what costs CPU. All servers run at the same time, and take turns.
func (p signalingPlan) busy(ctx context.Context, cfg BenchConfig, found []*signalingFound, progress io.Writer) (err error) {
	halls := make([]*hall, 0, len(found))
	defer func() {
		for _, h := range halls {
			err = errors.Join(err, h.close())
		}
	}()
	for _, f := range found {
		h, err := openHall(ctx, f.kind, p.channels(), profilesOf(f.kind, cfg, "busy"))
		if err != nil {
			return err
		}
		halls = append(halls, h)
		if err := h.pairUp(ctx, p.pairs); err != nil {
			return err
		}
	}
	for round := range p.rounds {
		for i, f := range found {
			fmt.Fprintf(progress, "deliver: round %d of %d, %s\n", round+1, p.rounds, f.kind)
			if err := halls[i].exchange(ctx, p, &f.deliver); err != nil {
				return fmt.Errorf("deliver, %s: %w", f.kind, err)
			}
		}
	}
	for round := range p.rounds {
		for i, f := range found {
			fmt.Fprintf(progress, "connect: round %d of %d, %s\n", round+1, p.rounds, f.kind)
			if err := halls[i].connectMany(ctx, p, round, &f.connect); err != nil {
				return fmt.Errorf("connect, %s: %w", f.kind, err)
			}
		}
	}
	return nil
}

// channels are enough for the pairs and for the sockets of a round.
func (p signalingPlan) channels() int { return p.pairs + (p.connects+p.perChannel-1)/p.perChannel }

// judgeSignaling draws up the rows. A quick run tells of a time that it missed, but does not fail for it.
func judgeSignaling(r *report.Report, found []*signalingFound, quick bool) {
	ours := found[0]
	for _, rowOf := range []func(f *signalingFound) (report.Row, float64){deliverRow, connectRow, idleRow} {
		_, cost := rowOf(ours)
		for _, f := range found {
			row, theirs := rowOf(f)
			row = append(report.Row{{Name: "phase", Value: row[0].Value}, {Name: "variant", Value: f.kind}}, row[1:]...)
			if f != ours && cost > 0 {
				row = append(row, report.Field{Name: "ratio", Value: theirs / cost}) // baseline's cost divided by ours
			}
			r.Rows = append(r.Rows, row)
		}
	}
	p99 := ours.deliver.latency.Quantile(0.99)
	r.Summary = report.Row{
		{Name: "messages_per_s", Value: ours.deliver.perSecond()},
		{Name: "deliver_p50_s", Value: ours.deliver.latency.Quantile(0.5)},
		{Name: "deliver_p99_s", Value: p99},
		{Name: "idle_connections", Value: ours.idle.connections},
		{Name: "bytes_per_idle_connection", Value: ours.idle.per(ours.idle.rss)},
		{Name: "connects_per_s_per_core", Value: ours.connect.perCoreSecond()},
	}
	for _, f := range found {
		if f.deliver.lost > 0 {
			r.Fail("%s: %d of %d messages did not arrive", f.kind, f.deliver.lost, f.deliver.sent)
		}
		if f.idle.ended > 0 {
			r.Fail("%s: %d of %d idle connections ended by themselves", f.kind, f.idle.ended, f.idle.connections)
		}
	}
	goals := missed{}
	if d, ok := p99.(time.Duration); !ok || d >= deliverP99Max {
		goals.note("delivery p99 %v, the goal is below %v", p99, deliverP99Max)
	}
	goals.judge(r, quick)
	if b := ours.idle.per(ours.idle.rss); b > bytesPerIdleConnectionMax {
		r.Fail("%.0f bytes per idle connection, the goal is %d at most", b, bytesPerIdleConnectionMax)
	}
}

func showSignaling(w io.Writer, r *report.Report) error {
	for _, table := range []struct {
		phase   string
		columns []string
	}{
		{"deliver", []string{"messages", "lost", "messages_per_s", "p50_s", "p99_s", "max_s", "cpu_us_per_message"}},
		{"connect", []string{"connects", "connects_per_s_per_core", "cpu_us_per_connect"}},
		{"idle", []string{"connections", "bytes_per_connection", "settled_bytes_per_connection", "heap_bytes_per_connection",
			"stack_bytes_per_connection", "goroutines_per_connection", "cpu_us_per_connection_s"}},
	} {
		var rows []report.Row
		for _, row := range r.Rows {
			if row.Get("phase") == table.phase {
				rows = append(rows, row)
			}
		}
		fmt.Fprintf(w, "\n%s\n", table.phase)
		columns := append(append([]string{"variant"}, table.columns...), "ratio")
		if err := report.Table(w, rows, columns...); err != nil {
			return err
		}
	}
	return showMissed(w, r)
}

// loadAverage tells how busy the machine was with other things; nil where it does not say.
func loadAverage() any {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return nil
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
