// Package measured writes the README's table of what was measured, from the reports that are kept. Each
// figure names the report, the row and the field that it comes from, so that none is there without one.
package measured

import (
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// Between these lines of a text the table is put.
const (
	begins = "<!-- measured: make readme -->\n"
	ends   = "<!-- measured -->\n"
)

// line is a row of the table. Within braces stand the report, what distinguishes its row, the field, and how
// to write it: {fanout mode=burst variant=pion viewers=10 cpu_us_per_packet us}.
type line struct{ scenario, about, ours, theirs string }

// Table is in Markdown. dir holds the reports, one for each scenario.
func Table(dir string) (string, error) {
	reports := map[string]*report.Report{}
	var b strings.Builder
	b.WriteString("| `heliograph-bench` | | Heliograph | pion's defaults |\n|---|---|---|---|\n")
	before := ""
	for _, l := range lines {
		if l.scenario == before {
			l.scenario = ""
		} else {
			before, l.scenario = l.scenario, "`"+l.scenario+"`"
		}
		b.WriteString("|")
		for _, text := range []string{l.scenario, l.about, l.ours, l.theirs} {
			cell, err := fill(text, dir, reports)
			if err != nil {
				return "", err
			}
			if cell != "" {
				b.WriteString(" " + cell)
			}
			b.WriteString(" |")
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}

var place = regexp.MustCompile(`\{[^}]*\}`)

func fill(text, dir string, reports map[string]*report.Report) (string, error) {
	var failed error
	filled := place.ReplaceAllStringFunc(text, func(s string) string {
		figure, err := find(strings.Fields(s[1:len(s)-1]), dir, reports)
		if err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", s, err)
		}
		return figure
	})
	return filled, failed
}

// find reads the report, the row, the field.
func find(words []string, dir string, reports map[string]*report.Report) (string, error) {
	if len(words) < 3 {
		return "", fmt.Errorf("want report, row, field and unit")
	}
	name, where, field, unit := words[0], words[1:len(words)-2], words[len(words)-2], words[len(words)-1]
	r := reports[name]
	if r == nil {
		var err error
		if r, err = report.Read(filepath.Join(dir, name+".json")); err != nil {
			return "", err
		}
		reports[name] = r
	}
	row := r.Summary
	if len(where) > 0 {
		row = nil
		for _, candidate := range r.Rows {
			if matches(candidate, where) {
				row = candidate
				break
			}
		}
	}
	if row == nil {
		return "", fmt.Errorf("no row is so")
	}
	value, ok := row.Number(field)
	if !ok {
		return "", fmt.Errorf("the row has no such figure")
	}
	return written(value, unit)
}

func matches(row report.Row, where []string) bool {
	for _, condition := range where {
		name, want, _ := strings.Cut(condition, "=")
		want = strings.ReplaceAll(want, "_", " ")
		value, isNumber := row.Number(name)
		if number, err := strconv.ParseFloat(want, 64); err == nil && isNumber {
			if value != number {
				return false
			}
		} else if row.Text(name) != want {
			return false
		}
	}
	return true
}

// written is the figure as people read it; times are in seconds and sizes in bytes, unless the field is in
// microseconds already.
func written(value float64, unit string) (string, error) {
	switch unit {
	case "us":
		return strconv.FormatFloat(value, 'f', 1, 64), nil
	case "ms":
		if value < 0.020 {
			return strconv.FormatFloat(value*1e3, 'f', 1, 64), nil
		}
		return strconv.FormatFloat(math.Round(value*1e3), 'f', 0, 64), nil
	case "MB":
		return strconv.FormatFloat(math.Round(value/1e6), 'f', 0, 64), nil
	case "MB.1":
		return strconv.FormatFloat(value/1e6, 'f', 1, 64), nil
	case "kB":
		return strconv.FormatFloat(math.Round(value/1e3), 'f', 0, 64), nil
	case "n":
		return strconv.FormatFloat(value, 'f', 0, 64), nil
	case "n.1":
		return strconv.FormatFloat(value, 'f', 1, 64), nil
	case "n.2":
		return strconv.FormatFloat(value, 'f', 2, 64), nil
	}
	return "", fmt.Errorf("no unit is called %s", unit)
}

// Into puts the table into a text in place of the one there.
func Into(text, table string) (string, error) {
	head, rest, found := strings.Cut(text, begins)
	_, tail, closed := strings.Cut(rest, ends)
	if !found || !closed {
		return "", fmt.Errorf("the text has no lines %q and %q", strings.TrimSpace(begins), strings.TrimSpace(ends))
	}
	return head + begins + table + ends + tail, nil
}
