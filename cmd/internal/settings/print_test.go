package settings

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestPrintConfig holds the whole text: where each value comes from is what a user asks it for.
func TestPrintConfig(t *testing.T) {
	_, out, err := load(t, "viewers-max: 3\norigin: ['http://b,c']\n", "AWS_KVS_CHANNEL_NAME=yard AWS_SECRET_ACCESS_KEY=s3cret", "--timeout 1m --whep-token t0ken --print-config")
	if !errors.Is(err, ErrDone) {
		t.Fatal(err)
	}
	lines := strings.SplitN(out, "\n", 3)
	if lines[0] != "# heliograph-test "+Version() || !strings.HasPrefix(lines[1], "# config: /") {
		t.Errorf("begins with %q", lines[:2])
	}
	file := strings.TrimPrefix(lines[1], "# config: ")
	want := strings.ReplaceAll(`
# signaling
channel: yard                     # environment AWS_KVS_CHANNEL_NAME
viewers-max: 3                    # FILE:1
# AWS_SECRET_ACCESS_KEY: (secret)  # environment AWS_SECRET_ACCESS_KEY
# whep-token: (secret)            # flag --whep-token
# RETRIES: 0                      # default

# media
twcc: true                        # default
loss: 0                           # default
timeout: 1m0s                     # flag --timeout
origin: ["http://b,c"]            # FILE:2

# logging
log-level: info                   # default
`, "FILE", file)
	if got := folded(lines[2]); got != folded(want) {
		t.Errorf("got:\n%s\nwant:\n%s", lines[2], want)
	}
	for _, secret := range []string{"s3cret", "t0ken"} {
		if strings.Contains(out, secret) {
			t.Errorf("it shows %q", secret)
		}
	}
}

// folded folds the blanks that align comments.
func folded(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
	}
	return b.String()
}

// What is printed is a file that gives the same settings.
func TestPrintConfigReadBack(t *testing.T) {
	type all struct {
		Text    string              `flag:"text"`
		Colon   string              `flag:"colon" default:":0"`
		Nothing string              `flag:"nothing" default:"x"`
		Null    string              `flag:"null" default:"null"`
		Size    int                 `flag:"size" default:"7"`
		List    []string            `flag:"list" default:"a b,c: d"`
		Empty   []string            `flag:"empty" default:"a"`
		Map     map[string][]string `flag:"map"`
	}
	args := []string{"--text", `exec:say "a" | tee 'b' # c`, "--nothing=", "--empty=", "--map", "op-*=x, y", "--map=left=/bin/ptz -1"}
	var want, got all
	var out strings.Builder
	if err := Load("x", &want, args, nil, &out); err != nil {
		t.Fatal(err)
	}
	if err := Load("x", new(all), append(args, "--print-config"), nil, &out); !errors.Is(err, ErrDone) {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "printed.yaml")
	if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Load("x", &got, []string{"--config", path}, nil, &out); err != nil {
		t.Fatalf("%v in\n%s", err, out.String())
	}
	if len(got.Empty) == 0 {
		got.Empty = want.Empty // an empty list, or none
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v\nfrom\n%s", got, want, out.String())
	}
}

// A password in an address is no setting of its own, and a secret all the same.
func TestPrintConfigMasksLogins(t *testing.T) {
	_, out, err := load(t, "", "AWS_KVS_CHANNEL_NAME=rtsp://me:s3cret@camera/1", "--print-config")
	if !errors.Is(err, ErrDone) || strings.Contains(out, "s3cret") || !strings.Contains(out, "\n# channel: rtsp://***@camera/1 ") {
		t.Errorf("%v, printed:\n%s", err, out)
	}
}

func TestPrintConfigErrors(t *testing.T) {
	_, out, err := load(t, "", "AWS_MAX_VIEWER_NUM=ten", "--print-config")
	if err == nil || errors.Is(err, ErrDone) || out != "" {
		t.Errorf("bad settings: %v, printed %q", err, out)
	}
}
