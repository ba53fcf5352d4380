package bench

import (
	"fmt"
	"io"

	"github.com/heliograph-rtc/heliograph/bench/report"
)

// missed are the goals that a run did not meet.
type missed struct{ goals []string }

func (m *missed) note(format string, args ...any) {
	m.goals = append(m.goals, fmt.Sprintf(format, args...))
}

// judge puts them into the summary, and fails a run that is long enough to judge by.
func (m *missed) judge(r *report.Report, quick bool) {
	r.Summary = append(r.Summary, report.Field{Name: "goals_missed", Value: append([]string{}, m.goals...)})
	if !quick {
		for _, goal := range m.goals {
			r.Fail("%s", goal)
		}
	}
}

// showMissed tells what a quick run would have failed for.
func showMissed(w io.Writer, r *report.Report) (err error) {
	goals, _ := r.Summary.Get("goals_missed").([]string)
	if r.Pass && len(goals) > 0 {
		fmt.Fprintln(w, "\nnot judged in a quick run:")
		for _, goal := range goals {
			_, err = fmt.Fprintln(w, " ", goal)
		}
	}
	return err
}
