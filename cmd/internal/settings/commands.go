package settings

// Commands of one program: `program [words] [flags] [operands]`. In order of execution: choose finds
// the command whose words come first, prepare fills its settings, the command runs. The flags of a
// command come after its words; a command without words is the program itself.

import (
	"fmt"
	"io"
	"strings"
)

// Command is one thing that a program does.
type Command struct {
	Words    string   // "iot create-thing"; empty: the program itself
	Operands []string // what must follow besides flags: "NAME"
	Help     string   // one line
	Config   any      // pointer to the struct of its settings
	Run      func(operands []string) error
}

// Dispatch runs the command that args name, after its settings were loaded as Load does. The YAML
// file is one for all: a command passes over keys that only others know.
func Dispatch(program string, commands []Command, args, environ []string, out io.Writer) error {
	c, rest, err := choose(commands, args)
	if err != nil {
		return err
	}
	operands, err := prepare(program, c, commands, rest, environ, out)
	if err != nil {
		return err
	}
	return c.Run(operands)
}

// choose returns the command with the most words that args begin with, and the arguments behind them.
func choose(commands []Command, args []string) (*Command, []string, error) {
	var best *Command
	words := 0
	for i := range commands {
		want := strings.Fields(commands[i].Words)
		if len(want) > len(args) || strings.Join(want, " ") != strings.Join(args[:len(want)], " ") {
			continue
		}
		if best == nil || len(want) > words {
			best, words = &commands[i], len(want)
		}
	}
	if best == nil || words == 0 && len(args) > 0 && !strings.HasPrefix(args[0], "-") && len(best.Operands) == 0 {
		return nil, nil, fmt.Errorf("unknown command %q; --help lists all", strings.Join(leading(args), " "))
	}
	return best, args[words:], nil
}

// leading returns the words before the first flag.
func leading(args []string) []string {
	for i, word := range args {
		if strings.HasPrefix(word, "-") {
			return args[:i]
		}
	}
	return args
}

// usage is the first line of --help.
func (c *Command) usage(program string) string {
	words := append([]string{program}, strings.Fields(c.Words)...)
	return strings.Join(append(append(words, "[flags]"), c.Operands...), " ")
}

// commandHelp lists the commands with words, for the --help of the program itself.
func commandHelp(commands []Command) string {
	var rows [][]string
	for _, c := range commands {
		if c.Words != "" {
			rows = append(rows, []string{strings.Join(append([]string{c.Words}, c.Operands...), " "), c.Help})
		}
	}
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\ncommands, each with a --help of its own\n")
	widths := columnWidths(rows)
	for _, row := range rows {
		b.WriteString(columns(row, widths))
	}
	return b.String()
}
