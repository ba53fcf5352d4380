package charts

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// table shows rows that have the same fields.
type table struct {
	Heads []string
	Rows  [][]string
}

// tablesOf puts neighbouring rows with the same fields into one table.
func tablesOf(r *report.Report) (all []table) {
	var names []string
	for _, row := range r.Rows {
		now := namesOf(row)
		if len(all) == 0 || !slices.Equal(now, names) {
			names = now
			all = append(all, table{Heads: heads(names)})
		}
		var cells []string
		for _, name := range names {
			cells = append(cells, cell(name, row.Get(name)))
		}
		last := &all[len(all)-1]
		last.Rows = append(last.Rows, cells)
	}
	return all
}

// namesOf leaves out what is a drawing's alone.
func namesOf(row report.Row) (names []string) {
	for _, f := range row {
		if _, list := f.Value.([]any); !list {
			names = append(names, f.Name)
		}
	}
	return names
}

func heads(names []string) (texts []string) {
	for _, name := range names {
		texts = append(texts, words(name))
	}
	return texts
}

// words is a field's name without the unit that its cells show.
func words(name string) string {
	if !strings.Contains(name, "_per_") {
		name = strings.TrimSuffix(strings.TrimSuffix(name, "_bytes"), "_s")
	}
	return strings.ReplaceAll(name, "_", " ")
}

// cell writes a value with its unit.
func cell(name string, value any) string {
	switch v := value.(type) {
	case nil:
		return "–"
	case bool:
		return map[bool]string{true: "yes", false: "no"}[v]
	case float64:
		switch {
		case strings.HasSuffix(name, "_s") && !strings.Contains(name, "_per_"):
			return span(v)
		case strings.HasSuffix(name, "_bytes"):
			return strconv.FormatFloat(v/1e6, 'f', 1, 64) + " MB"
		}
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		var parts []string
		for _, one := range v {
			parts = append(parts, cell(name, one))
		}
		return strings.Join(parts, ", ")
	}
	return fmt.Sprint(value)
}

// span writes seconds in the unit that fits.
func span(seconds float64) string {
	switch {
	case seconds == 0:
		return "0"
	case seconds < 1e-3:
		return number(round(seconds*1e6, 3)) + " µs"
	case seconds < 1:
		return number(round(seconds*1e3, 3)) + " ms"
	}
	return number(round(seconds, 3)) + " s"
}
