package report

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func TestReportIsReadAsItWasWritten(t *testing.T) {
	r := New("fanout", Row{{"quick", true}, {"burst", Row{{"viewers", []int{1, 10}}}}})
	r.Rows = []Row{{{"variant", "pion"}, {"viewers", 10}, {"cpu_s", 1500 * time.Millisecond}, {"ratio", nil}}}
	r.Summary = Row{{"goals_missed", []string{"one"}}}
	r.Fail("no")
	file := filepath.Join(t.TempDir(), "r.json")
	if err := r.WriteFile(file); err != nil {
		t.Fatal(err)
	}
	got, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	want := &Report{
		Schema: Schema, Scenario: "fanout", Machine: ThisMachine(),
		Config:  Row{{"quick", true}, {"burst", Row{{"viewers", []any{1.0, 10.0}}}}},
		Rows:    []Row{{{"variant", "pion"}, {"viewers", 10.0}, {"cpu_s", 1.5}, {"ratio", nil}}},
		Summary: Row{{"goals_missed", []any{"one"}}}, Failures: []string{"no"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if plain, err := r.Plain(); err != nil || !reflect.DeepEqual(plain, want) {
		t.Errorf("plain %+v, %v", plain, err)
	}
	row := got.Rows[0]
	if n, is := row.Number("cpu_s"); !is || n != 1.5 || row.Text("variant") != "pion" {
		t.Errorf("%v %v", n, is)
	}
	if _, is := row.Number("ratio"); is || row.Text("viewers") != "" {
		t.Error("a null is a number, or a number a text")
	}
}

func TestReportOfAnotherSchemaIsRefused(t *testing.T) {
	for _, text := range []string{`{"schema":2}`, `{"schema":1,"rows":[3]}`, `{"schema":1,"rows":[{"a":}]}`, ``} {
		file := filepath.Join(t.TempDir(), "r.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(file); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

func TestPartsAreTheScenarios(t *testing.T) {
	one := New("setup", nil)
	if parts := one.Parts(); len(parts) != 1 || parts[0] != one {
		t.Errorf("%v", parts)
	}
	all := New("all", nil)
	all.Rows = []Row{{{"scenario", "setup"}, {"n", 1}}, {{"scenario", "setup"}, {"n", 2}}, {{"scenario", "fanout"}, {"n", 3}}}
	all.Summary = Row{{"setup", Row{{"x", 1}}}}
	parts := all.Parts()
	if len(parts) != 2 || parts[0].Scenario != "setup" || len(parts[0].Rows) != 2 || parts[1].Rows[0].Get("n") != 3 || parts[0].Summary.Get("x") != 1 {
		t.Errorf("%+v", parts)
	}
}
