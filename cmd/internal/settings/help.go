package settings

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

const helpHead = `usage: %s

Each setting is read from its default, then from the YAML file that --config names, then from the
environment, then from the flags; what comes later wins. A list separates its items by commas.

`

// printHelp lists every setting under its group: flag, YAML key, environment, default, and below
// them what it is for. The program itself also lists its commands.
func printHelp(out io.Writer, program string, c *Command, all []Command, fields []*field) (int, error) {
	rows := [][]string{{"FLAG", "YAML KEY", "ENVIRONMENT", "DEFAULT"}}
	for _, f := range fields {
		rows = append(rows, helpRow(f))
	}
	general := [][]string{
		{"--" + configFlag + " string", "", configEnv, ""},
		{"--" + printFlag, "", "", ""},
		{"--" + versionFlag, "", "", ""},
		{"--" + helpFlag, "", "", ""},
	}
	widths := columnWidths(append(rows, general...))

	var b strings.Builder
	fmt.Fprintf(&b, helpHead, c.usage(program))
	if c.Words != "" {
		b.WriteString(c.Help + ".\n\n")
	}
	b.WriteString(columns(rows[0], widths))
	for _, group := range groupsOf(fields) {
		if group != "" {
			fmt.Fprintf(&b, "\n%s\n", group)
		}
		for i, f := range fields {
			if f.group == group {
				b.WriteString(columns(rows[i+1], widths) + describe(f))
			}
		}
	}
	b.WriteString("\ngeneral\n")
	for i, help := range []string{"YAML file with settings", "print every setting as it counts and where it comes from, and end", "print the version and end", "print this and end"} {
		b.WriteString(columns(general[i], widths) + "        " + help + "\n")
	}
	if c.Words == "" {
		b.WriteString(commandHelp(all))
	}
	return io.WriteString(out, b.String())
}

// helpRow returns the cells of one setting. The value of a secret is not shown, not even a default.
func helpRow(f *field) []string {
	flag := "-"
	if f.name != "" {
		flag = "--" + f.name
		if kind := kindOf(f.dest); kind != "bool" {
			flag += " " + kind
		}
	}
	fallback := f.fallback
	if f.secret {
		fallback = ""
	}
	return []string{flag, f.name, strings.Join(f.envs, ", "), fallback}
}

// describe returns the line below a setting.
func describe(f *field) string {
	help := f.help
	if f.live {
		help += " (may change while it runs)"
	}
	if f.secret {
		help = strings.TrimSpace(help + " (secret: never printed)")
	}
	if help == "" {
		return ""
	}
	return "        " + help + "\n"
}

// groupsOf returns the groups in the order in which they first appear; the unnamed one is first.
func groupsOf(fields []*field) []string {
	groups := []string{""}
	for _, f := range fields {
		if !slices.Contains(groups, f.group) {
			groups = append(groups, f.group)
		}
	}
	return groups
}

// columnWidths returns the width of the widest cell of each column.
func columnWidths(rows [][]string) []int {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	return widths
}

// columns lays one row out, without blanks at its end.
func columns(row []string, widths []int) string {
	var b strings.Builder
	for i, cell := range row {
		fmt.Fprintf(&b, "  %-*s", widths[i], cell)
	}
	return strings.TrimRight(b.String(), " ") + "\n"
}
