package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/heliograph-rtc/heliograph/bench"
	"github.com/heliograph-rtc/heliograph/bench/charts"
	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/cmd/internal/settings"
)

// pageOptions are the settings of the command page.
type pageOptions struct {
	HTML string `flag:"html" env:"HELIOGRAPH_HTML" default:"heliograph-bench.html" help:"file to write"`
}

// commands are one for each scenario, and those that read reports.
func commands(ctx context.Context) []settings.Command {
	var cfg bench.BenchConfig
	all := []settings.Command{{Config: &cfg, Run: func([]string) error {
		return fmt.Errorf("no scenario: name one of %s", strings.Join(bench.ScenarioNames(), ", "))
	}}}
	for _, name := range bench.ScenarioNames() {
		all = append(all, settings.Command{
			Words: name, Help: bench.About(name), Config: &cfg,
			Run: func([]string) error { return measure(ctx, name, cfg) },
		})
	}
	var page pageOptions
	return append(all, settings.Command{
		Words: "page", Operands: []string{"DIR"}, Help: "write one HTML page of the reports (*.json) in a directory", Config: &page,
		Run: func(operands []string) error { return writePage(page.HTML, operands[0]) },
	})
}

func writePage(file, dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(names) == 0 {
		return errors.Join(fmt.Errorf("write page: no report (*.json) in %s", dir), err)
	}
	var reports []*report.Report
	for _, name := range names {
		r, err := report.Read(name)
		if err != nil {
			return err
		}
		reports = append(reports, r)
	}
	return charts.Write(file, reports...)
}
