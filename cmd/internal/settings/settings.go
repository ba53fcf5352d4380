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
//	live:"true"          takes another value without a restart (Take); --help says so
//
// Types: string, bool, int, float64, time.Duration, []string (commas separate the items; a flag may
// be repeated), map[string][]string (a flag NAME=WORD WORD..., repeated for further names, and a mapping
// in the file, of text that is split at blanks or of lists that are taken as they are; no commas are
// looked for, and there is no form for the environment). A field that is a struct is searched for fields of its own. A field with neither
// flag nor env is left alone.
package settings

import (
	"errors"
	"fmt"
	"io"
)

// ErrDone says that --help, --version or --print-config was asked for and printed: the program ends with status 0.
var ErrDone = errors.New("done")

// Names that every program has.
const (
	configFlag  = "config"
	helpFlag    = "help"
	versionFlag = "version"
	printFlag   = "print-config"
	configEnv   = "HELIOGRAPH_CONFIG"
)

// Load fills cfg, a pointer to a struct, from its defaults, the YAML file named by --config, environ
// (as os.Environ gives it) and args (without the program's name); later ones win. After --help,
// --version or --print-config it has printed to out and returns ErrDone.
func Load(program string, cfg any, args []string, environ []string, out io.Writer) error {
	_, err := prepare(program, &Command{Config: cfg}, nil, args, environ, out)
	return err
}

// prepare fills the settings of one of a program's commands and returns its operands.
func prepare(program string, c *Command, all []Command, args, environ []string, out io.Writer) ([]string, error) {
	fields, err := fieldsOf(c.Config)
	if err != nil {
		return nil, err
	}
	line, err := parseArgs(fields, args, len(c.Operands))
	if err != nil {
		return nil, err
	}
	switch {
	case line.help:
		return nil, printed(printHelp(out, program, c, all, fields))
	case line.version:
		return nil, printed(fmt.Fprintf(out, "%s %s\n", program, Version()))
	case len(line.operands) < len(c.Operands):
		return nil, fmt.Errorf("%s is missing: %s", c.Operands[len(line.operands)], c.usage(program))
	}
	if err := fill(fields, line, all, environ); err != nil {
		return nil, err
	}
	if line.print {
		return nil, printed(printConfig(out, program, line.config, fields))
	}
	return line.operands, nil
}

// fill sets the fields from all sources, the weakest first.
func fill(fields []*field, line *commandLine, all []Command, environ []string) error {
	var foreign []*field
	for _, other := range all {
		more, err := fieldsOf(other.Config)
		if err != nil {
			return err
		}
		foreign = append(foreign, more...)
	}
	env := environment(environ)
	if line.config == "" {
		line.config = env[configEnv]
	}
	if err := applyDefaults(fields); err != nil {
		return err
	}
	if err := applyFile(fields, foreign, line.config); err != nil {
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
