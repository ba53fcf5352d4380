package settings

import (
	"fmt"
	"reflect"
	"strings"
)

// commandLine is what the arguments say, not yet applied: the file they name comes first.
type commandLine struct {
	help, version, print bool
	config               string
	operands             []string
	given                []given
}

// given is one flag with its value.
type given struct {
	field *field
	text  string
}

// parseArgs reads "--name value", "--name=value" and, for a bool, "--name"; one dash does as well. As
// many words as there are operands may stand among them.
func parseArgs(fields []*field, args []string, operands int) (*commandLine, error) {
	line := new(commandLine)
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		if !strings.HasPrefix(word, "-") && len(line.operands) < operands {
			line.operands = append(line.operands, word)
			continue
		}
		if len(word) < 2 || word[0] != '-' || word == "--" {
			return nil, fmt.Errorf("unexpected argument %q: settings are given as --name value", word)
		}
		name, text, joined := strings.Cut(strings.TrimLeft(word, "-"), "=")
		f := named(fields, name)
		switch {
		case name == helpFlag || name == "h":
			line.help = true
			continue
		case name == versionFlag:
			line.version = true
			continue
		case name == printFlag:
			line.print = true
			continue
		case f == nil && name != configFlag:
			return nil, fmt.Errorf("unknown flag --%s%s", name, suggest("--", name, fields))
		case !joined && f != nil && f.dest.Kind() == reflect.Bool:
			text = "true"
		case !joined && len(args) == 0:
			return nil, fmt.Errorf("flag --%s: a value is missing", name)
		case !joined:
			text, args = args[0], args[1:]
		}
		if f == nil {
			line.config = text
			continue
		}
		line.given = append(line.given, given{f, text})
	}
	return line, nil
}

// apply sets the fields in the order of the command line. The first flag of a list or map replaces what
// weaker sources said, each further one adds to it.
func (l *commandLine) apply() error {
	lists := make(map[*field][]string)
	entries := make(map[*field]map[string][]string)
	for _, g := range l.given {
		if err := g.field.set("flag --"+g.field.name, g.text); err != nil {
			return err
		}
		if dest, ok := g.field.dest.Addr().Interface().(*[]string); ok {
			*dest = append(lists[g.field], *dest...)
			lists[g.field] = *dest
		}
		if dest, ok := g.field.dest.Addr().Interface().(*map[string][]string); ok {
			merged := entries[g.field]
			if merged == nil {
				merged = make(map[string][]string)
			}
			for name, words := range *dest {
				if _, twice := merged[name]; twice {
					return fmt.Errorf("flag --%s: %q is given twice", g.field.name, name)
				}
				merged[name] = words
			}
			entries[g.field], *dest = merged, merged
		}
	}
	return nil
}

// named returns the field with that flag name and YAML key, or nil.
func named(fields []*field, name string) *field {
	for _, f := range fields {
		if f.name == name && name != "" {
			return f
		}
	}
	return nil
}
