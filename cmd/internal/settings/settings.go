// Package settings fills a program's configuration struct.
//
// The flow: collect the struct's fields from its tags, parse the command line (it names the YAML
// file), then let each source overwrite the one before: default, YAML file, environment, flags.
// Whatever the source, a value arrives as text and is set by the same code, so that all four
// understand the same spellings, and an error names the source it came from.
//
// Tags of a field:
//
//	flag:"channel"       name of the flag and key in the YAML file
//	env:"A,B"            environment variables; the first that is set and not empty wins
//	default:"demo"       value when nothing else sets it
//	help:"..."           one line for --help
//	group:"signaling"    heading in --help, for this field or struct and those after it
//	secret:"true"        never printed; reached by environment only unless a flag tag is given
//
// Types: string, bool, int, float64, time.Duration, []string (commas separate the items; a flag may
// be repeated). A field that is a struct is searched for fields of its own. A field with neither
// flag nor env is left alone.
package settings

import (
	"errors"
	"fmt"
	"io"
)

// ErrDone says that --help or --version was asked for and printed: the program ends with status 0.
var ErrDone = errors.New("done")

// Names that every program has.
const (
	configFlag  = "config"
	helpFlag    = "help"
	versionFlag = "version"
	configEnv   = "HELIOGRAPH_CONFIG"
)

// Load fills cfg, a pointer to a struct, from its defaults, the YAML file named by --config, environ
// (as os.Environ gives it) and args (without the program's name); later ones win. After --help or
// --version it has printed to out and returns ErrDone.
func Load(program string, cfg any, args []string, environ []string, out io.Writer) error {
	fields, err := fieldsOf(cfg)
	if err != nil {
		return err
	}
	line, err := parseArgs(fields, args)
	if err != nil {
		return err
	}
	switch {
	case line.help:
		return printed(printHelp(out, program, fields))
	case line.version:
		return printed(fmt.Fprintf(out, "%s %s\n", program, Version()))
	}
	env := environment(environ)
	if line.config == "" {
		line.config = env[configEnv]
	}
	if err := applyDefaults(fields); err != nil {
		return err
	}
	if err := applyFile(fields, line.config); err != nil {
		return err
	}
	if err := applyEnvironment(fields, env); err != nil {
		return err
	}
	return line.apply()
}

// printed turns the result of a print into what Load returns for it.
func printed(_ int, err error) error {
	if err != nil {
		return err
	}
	return ErrDone
}
