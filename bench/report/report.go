// Package report is how a run of the load test or of a benchmark tells what it found: one JSON object
// for scripts (design.md section 7) and one table for people, both from the same rows.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"time"
)

// Schema is the version of the JSON object.
const Schema = 1

// Report is what a run found. Make it with New.
type Report struct {
	Schema   int      `json:"schema"`
	Scenario string   `json:"scenario"`
	Machine  Machine  `json:"machine"`
	Config   Row      `json:"config"`
	Rows     []Row    `json:"rows"`
	Summary  Row      `json:"summary"`
	Pass     bool     `json:"pass"`
	Failures []string `json:"failures"`
}

// New returns the report of a scenario that has not failed so far.
func New(scenario string, config Row) *Report {
	return &Report{
		Schema: Schema, Scenario: scenario, Machine: ThisMachine(), Config: config,
		Rows: []Row{}, Summary: Row{}, Pass: true, Failures: []string{},
	}
}

// Fail notes why the run did not pass.
func (r *Report) Fail(format string, args ...any) {
	r.Pass = false
	r.Failures = append(r.Failures, fmt.Sprintf(format, args...))
}

// Write writes the JSON object.
func (r *Report) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// WriteFile writes the JSON object to a file; "-" is the standard output.
func (r *Report) WriteFile(name string) error {
	if name == "-" {
		return r.Write(os.Stdout)
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		return err
	}
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Field is one figure. Its name ends in its unit: _s, _bytes, _bps, _us. A value that is not known is
// nil; a time.Duration becomes seconds.
type Field struct {
	Name  string
	Value any
}

// Row is an object whose fields keep their order.
type Row []Field

// Get returns a field's value; nil when there is none.
func (r Row) Get(name string) any {
	for _, f := range r {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// MarshalJSON writes the fields in order.
func (r Row) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, f := range r {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(plain(f.Value))
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

// plain turns a value into what JSON can hold. Microseconds and three decimals are as fine as anything
// here is measured.
func plain(v any) any {
	switch v := v.(type) {
	case time.Duration:
		return math.Round(v.Seconds()*1e6) / 1e6
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return math.Round(v*1e3) / 1e3
	case []time.Duration:
		return plainList(v)
	case []float64:
		return plainList(v)
	}
	return v
}

func plainList[T any](list []T) []any {
	plains := []any{}
	for _, v := range list {
		plains = append(plains, plain(v))
	}
	return plains
}
