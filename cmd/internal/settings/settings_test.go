package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// logging stands for the settings that several programs share.
type logging struct {
	Level string `flag:"log-level" env:"AWS_KVS_LOG_LEVEL,HELIOGRAPH_LOG_LEVEL" default:"info" help:"least level that is logged"`
}

// config has a field of every kind.
type config struct {
	Channel  string        `group:"signaling" flag:"channel" env:"AWS_KVS_CHANNEL_NAME,HELIOGRAPH_CHANNEL" default:"demo" help:"name of the signaling channel"`
	Viewers  int           `group:"signaling" flag:"viewers-max" env:"AWS_MAX_VIEWER_NUM" default:"10" help:"viewers at one time"`
	Secret   string        `group:"signaling" env:"AWS_SECRET_ACCESS_KEY" secret:"true" help:"secret access key"`
	Token    string        `group:"signaling" flag:"whep-token" secret:"true" default:"builtin-secret"`
	Retries  int           `env:"RETRIES" secret:"true"`
	TWCC     bool          `group:"media" flag:"twcc" env:"ENABLE_TWCC_SUPPORT" default:"true" help:"transport-wide congestion control"`
	Loss     float64       `group:"media" flag:"loss" env:"LOSS" help:"share of packets to drop"`
	Timeout  time.Duration `group:"media" flag:"timeout" env:"TIMEOUT" default:"20s" help:"time for one viewer to connect"`
	Origins  []string      `group:"media" flag:"origin" env:"ORIGINS" default:"http://a" help:"allowed origins"`
	Logging  logging       `group:"logging"`
	Computed map[string]int
}

func defaults() config {
	return config{Channel: "demo", Viewers: 10, Token: "builtin-secret", TWCC: true, Timeout: 20 * time.Second, Origins: []string{"http://a"}, Logging: logging{"info"}}
}

// load runs Load with a YAML file made of the given text; empty means no file.
func load(t *testing.T, yaml, environ, args string) (config, string, error) {
	t.Helper()
	words := strings.Fields(args)
	if yaml != "" {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		words = append(words, "--config", path)
	}
	var c config
	var out strings.Builder
	err := Load("heliograph-test", &c, words, strings.Fields(environ), &out)
	return c, out.String(), err
}

