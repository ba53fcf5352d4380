// Command heliograph-load simulates viewers of a KVS signaling channel and reports what each of them
// saw. It ends with status 0 only when all of them saw the stream as the source made it.
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
	"github.com/heliograph-rtc/heliograph/cmd/internal/settings"
)

// config adds to the load test what every program has.
type config struct {
	Load      bench.LoadConfig
	LogLevel  string `flag:"log-level" env:"HELIOGRAPH_LOG_LEVEL,AWS_KVS_LOG_LEVEL" default:"error" help:"of the embedded service and device: debug, info, warn, error" group:"Operation"`
	LogFormat string `flag:"log-format" env:"HELIOGRAPH_LOG_FORMAT" default:"auto" help:"auto, text or json"`
}

var errNotPassed = errors.New("the load test did not pass")

func main() {
	switch err := run(); {
	case err == nil, errors.Is(err, settings.ErrDone):
	case errors.Is(err, errNotPassed):
		os.Exit(1) // the report has said why
	default:
		fmt.Fprintln(os.Stderr, "heliograph-load:", err)
		os.Exit(1)
	}
}

func run() error {
	var c config
	if err := settings.Load("heliograph-load", &c, os.Args[1:], os.Environ(), os.Stdout); err != nil {
		return err
	}
	log, err := settings.Logger(c.LogLevel, c.LogFormat)
	if err != nil {
		return err
	}
	c.Load.Log = log
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	r, err := bench.Load(ctx, c.Load, os.Stderr)
	if err != nil {
		return err
	}
	var tables io.Writer = os.Stdout
	if c.Load.JSON == "-" {
		tables = os.Stderr
	}
	if err := bench.Print(tables, r, c.Load.PrintPhases); err != nil {
		return err
	}
	if c.Load.JSON != "" {
		if err := r.WriteFile(c.Load.JSON); err != nil {
			return err
		}
	}
	if !r.Pass {
		return errNotPassed
	}
	return nil
}
