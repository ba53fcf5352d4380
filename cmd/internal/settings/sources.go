package settings

import (
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// applyDefaults sets every field to what its default tag says; an empty one keeps the zero value.
func applyDefaults(fields []*field) error {
	for _, f := range fields {
		if f.fallback == "" {
			continue
		}
		if err := f.set("default of "+f.goName, f.fallback); err != nil {
			return err
		}
		f.from = ""
	}
	return nil
}

// applyFile sets the fields that the YAML file names. The file is one flat mapping; scalars are
// taken as they are written (so 007 stays 007), and a key without a value changes nothing. Foreign
// fields are those of the program's other commands, for which the file may speak too.
func applyFile(fields, foreign []*field, path string) error {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read config file: %w", err)
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return fmt.Errorf("parse config file %s: %w", path, err)
	}
	pairs, err := mapping(file)
	if err != nil {
		return fmt.Errorf("read config file %s: %w", path, err)
	}
	for _, pair := range pairs {
		if err := applyPair(fields, foreign, path, pair); err != nil {
			return err
		}
	}
	return nil
}

// mapping returns the key-value pairs at the top of the file.
func mapping(file *ast.File) ([]*ast.MappingValueNode, error) {
	var pairs []*ast.MappingValueNode
	for i, doc := range file.Docs {
		switch body := doc.Body.(type) {
		case nil, *ast.CommentGroupNode, *ast.NullNode:
		case *ast.MappingNode:
			pairs = append(pairs, body.Values...)
		case *ast.MappingValueNode:
			pairs = append(pairs, body)
		default:
			return nil, fmt.Errorf("want lines of the form key: value")
		}
		if i > 0 && len(pairs) > 0 {
			return nil, fmt.Errorf("want one YAML document, found %d", len(file.Docs))
		}
	}
	return pairs, nil
}

// applyPair sets the field that one line of the file names.
func applyPair(fields, foreign []*field, path string, pair *ast.MappingValueNode) error {
	at := pair.Key.GetToken()
	source := fmt.Sprintf("%s:%d: %s", path, at.Position.Line, at.Value)
	f := named(fields, at.Value)
	if f == nil && named(foreign, at.Value) != nil {
		return nil
	}
	if f == nil {
		return fmt.Errorf("%s: unknown key%s", source, suggest("", at.Value, fields))
	}
	switch value := pair.Value.(type) {
	case *ast.NullNode:
		return nil
	case *ast.SequenceNode:
		return f.setItems(source, value.Values)
	case *ast.MappingNode:
		return f.setEntries(source, value.Values)
	case *ast.MappingValueNode:
		return f.setEntries(source, []*ast.MappingValueNode{value})
	case ast.ScalarNode:
		return f.set(source, scalar(value))
	}
	return fmt.Errorf("%s: want a plain value or a list, not a %s", source, strings.ToLower(pair.Value.Type().String()))
}

// setItems stores a YAML list; its items may hold commas.
func (f *field) setItems(source string, nodes []ast.Node) error {
	dest, ok := f.dest.Addr().Interface().(*[]string)
	if !ok {
		return fmt.Errorf("%s: want one value, not a list", source)
	}
	list, err := scalars(source, nodes)
	*dest, f.from = list, source
	return err
}

// scalars are the items of a list as they are written.
func scalars(source string, nodes []ast.Node) ([]string, error) {
	list := make([]string, 0, len(nodes))
	for _, node := range nodes {
		item, ok := node.(ast.ScalarNode)
		if !ok {
			return nil, fmt.Errorf("%s: want a list of plain values", source)
		}
		list = append(list, scalar(item))
	}
	return list, nil
}

// setEntries stores a YAML mapping: text is split at its blanks, the items of a list may hold some.
func (f *field) setEntries(source string, pairs []*ast.MappingValueNode) error {
	dest, ok := f.dest.Addr().Interface().(*map[string][]string)
	if !ok {
		return fmt.Errorf("%s: want a plain value or a list, not a mapping", source)
	}
	entries := make(map[string][]string, len(pairs))
	for _, pair := range pairs {
		key, ok := pair.Key.(ast.ScalarNode)
		if !ok {
			return fmt.Errorf("%s: want plain names", source)
		}
		name := scalar(key)
		var err error
		switch value := pair.Value.(type) {
		case *ast.SequenceNode:
			entries[name], err = scalars(source+": "+name, value.Values)
		case ast.ScalarNode:
			entries[name] = strings.Fields(scalar(value))
		default:
			err = fmt.Errorf("%s: %s: want words or a list", source, name)
		}
		if err != nil {
			return err
		}
	}
	*dest, f.from = entries, source
	return nil
}

// scalar returns a value as it is written in the file, without its quotes.
func scalar(node ast.ScalarNode) string {
	if literal, ok := node.(*ast.LiteralNode); ok {
		return literal.Value.Value
	}
	return node.GetToken().Value
}

// environment turns the list of os.Environ into a map; variables that are set but empty count as
// not set, as everywhere in the AWS tools.
func environment(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok && value != "" {
			env[name] = value
		}
	}
	return env
}

// applyEnvironment sets every field from the first of its variables that is set.
func applyEnvironment(fields []*field, env map[string]string) error {
	for _, f := range fields {
		for _, name := range f.envs {
			value, ok := env[name]
			if !ok {
				continue
			}
			if err := f.set("environment "+name, value); err != nil {
				return err
			}
			break
		}
	}
	return nil
}
