package api

import (
	"net/url"
	"testing"
)

func FuzzParseSpan(f *testing.F) {
	for _, query := range []string{"", "from=2026-11-27T12:00:00Z", "from=2026-11-27T12:00:00.5%2B01:00&to=2026-11-28T00:00:00Z", "to=0000-01-01T00:00:00Z", "from=;"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Skip()
		}
		from, to, err := parseSpan(q)
		if err != nil {
			return
		}
		if from.IsZero() != (q.Get("from") == "") || to.IsZero() != (q.Get("to") == "") || !from.IsZero() && !to.IsZero() && !from.Before(to) {
			t.Errorf("%q became %v to %v", query, from, to)
		}
	})
}
