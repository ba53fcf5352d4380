package settings

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// field is one setting: what its tags say, and where its value goes.
type field struct {
	name     string // flag and YAML key; empty: environment only
	envs     []string
	fallback string
	help     string
	group    string
	secret   bool
	live     bool // a program that runs takes another value
	goName   string
	dest     reflect.Value
	from     string // what has set it last; empty: its default
}

// fieldsOf collects the settings of cfg in the order of the struct.
func fieldsOf(cfg any) ([]*field, error) {
	v := reflect.ValueOf(cfg)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("read settings: want a pointer to a struct, got %T", cfg)
	}
	fields := collect(nil, v.Elem(), "")
	taken := map[string]string{configFlag: "--" + configFlag, helpFlag: "--" + helpFlag, versionFlag: "--" + versionFlag, printFlag: "--" + printFlag}
	for _, f := range fields {
		if kindOf(f.dest) == "map" && len(f.envs) > 0 {
			return nil, fmt.Errorf("read settings: field %s: a map has no form for the environment", f.goName)
		}
		if kindOf(f.dest) == "" {
			return nil, fmt.Errorf("read settings: field %s: unsupported type %s", f.goName, f.dest.Type())
		}
		if other, ok := taken[f.name]; ok {
			return nil, fmt.Errorf("read settings: field %s: flag --%s is taken by %s", f.goName, f.name, other)
		}
		if f.name != "" {
			taken[f.name] = f.goName
		}
	}
	return fields, nil
}

// collect appends the settings of the struct v. A group holds until the next one, and inside structs
// that have none of their own.
func collect(fields []*field, v reflect.Value, group string) []*field {
	for i := range v.NumField() {
		tag, dest := v.Type().Field(i), v.Field(i)
		if heading := tag.Tag.Get("group"); heading != "" {
			group = heading
		}
		if dest.Kind() == reflect.Struct {
			fields = collect(fields, dest, group)
			continue
		}
		f := &field{
			name:     tag.Tag.Get("flag"),
			envs:     items(tag.Tag.Get("env")),
			fallback: tag.Tag.Get("default"),
			help:     tag.Tag.Get("help"),
			group:    group,
			secret:   tag.Tag.Get("secret") == "true",
			live:     tag.Tag.Get("live") == "true",
			goName:   tag.Name,
			dest:     dest,
		}
		if f.name != "" || len(f.envs) > 0 {
			fields = append(fields, f)
		}
	}
	return fields
}

// kindOf names the type of a setting as --help shows it; empty means that it is not supported.
func kindOf(v reflect.Value) string {
	if !v.CanSet() {
		return ""
	}
	switch v.Interface().(type) {
	case string:
		return "string"
	case bool:
		return "bool"
	case int:
		return "int"
	case float64:
		return "number"
	case time.Duration:
		return "duration"
	case []string:
		return "list"
	case map[string][]string:
		return "map"
	}
	return ""
}

// set stores the text in the field. The error names the source ("environment AWS_REGION") and shows
// the text, unless it is a secret.
func (f *field) set(source, text string) error {
	f.from = source
	var err error
	switch dest := f.dest.Addr().Interface().(type) {
	case *string:
		*dest = text
	case *bool:
		*dest, err = parseBool(text)
	case *int:
		if *dest, err = strconv.Atoi(text); err != nil {
			err = fmt.Errorf("want a whole number")
		}
	case *float64:
		if *dest, err = strconv.ParseFloat(text, 64); err != nil {
			err = fmt.Errorf("want a number")
		}
	case *time.Duration:
		if *dest, err = time.ParseDuration(text); err != nil {
			err = fmt.Errorf(`want a duration such as "500ms", "20s" or "1h30m"`)
		}
	case *[]string:
		*dest = items(text)
	case *map[string][]string:
		*dest, err = entry(text)
	}
	if err == nil {
		return nil
	}
	if f.secret {
		return fmt.Errorf("%s: %w", source, err)
	}
	return fmt.Errorf("%s: %w, got %q", source, err, text)
}

// parseBool reads the spellings that environment files, YAML and C build switches use.
func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "1", "t", "true", "yes", "on":
		return true, nil
	case "0", "f", "false", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("want true or false")
}

// entry reads NAME=WORD WORD..., one entry of a map.
func entry(text string) (map[string][]string, error) {
	name, words, ok := strings.Cut(text, "=")
	if name = strings.TrimSpace(name); !ok || name == "" {
		return nil, fmt.Errorf("want NAME=WORD WORD")
	}
	return map[string][]string{name: strings.Fields(words)}, nil
}

// items splits a list at its commas; blanks around an item and empty items are not kept.
func items(text string) []string {
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}
