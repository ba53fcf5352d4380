// Package compare tells whether what two reports measured differs beyond chance, as benchstat does: the
// rounds of both are samples, the Mann-Whitney U test says whether they are of one distribution.
//
// Rows belong together when all that names them is equal. A figure is compared where both rows keep its
// rounds (fields *_rounds*). All figures are costs, of which less is better, but for ratios.
package compare

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchmath"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// Verdicts on a figure.
const (
	Same   = "~" // no difference that chance does not explain
	Worse  = "worse"
	Better = "better"
)

// Options say what counts.
type Options struct {
	Alpha float64 // below this probability of chance a difference is one
	Least float64 // a smaller change of the median, as a share, is none
}

// Difference is what became of a figure.
type Difference struct {
	Scenario, Row, Figure string
	Before, After         float64 // medians
	P                     float64
	Rounds                string // how many on either side
	Verdict               string
	Baseline              bool // not ours: told, but nobody's regression
}

// roundsMin on either side can make a difference significant; with fewer none is.
const roundsMin = 4

// Reports compares each figure that both reports have.
func Reports(before, after *report.Report, o Options) (all []Difference) {
	for _, a := range before.Parts() {
		for _, b := range after.Parts() {
			if a.Scenario == b.Scenario {
				all = append(all, scenario(a, b, o)...)
			}
		}
	}
	return all
}

func scenario(a, b *report.Report, o Options) (all []Difference) {
	rows := map[string]report.Row{}
	for _, row := range a.Rows {
		rows[key(row)] = row
	}
	for _, row := range b.Rows {
		old, found := rows[key(row)]
		for _, f := range row {
			if !found || !strings.Contains(f.Name, "_rounds") {
				continue
			}
			d := figure(numbers(old.Get(f.Name)), numbers(f.Value), strings.HasPrefix(f.Name, "ratio"), o)
			if d.Verdict != "" {
				d.Scenario, d.Row, d.Figure = a.Scenario, key(row), strings.Replace(f.Name, "_rounds", "", 1)
				d.Baseline = baseline(row) && !strings.HasPrefix(f.Name, "ratio")
				all = append(all, d)
			}
		}
	}
	return all
}

// baseline tells whether a row is about what ours is measured against. A ratio stands in such a row, and
// is as much about ours.
func baseline(row report.Row) bool {
	for _, name := range []string{"variant", "kind"} {
		if who := row.Text(name); who != "" && who != "heliograph" {
			return true
		}
	}
	return false
}

// naming are the numbers that name a row; its texts do so, too.
var naming = []string{"viewers", "viewer", "depth", "rtt_s", "aws_limits"}

func key(row report.Row) string {
	var parts []string
	for _, f := range row {
		text, is := f.Value.(string)
		switch {
		case f.Name == "case": // says what the others do
		case is:
			parts = append(parts, text)
		case slices.Contains(naming, f.Name):
			parts = append(parts, fmt.Sprintf("%s %v", f.Name, f.Value))
		}
	}
	return strings.Join(parts, ", ")
}

// numbers are the rounds in which there was a figure.
func numbers(list any) (values []float64) {
	all, _ := list.([]any)
	for _, one := range all {
		if v, is := one.(float64); is {
			values = append(values, v)
		}
	}
	return values
}

func figure(before, after []float64, moreIsBetter bool, o Options) (d Difference) {
	if len(before) == 0 || len(after) == 0 {
		return d
	}
	limits := &benchmath.Thresholds{CompareAlpha: o.Alpha}
	a, b := benchmath.NewSample(before, limits), benchmath.NewSample(after, limits)
	test := benchmath.AssumeNothing.Compare(a, b)
	d.Before, d.After = benchmath.AssumeNothing.Summary(a, 0.95).Center, benchmath.AssumeNothing.Summary(b, 0.95).Center
	d.P, d.Rounds, d.Verdict = test.P, fmt.Sprintf("%d+%d", test.N1, test.N2), Same
	change := d.After - d.Before
	if moreIsBetter {
		change = -change
	}
	if test.P >= o.Alpha || math.Abs(change) <= o.Least*math.Abs(d.Before) {
		return d
	}
	d.Verdict = Better
	if change > 0 {
		d.Verdict = Worse
	}
	return d
}

// Table writes the differences, or all figures, and returns how many of ours are worse.
func Table(w io.Writer, all []Difference, everything bool) (worse int, err error) {
	var rows []report.Row
	few := false
	for _, d := range all {
		if d.Verdict == Worse && !d.Baseline {
			worse++
		}
		a, b, _ := strings.Cut(d.Rounds, "+")
		few = few || len(a) == 1 && a < strconv.Itoa(roundsMin) || len(b) == 1 && b < strconv.Itoa(roundsMin)
		if d.Verdict == Same && !everything {
			continue
		}
		rows = append(rows, report.Row{
			{Name: "scenario", Value: d.Scenario}, {Name: "row", Value: d.Row}, {Name: "figure", Value: d.Figure},
			{Name: "before", Value: strconv.FormatFloat(d.Before, 'g', 4, 64)}, {Name: "after", Value: strconv.FormatFloat(d.After, 'g', 4, 64)},
			{Name: "change", Value: share(d)}, {Name: "p", Value: strconv.FormatFloat(d.P, 'f', 3, 64)}, {Name: "rounds", Value: d.Rounds}, {Name: "verdict", Value: d.Verdict},
		})
	}
	if len(rows) > 0 {
		err = report.Table(w, rows, "scenario", "row", "figure", "before", "after", "change", "p", "rounds", "verdict")
	}
	fmt.Fprintf(w, "%d figures compared, %d of ours worse\n", len(all), worse)
	if few {
		fmt.Fprintf(w, "fewer than %d rounds cannot tell a difference from chance\n", roundsMin)
	}
	return worse, err
}

func share(d Difference) string {
	if d.Before == 0 {
		return "?"
	}
	return fmt.Sprintf("%+.1f %%", (d.After/d.Before-1)*100)
}
