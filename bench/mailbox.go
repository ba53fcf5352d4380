package bench

// Scenario mailbox: what becomes of ten viewers' candidates when all come at once. In order of execution:
//
//	rounds      every kind of queue once (package queue), one after the other: first the crowd with a
//	            receiver that is busy for a stated time with each message, then many messages with one
//	            that does nothing, which is the queue's own cost
//	judge       sums, medians, rows; ours must not lose a message

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/profiles"
	"github.com/heliograph-rtc/heliograph/bench/queue"
	"github.com/heliograph-rtc/heliograph/bench/report"
)

// The loads.
const (
	loadCrowd = "crowd" // each viewer's candidates at once
	loadEmpty = "empty" // the queue alone
)

const (
	candidatesEach = 34 // of a viewer: what real ones were seen to send
	candidateTime  = 100 * time.Microsecond
)

type mailboxPlan struct {
	rounds int
	names  []string
	loads  map[string]queue.Load
}

func planMailbox(quick bool) mailboxPlan {
	p := mailboxPlan{rounds: 20, names: []string{loadCrowd, loadEmpty}, loads: map[string]queue.Load{
		loadCrowd: {Senders: viewersDefault, Each: candidatesEach, Service: candidateTime},
		loadEmpty: {Senders: viewersDefault, Each: 10_000},
	}}
	if quick {
		p.rounds = 5
		p.loads[loadEmpty] = queue.Load{Senders: viewersDefault, Each: 2000}
	}
	return p
}

// mailboxFound is what became of one load in one kind of queue.
type mailboxFound struct {
	queue.Kind
	load   string
	rounds []queue.Outcome
}

func mailboxScenario(ctx context.Context, cfg BenchConfig, progress io.Writer) (_ *report.Report, err error) {
	plan := planMailbox(cfg.Quick)
	r := report.New("mailbox", plan.fields(cfg.Quick))
	record, err := profiles.Start(profiles.Target{Dir: cfg.Profile, Name: "mailbox"})
	if err != nil {
		return nil, err
	}
	found, missing, err := plan.run(ctx, progress)
	if err = errors.Join(err, record.Stop()); err != nil {
		return nil, err
	}
	r.Config = append(r.Config, report.Field{Name: "missing", Value: missing}, report.Field{Name: "load_average_after", Value: loadAverage()})
	judgeMailbox(r, found)
	return r, nil
}

func (p mailboxPlan) fields(quick bool) report.Row {
	row := report.Row{{Name: "quick", Value: quick}, {Name: "rounds", Value: p.rounds}, {Name: "load_average_before", Value: loadAverage()}}
	for _, name := range p.names {
		l := p.loads[name]
		row = append(row, report.Field{Name: name, Value: report.Row{
			{Name: "senders", Value: l.Senders}, {Name: "messages_each", Value: l.Each}, {Name: "service_s", Value: l.Service},
		}})
	}
	return row
}

// run sends every load through every kind in each round. A kind that the machine does not have is missing.
func (p mailboxPlan) run(ctx context.Context, progress io.Writer) (found []*mailboxFound, missing []string, err error) {
	missing = []string{}
	absent := map[string]bool{}
	for _, name := range p.names {
		for _, kind := range queue.Kinds() {
			found = append(found, &mailboxFound{Kind: kind, load: name})
		}
	}
	for round := range p.rounds {
		for _, f := range found {
			if absent[f.Name] {
				continue
			}
			got, err := f.Exchange(ctx, p.loads[f.load])
			if errors.Is(err, queue.ErrMissing) {
				absent[f.Name], missing = true, append(missing, f.Name)
				fmt.Fprintf(progress, "%s is left out: %v\n", f.Name, err)
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			f.rounds = append(f.rounds, got)
			if round == 0 {
				fmt.Fprintf(progress, "%s, %s, %s: %d of %d delivered in %v\n", f.load, f.Name, f.Policy, got.Delivered, got.Sent, got.Took.Round(time.Microsecond))
			}
		}
	}
	return found, missing, nil
}

func (f *mailboxFound) row() report.Row {
	var sent, delivered, dropped int64
	var costs []float64
	var spans []time.Duration
	for _, o := range f.rounds {
		sent, delivered, dropped = sent+o.Sent, delivered+o.Delivered, dropped+o.Dropped
		costs = append(costs, float64(o.Took.Nanoseconds())/float64(o.Delivered))
		spans = append(spans, o.Took)
	}
	row := report.Row{
		{Name: "load", Value: f.load}, {Name: "kind", Value: f.Name}, {Name: "policy", Value: f.Policy}, {Name: "depth", Value: depthOf(f.Kind)},
		{Name: "rounds", Value: len(f.rounds)}, {Name: "sent", Value: sent}, {Name: "delivered", Value: delivered}, {Name: "dropped", Value: dropped},
		{Name: "dropped_share", Value: float64(dropped) / float64(sent)},
	}
	row = append(row, spreadOf(costs).fields("ns_per_message", "")...)
	return append(row, spreadOf(spans).fields("time", "_s")...)
}

// depthOf is nil for a queue without a bound.
func depthOf(k queue.Kind) any {
	if k.Depth == 0 {
		return nil
	}
	return k.Depth
}

// judgeMailbox fails a run in which our mailbox lost a message, quick or not.
func judgeMailbox(r *report.Report, found []*mailboxFound) {
	for _, f := range found {
		if len(f.rounds) == 0 {
			continue
		}
		row := f.row()
		r.Rows = append(r.Rows, row)
		dropped := row.Get("dropped").(int64)
		if f.load == loadCrowd {
			r.Summary = append(r.Summary, report.Field{Name: f.Name + "_" + f.Policy + "_dropped", Value: dropped})
		}
		if f.Name == queue.Kinds()[0].Name && dropped > 0 {
			r.Fail("%s: our mailbox lost %d of %d messages", f.load, dropped, row.Get("sent"))
		}
	}
}

func showMailbox(w io.Writer, r *report.Report) error {
	return report.Table(w, r.Rows, "load", "kind", "policy", "depth", "sent", "delivered", "dropped", "ns_per_message", "time_s", "time_min_s", "time_max_s")
}
