// Command heliograph-bench measures the engine and the service, and what they are measured against in
// the same run. It ends with status 0 only when every goal was met.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/heliograph-rtc/heliograph/bench"
	"github.com/heliograph-rtc/heliograph/bench/charts"
	"github.com/heliograph-rtc/heliograph/bench/subject"
	"github.com/heliograph-rtc/heliograph/cmd/internal/settings"
)

var errNotPassed = errors.New("the benchmark did not pass")

func main() {
	switch err := run(os.Args[1:]); {
	case err == nil, errors.Is(err, settings.ErrDone):
	case errors.Is(err, errNotPassed):
		os.Exit(1) // the report has said why
	default:
		fmt.Fprintln(os.Stderr, "heliograph-bench:", err)
		os.Exit(1)
	}
}

// run reads "SCENARIO --flags". A benchmark calls this program once more for what it measures.
func run(args []string) error {
	if len(args) > 0 && args[0] == subject.Argument {
		return subject.Serve(args[1:], os.Stdin, os.Stdout)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	return settings.Dispatch("heliograph-bench", commands(ctx, os.Stdout), args, os.Environ(), os.Stdout)
}

// measure runs a scenario and writes its report.
func measure(ctx context.Context, name string, cfg bench.BenchConfig) error {
	var tables io.Writer = os.Stdout
	if cfg.JSON == "-" {
		tables = os.Stderr
	}
	r, err := bench.Bench(ctx, name, cfg, tables, os.Stderr)
	if err != nil {
		return err
	}
	if cfg.JSON != "" {
		err = r.WriteFile(cfg.JSON)
	}
	if cfg.HTML != "" {
		plain, unread := r.Plain()
		if err = errors.Join(err, unread); unread == nil {
			err = errors.Join(err, charts.Write(cfg.HTML, plain))
		}
	}
	if err == nil && !r.Pass {
		err = errNotPassed
	}
	return err
}
