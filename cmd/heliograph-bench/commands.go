package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/heliograph-rtc/heliograph/bench"
	"github.com/heliograph-rtc/heliograph/bench/charts"
	"github.com/heliograph-rtc/heliograph/bench/compare"
	"github.com/heliograph-rtc/heliograph/bench/measured"
	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/cmd/internal/settings"
)

// pageOptions are the settings of the command page.
type pageOptions struct {
	HTML string `flag:"html" env:"HELIOGRAPH_HTML" default:"heliograph-bench.html" help:"file to write"`
}

// tableOptions are the settings of the command table.
type tableOptions struct {
	Into string `flag:"into" env:"HELIOGRAPH_INTO" default:"" help:"file whose table is replaced; empty: the table is shown"`
}

// compareOptions are the settings of the command compare.
type compareOptions struct {
	Alpha float64 `flag:"alpha" env:"HELIOGRAPH_ALPHA" default:"0.05" help:"a difference that chance explains with a greater probability is none"`
	Least float64 `flag:"least" env:"HELIOGRAPH_LEAST" default:"0.03" help:"a smaller change of the median, as a share, is none"`
	All   bool    `flag:"all" env:"HELIOGRAPH_ALL" help:"show also the figures that did not change"`
}

// commands are one for each scenario, and those that read reports.
func commands(ctx context.Context, out io.Writer) []settings.Command {
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
	var versus compareOptions
	var table tableOptions
	return append(all, settings.Command{
		Words: "compare", Operands: []string{"A.json", "B.json"}, Help: "tell what changed from one report to the next; status 1 where something is worse", Config: &versus,
		Run: func(operands []string) error { return versus.compare(operands[0], operands[1], out) },
	}, settings.Command{
		Words: "page", Operands: []string{"DIR"}, Help: "write one HTML page of the reports (*.json) in a directory", Config: &page,
		Run: func(operands []string) error { return writePage(page.HTML, operands[0]) },
	}, settings.Command{
		Words: "table", Operands: []string{"DIR"}, Help: "write the README's table of what the reports in a directory say", Config: &table,
		Run: func(operands []string) error { return table.write(operands[0], out) },
	})
}

// write replaces the table in a file, or shows it.
func (o tableOptions) write(dir string, out io.Writer) error {
	table, err := measured.Table(dir)
	if err != nil {
		return err
	}
	if o.Into == "" {
		_, err = io.WriteString(out, table)
		return err
	}
	text, err := os.ReadFile(o.Into)
	if err != nil {
		return err
	}
	after, err := measured.Into(string(text), table)
	if err != nil {
		return fmt.Errorf("write table into %s: %w", o.Into, err)
	}
	return os.WriteFile(o.Into, []byte(after), 0o644)
}

// compare fails where something became worse.
func (o compareOptions) compare(before, after string, out io.Writer) error {
	a, err := report.Read(before)
	if err != nil {
		return err
	}
	b, err := report.Read(after)
	if err != nil {
		return err
	}
	if a.Machine != b.Machine {
		fmt.Fprintf(out, "the machines differ: %+v, %+v\n", a.Machine, b.Machine)
	}
	worse, err := compare.Table(out, compare.Reports(a, b, compare.Options{Alpha: o.Alpha, Least: o.Least}), o.All)
	if err == nil && worse > 0 {
		err = errNotPassed
	}
	return err
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
