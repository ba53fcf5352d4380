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
	"strings"
	"syscall"

	"github.com/heliograph-rtc/heliograph/bench"
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

// run reads "SCENARIO --flags". A benchmark calls this program once more for the server it measures.
func run(args []string) error {
	if len(args) > 0 && args[0] == subject.Argument {
		return subject.Serve(args[1:], os.Stdin, os.Stdout)
	}
	var name string
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	var cfg bench.BenchConfig
	program := "heliograph-bench " + strings.Join(bench.ScenarioNames(), "|")
	if err := settings.Load(program, &cfg, args, os.Environ(), os.Stdout); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	var tables io.Writer = os.Stdout
	if cfg.JSON == "-" {
		tables = os.Stderr
	}
	r, err := bench.Bench(ctx, name, cfg, tables, os.Stderr)
	if err != nil {
		return err
	}
	if cfg.JSON != "" {
		if err := r.WriteFile(cfg.JSON); err != nil {
			return err
		}
	}
	if !r.Pass {
		return errNotPassed
	}
	return nil
}
