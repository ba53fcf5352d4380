package settings

// What --print-config shows: a YAML file that gives the same settings again, each with where it comes
// from. What must not be shown stands in a comment, so that no mask is ever taken for a value.

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// plain is text that YAML reads as it stands here.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9_./+@:-]*$`)

// login is the user and password in an address.
var login = regexp.MustCompile(`://[^/@\s"']+@`)

// printConfig writes the fields as they were filled.
func printConfig(out io.Writer, program, file string, fields []*field) (int, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s %s\n", program, Version())
	if file != "" {
		fmt.Fprintf(&b, "# %s: %s\n", configFlag, file)
	}
	lines := make(map[*field]string, len(fields))
	width := 0
	for _, f := range fields {
		lines[f] = f.line()
		if len(lines[f]) <= 40 { // a long one does not push the others' comments out of sight
			width = max(width, len(lines[f]))
		}
	}
	for _, group := range groupsOf(fields) {
		if group != "" {
			fmt.Fprintf(&b, "\n# %s\n", group)
		}
		for _, f := range fields {
			if f.group == group {
				fmt.Fprintf(&b, "%-*s  # %s\n", width, lines[f], f.origin())
			}
		}
	}
	return io.WriteString(out, b.String())
}

// line is the setting as a line of the file; a comment where it is secret, or has no key.
func (f *field) line() string {
	value := f.value()
	shown := login.ReplaceAllString(value, "://***@")
	switch {
	case f.secret && !f.dest.IsZero():
		return "# " + f.label() + ": (secret)"
	case f.name == "", shown != value:
		return "# " + f.label() + ": " + shown
	}
	return f.name + ": " + value
}

// label is the key, or what the setting has instead.
func (f *field) label() string {
	if f.name == "" {
		return f.envs[0]
	}
	return f.name
}

// origin is what has set the field, without the key that the line begins with.
func (f *field) origin() string {
	if f.from == "" {
		return "default"
	}
	return strings.TrimSuffix(f.from, ": "+f.name)
}

// value is the field in YAML's spelling.
func (f *field) value() string {
	switch v := f.dest.Interface().(type) {
	case string:
		return quoted(v)
	case []string:
		return flow(v)
	case map[string][]string:
		var entries []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			entries = append(entries, quoted(name)+": "+flow(v[name]))
		}
		return "{" + strings.Join(entries, ", ") + "}"
	case time.Duration:
		return v.String()
	default:
		return fmt.Sprint(v)
	}
}

// flow is a list in one line.
func flow(list []string) string {
	items := make([]string, len(list))
	for i, item := range list {
		items[i] = quoted(item)
	}
	return "[" + strings.Join(items, ", ") + "]"
}

func quoted(text string) string {
	if plain.MatchString(text) && !strings.HasSuffix(text, ":") && text != "null" {
		return text
	}
	return strconv.Quote(text)
}
