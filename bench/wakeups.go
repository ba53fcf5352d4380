package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/media"
)

// The floor of latency: how late this machine wakes up whoever sleeps until a time, with nothing else to do.
// A picture is the work of two processes that sleep in between, so it has this twice at least; a virtual
// machine whose processors others use as well has tails of many milliseconds.

const (
	wakeUpEvery = 5 * time.Millisecond
	wakeUps     = 300 // a round's
)

// measureWakeUps notes the delays of a round.
func measureWakeUps(ctx context.Context, late *report.Latency) (err error) {
	alarm, err := media.NewAlarm(ctx)
	if err != nil {
		return fmt.Errorf("measure wake-ups: %w", err)
	}
	defer func() { err = errors.Join(err, alarm.Close()) }()
	due := time.Now()
	for range wakeUps {
		due = due.Add(wakeUpEvery)
		if err := alarm.Wait(due); err != nil {
			return fmt.Errorf("measure wake-ups: %w", err)
		}
		now := time.Now()
		late.Record(now.Sub(due))
		if now.After(due.Add(wakeUpEvery)) {
			due = now // that one is over: it does not make the next ones late
		}
	}
	return nil
}

func wakeUpFields(late *report.Latency) report.Row {
	return report.Row{
		{Name: "wake_up_p50_s", Value: late.Quantile(0.5)}, {Name: "wake_up_p99_s", Value: late.Quantile(0.99)},
		{Name: "wake_up_max_s", Value: late.Quantile(1)},
	}
}
