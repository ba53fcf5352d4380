package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// Read reads a JSON object that WriteFile wrote. Numbers are float64, and objects inside a row are
// rows again.
func Read(file string) (*Report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	r, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("read report %s: %w", file, err)
	}
	return r, nil
}

func parse(b []byte) (*Report, error) {
	r := &Report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, err
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("schema %d, this program reads %d", r.Schema, Schema)
	}
	return r, nil
}

// Plain is the report as Read would give it: a measured one holds durations and integers.
func (r *Report) Plain() (*Report, error) {
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		return nil, err
	}
	return parse(b.Bytes())
}

// Parts are the scenarios of a report: of one of all scenarios each as it would have been alone, with
// the machine and the verdict of the whole.
func (r *Report) Parts() []*Report {
	var parts []*Report
	for _, row := range r.Rows {
		name, joined := row.Get("scenario").(string)
		if !joined {
			return []*Report{r}
		}
		if len(parts) == 0 || parts[len(parts)-1].Scenario != name {
			summary, _ := r.Summary.Get(name).(Row)
			parts = append(parts, &Report{Schema: r.Schema, Scenario: name, Machine: r.Machine, Config: r.Config, Summary: summary, Pass: r.Pass, Failures: r.Failures})
		}
		last := parts[len(parts)-1]
		last.Rows = append(last.Rows, row[1:])
	}
	if parts == nil {
		return []*Report{r}
	}
	return parts
}

// UnmarshalJSON reads the fields in order.
func (r *Row) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return errors.Join(errors.New("a row is no object"), err)
	}
	row, err := fields(d)
	*r = row
	return err
}

// fields reads the rest of an object.
func fields(d *json.Decoder) (Row, error) {
	row := Row{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := value(d)
		if err != nil {
			return nil, err
		}
		row = append(row, Field{name.(string), v}) // the decoder lets nothing else be a name
	}
	_, err := d.Token()
	return row, err
}

func value(d *json.Decoder) (any, error) {
	token, err := d.Token()
	switch {
	case err != nil:
		return nil, err
	case token == json.Delim('{'):
		return fields(d)
	case token != json.Delim('['):
		return token, nil
	}
	list := []any{}
	for d.More() {
		v, err := value(d)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err = d.Token()
	return list, err
}

// Number is a field's value in a report that was read; false when it has none.
func (r Row) Number(name string) (float64, bool) {
	n, is := r.Get(name).(float64)
	return n, is
}

// Text is likewise; empty when it has none.
func (r Row) Text(name string) string {
	s, _ := r.Get(name).(string)
	return s
}
