package settings

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// dispatch runs a program of three commands; said is the one that ran, with its settings and operands.
func dispatch(t *testing.T, args ...string) (said, printed string, err error) {
	t.Helper()
	type shared struct {
		Dir string `flag:"data-dir" env:"DIR" help:"where"`
	}
	var serving struct {
		shared
		Port int `flag:"port" default:"1" help:"which"`
	}
	var making struct {
		shared
		Force bool `flag:"force"`
	}
	var out strings.Builder
	err = Dispatch("program", []Command{
		{Config: &serving, Run: func([]string) error { said = "serve " + serving.Dir; return nil }},
		{Words: "thing make", Operands: []string{"NAME"}, Help: "make a thing", Config: &making, Run: func(o []string) error {
			said = "make " + strings.Join(o, ",") + " " + making.Dir
			return nil
		}},
		{Words: "thing", Help: "show things", Config: &shared{}, Run: func([]string) error { said = "show"; return nil }},
	}, args, nil, &out)
	return said, out.String(), err
}

func TestDispatch(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("data-dir: there\nport: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("prot: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, said, fault string }{
		{"", "serve ", ""},
		{"--data-dir d", "serve d", ""},
		{"thing", "show", ""},
		{"thing make cam", "make cam ", ""},
		{"thing make --data-dir d cam --force", "make cam d", ""},
		{"thing make cam --config " + file, "make cam there", ""},
		{"thing make cam --config " + wrong, "", "unknown key"},
		{"thing make", "", "NAME is missing: program thing make [flags] NAME"},
		{"thing make cam two", "", `unexpected argument "two"`},
		{"thing break", "", `unexpected argument "break"`},
		{"thing make cam --port 7", "", "unknown flag --port"},
		{"make cam --force", "", `unknown command "make cam"`},
		{"--data-dir d thing", "", `unexpected argument "thing"`},
	} {
		said, _, err := dispatch(t, strings.Fields(c.args)...)
		if said != c.said || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%q: %q %v, want %q %q", c.args, said, err, c.said, c.fault)
		}
	}
}

func TestHelpOfCommands(t *testing.T) {
	for args, want := range map[string]string{
		"--help":            "\ncommands, each with a --help of its own\n  thing make NAME  make a thing\n  thing            show things\n",
		"thing make --help": "usage: program thing make [flags] NAME\n",
		"thing -h":          "show things.\n",
	} {
		said, printed, err := dispatch(t, strings.Fields(args)...)
		if !errors.Is(err, ErrDone) || said != "" || !strings.Contains(printed, want) {
			t.Errorf("%s: %q %v, printed %s, want %q", args, said, err, printed, want)
		}
		if args != "--help" && strings.Contains(printed, "commands,") {
			t.Errorf("%s lists the commands", args)
		}
	}
}