func TestLoad(t *testing.T) {
	for _, c := range []struct {
		name, yaml, environ, args string
		want                      func(*config)
	}{
		{"defaults", "", "", "", func(*config) {}},
		{"file over default", "channel: yard\n", "", "", func(c *config) { c.Channel = "yard" }},
		{"environment over file", "channel: yard\n", "AWS_KVS_CHANNEL_NAME=door", "", func(c *config) { c.Channel = "door" }},
		{"flag over environment", "channel: yard\n", "AWS_KVS_CHANNEL_NAME=door", "--channel gate", func(c *config) { c.Channel = "gate" }},
		{"first environment name wins", "", "HELIOGRAPH_CHANNEL=b AWS_KVS_CHANNEL_NAME=a", "", func(c *config) { c.Channel = "a" }},
		{"second environment name", "", "HELIOGRAPH_CHANNEL=b", "", func(c *config) { c.Channel = "b" }},
		{"empty environment is not set", "", "AWS_KVS_CHANNEL_NAME= HELIOGRAPH_CHANNEL=b", "", func(c *config) { c.Channel = "b" }},
		{"value joined to its flag", "", "", "--channel=a=b -viewers-max=3", func(c *config) { c.Channel, c.Viewers = "a=b", 3 }},
		{"empty value", "", "", "--channel=", func(c *config) { c.Channel = "" }},
		{"negative value", "", "", "--viewers-max -1", func(c *config) { c.Viewers = -1 }},
		{"last flag wins", "", "", "--channel a --channel b", func(c *config) { c.Channel = "b" }},
		{"bool alone", "twcc: false\n", "", "--twcc --channel x", func(c *config) { c.Channel = "x" }},
		{"bool with a value", "", "", "--twcc=false", func(c *config) { c.TWCC = false }},
		{"bool spellings", "", "ENABLE_TWCC_SUPPORT=OFF", "", func(c *config) { c.TWCC = false }},
		{"all kinds from the file", "loss: 0.25\ntimeout: 1m\ntwcc: no\nviewers-max: 3\n", "", "",
			func(c *config) { c.Loss, c.Timeout, c.TWCC, c.Viewers = 0.25, time.Minute, false, 3 }},
		{"file's text as written", "channel: 007\nlog-level: '3'\n", "", "", func(c *config) { c.Channel, c.Logging.Level = "007", "3" }},
		{"file's block text", "channel: |-\n  yard\n", "", "", func(c *config) { c.Channel = "yard" }},
		{"file's key without value", "channel:\n", "", "", func(*config) {}},
		{"file of comments", "# nothing yet\n", "", "", func(*config) {}},
		{"list replaces default", "origin: [http://b, 'http://c,d']\n", "", "", func(c *config) { c.Origins = []string{"http://b", "http://c,d"} }},
		{"list in one line", "origin: http://b, http://c\n", "", "", func(c *config) { c.Origins = []string{"http://b", "http://c"} }},
		{"empty list", "origin: []\n", "", "", func(c *config) { c.Origins = []string{} }},
		{"list of the environment", "origin: [http://b]\n", "ORIGINS=http://c,http://d", "", func(c *config) { c.Origins = []string{"http://c", "http://d"} }},
		{"repeated flag adds", "", "ORIGINS=http://c", "--origin http://e --origin http://f,http://g",
			func(c *config) { c.Origins = []string{"http://e", "http://f", "http://g"} }},
		{"secret of the environment", "", "AWS_SECRET_ACCESS_KEY=s3cret", "", func(c *config) { c.Secret = "s3cret" }},
		{"nested struct", "", "AWS_KVS_LOG_LEVEL=4", "", func(c *config) { c.Logging.Level = "4" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := defaults()
			c.want(&want)
			got, out, err := load(t, c.yaml, c.environ, c.args)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if out != "" {
				t.Errorf("printed %q", out)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	for _, c := range []struct {
		name, yaml, environ, args string
		want                      string
	}{
		{"unknown flag", "", "", "--chanel x", "unknown flag --chanel; did you mean --channel?"},
		{"swapped letters", "", "", "--tcwc", "unknown flag --tcwc; did you mean --twcc?"},
		{"far flag", "", "", "--frobnicate", "unknown flag --frobnicate; --help lists all"},
		{"secret has no flag", "", "", "--secret-access-key x", "unknown flag"},
		{"unknown key", "channel: a\nviewer-max: 3\n", "", "", "config.yaml:2: viewer-max: unknown key; did you mean viewers-max?"},
		{"duplicate key", "channel: a\nchannel: b\n", "", "", "channel"},
		{"missing value", "", "", "--channel", "flag --channel: a value is missing"},
		{"stray word", "", "", "demo", `unexpected argument "demo"`},
		{"bare dashes", "", "", "--", `unexpected argument "--"`},
		{"bad flag", "", "", "--viewers-max ten", `flag --viewers-max: want a whole number, got "ten"`},
		{"bad environment", "", "AWS_MAX_VIEWER_NUM=ten", "", `environment AWS_MAX_VIEWER_NUM: want a whole number, got "ten"`},
		{"bad file value", "\ntimeout: soon\n", "", "", `config.yaml:2: timeout: want a duration such as "500ms", "20s" or "1h30m", got "soon"`},
		{"bad number", "", "", "--loss x", `flag --loss: want a number, got "x"`},
		{"bad bool", "", "", "--twcc=maybe", `flag --twcc: want true or false, got "maybe"`},
		{"list for one value", "channel: [a]\n", "", "", "config.yaml:1: channel: want one value, not a list"},
		{"nested key", "channel:\n  name: a\n", "", "", "config.yaml:1: channel: want a plain value or a list, not a mapping"},
		{"list of maps", "origin:\n- a: b\n", "", "", "config.yaml:1: origin: want a list of plain values"},
		{"file that is a list", "- a\n", "", "", "want lines of the form key: value"},
		{"broken file", "channel: [\n", "", "", "parse config file"},
		{"two documents", "channel: a\n---\nchannel: b\n", "", "", "one YAML document"},
		{"no such file", "", "", "--config /nowhere.yaml", "read config file"},
		{"no such file in the environment", "", "HELIOGRAPH_CONFIG=/nowhere.yaml", "", "read config file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := load(t, c.yaml, c.environ, c.args)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

func TestSecretsStaySecret(t *testing.T) {
	_, out, err := load(t, "", "AWS_SECRET_ACCESS_KEY=s3cret", "--whep-token t0ken --help")
	if !errors.Is(err, ErrDone) {
		t.Fatal(err)
	}
	for _, secret := range []string{"s3cret", "t0ken", "builtin-secret"} {
		if strings.Contains(out, secret) {
			t.Errorf("--help shows %q", secret)
		}
	}
	_, _, err = load(t, "", "RETRIES=s3cret", "")
	if err == nil || !strings.Contains(err.Error(), "environment RETRIES: want a whole number") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error of a bad secret: %v", err)
	}
}

// TestHelp holds the whole text, for its columns are what a user reads first.
func TestHelp(t *testing.T) {
	var c struct {
		Quiet   bool   `flag:"quiet" help:"say less"`
		Channel string `group:"signaling" flag:"channel" env:"AWS_KVS_CHANNEL_NAME,HELIOGRAPH_CHANNEL" default:"demo" help:"name of the signaling channel"`
		Secret  string `env:"SECRET" secret:"true" help:"secret access key"`
		Media   struct {
			Timeout time.Duration `flag:"timeout" default:"20s"`
		} `group:"media"`
		Token string `group:"signaling" flag:"token" secret:"true" default:"x"`
	}
	var out strings.Builder
	if err := Load("heliograph-test", &c, []string{"--help"}, nil, &out); !errors.Is(err, ErrDone) {
		t.Fatal(err)
	}
	want := fmt.Sprintf(helpHead, "heliograph-test [flags]") + `  FLAG                YAML KEY  ENVIRONMENT                               DEFAULT
  --quiet             quiet
        say less

signaling
  --channel string    channel   AWS_KVS_CHANNEL_NAME, HELIOGRAPH_CHANNEL  demo
        name of the signaling channel
  -                             SECRET
        secret access key (secret: never printed)
  --token string      token
        (secret: never printed)

media
  --timeout duration  timeout                                             20s

general
  --config string               HELIOGRAPH_CONFIG
        YAML file with settings
  --print-config
        print every setting as it counts and where it comes from, and end
  --version
        print the version and end
  --help
        print this and end
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestVersion(t *testing.T) {
	_, out, err := load(t, "", "", "--version")
	if !errors.Is(err, ErrDone) || !strings.HasPrefix(out, "heliograph-test ") || !strings.Contains(out, Version()) {
		t.Errorf("--version printed %q, returned %v", out, err)
	}
	version = "v1.2.3-dirty"
	defer func() { version = "" }()
	if !strings.HasPrefix(Version(), "v1.2.3-dirty (go") {
		t.Errorf("Version() = %q", Version())
	}
}

func TestHelpBeforeErrors(t *testing.T) {
	_, _, err := load(t, "nonsense: 1\n", "AWS_MAX_VIEWER_NUM=ten", "--help")
	if !errors.Is(err, ErrDone) {
		t.Errorf("--help with a bad file and environment: %v", err)
	}
}

func TestStructErrors(t *testing.T) {
	for name, cfg := range map[string]any{
		"want a pointer to a struct": config{},
		"field A: unsupported type uint8": &struct {
			A uint8 `flag:"a"`
		}{},
		"flag --a is taken by A": &struct {
			A, B string `flag:"a"`
		}{},
		"flag --help is taken by --help": &struct {
			A string `flag:"help"`
		}{},
		"default of A: want a whole number": &struct {
			A int `flag:"a" default:"x"`
		}{},
		"field hidden: unsupported type": &struct {
			hidden string `flag:"a"`
		}{},
	} {
		err := Load("heliograph-test", cfg, nil, nil, new(strings.Builder))
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got error %v, want %q", err, name)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"channel", "channel", 0}, {"chanel", "channel", 1}, {"twcc", "tcwc", 1}, {"loss", "boss", 1}, {"kitten", "sitting", 3}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestLogger(t *testing.T) {
	for _, level := range []string{"", "debug", "INFO", "warn", "error", "silent", "1", "4", "7"} {
		for _, format := range []string{"", "auto", "text", "json"} {
			if _, err := Logger(level, format); err != nil {
				t.Errorf("Logger(%q, %q): %v", level, format, err)
			}
		}
	}
	if _, err := Logger("loud", ""); err == nil || !strings.Contains(err.Error(), `"loud"`) {
		t.Errorf("unknown level: %v", err)
	}
	if _, err := Logger("", "xml"); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Errorf("unknown format: %v", err)
	}
}

// TestLoggerLevels holds both ways to write a level against what is then logged.
func TestLoggerLevels(t *testing.T) {
	for level, want := range map[string]string{"debug": "dwe", "2": "dwe", "warn": "we", "4": "we", "error": "e", "silent": "", "7": ""} {
		log, err := Logger(level, "json")
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if log.Check(-1, "") != nil {
			got += "d"
		}
		if log.Check(1, "") != nil {
			got += "w"
		}
		if log.Check(2, "") != nil {
			got += "e"
		}
		if got != want {
			t.Errorf("level %q logs %q, want %q", level, got, want)
		}
	}
}

// Grants and argument lists hold commas: no form of a map splits at them.
func TestMap(t *testing.T) {
	type mapped struct {
		Commands map[string][]string `flag:"command"`
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("command:\n  left: /bin/ptz  a,b\n  \"op-*\": [say, \"x, y\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want map[string][]string
		err  string
	}{
		{"file", nil, map[string][]string{"left": {"/bin/ptz", "a,b"}, "op-*": {"say", "x, y"}}, ""},
		{"flags replace it", []string{"--command", "a=b --c=d,e", "--command=f="}, map[string][]string{"a": {"b", "--c=d,e"}, "f": {}}, ""},
		{"twice", []string{"--command", "a=b", "--command", "a=c"}, nil, `flag --command: "a" is given twice`},
		{"no name", []string{"--command", "b"}, nil, `flag --command: want NAME=WORD WORD, got "b"`},
	} {
		var got mapped
		err := Load("x", &got, append([]string{"--config", path}, c.args...), nil, io.Discard)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got.Commands, c.want) {
			t.Errorf("%s: %v, %v", c.name, got.Commands, err)
		}
	}
	var bad struct {
		Commands map[string][]string `env:"COMMANDS"`
	}
	if err := Load("x", &bad, nil, nil, io.Discard); err == nil {
		t.Error("a map from the environment is taken")
	}
}
