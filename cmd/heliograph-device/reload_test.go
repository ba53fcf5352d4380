package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/device"
)

// actAs in the environment makes the tests' program the device.
const actAs = "HELIOGRAPH_TEST_DEVICE"

func TestMain(m *testing.M) {
	if os.Getenv(actAs) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// daemon is a device that runs as a process.
type daemon struct {
	cmd   *exec.Cmd
	lines chan map[string]any // of its log; closed at its end
	admin string
}

// newDaemon starts the device and returns when its admin door is open.
func (c *clinic) newDaemon(t *testing.T, args ...string) *daemon {
	t.Helper()
	d := &daemon{cmd: exec.CommandContext(t.Context(), os.Args[0], append(args, "--admin", "127.0.0.1:0", "--log-format", "json")...), lines: make(chan map[string]any, 1024)}
	d.cmd.Env = append(os.Environ(), actAs+"=1")
	for name, value := range c.env {
		d.cmd.Env = append(d.cmd.Env, name+"="+value)
	}
	d.cmd.Env = append(d.cmd.Env, "HELIOGRAPH_LOG_LEVEL=info")
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.lines)
		for log := bufio.NewScanner(stderr); log.Scan(); {
			var line map[string]any
			if json.Unmarshal(log.Bytes(), &line) == nil {
				d.lines <- line
			}
		}
	}()
	d.admin, _ = d.says(t, "admin door open")["url"].(string)
	return d
}

// says waits for a line of the log.
func (d *daemon) says(t *testing.T, what string) map[string]any {
	t.Helper()
	late := time.After(testWait)
	for {
		select {
		case line, more := <-d.lines:
			if text, _ := line["msg"].(string); strings.Contains(text, what) {
				return line
			}
			if !more {
				t.Fatalf("the device ended before it said %q", what)
			}
		case <-late:
			t.Fatalf("the device did not say %q", what)
		}
	}
}

func (d *daemon) viewersMax(t *testing.T) int {
	t.Helper()
	response, err := http.Get(d.admin)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var found device.Sessions
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil {
		t.Fatal(err)
	}
	return found.Census.Limit
}

// TestHangup: SIGHUP takes over what the file says now, all of it or nothing.
func TestHangup(t *testing.T) {
	c := newClinic(t)
	file := filepath.Join(t.TempDir(), "device.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("viewers-max: 5\n")
	d := c.newDaemon(t, "--config", file)
	hangup := func() {
		if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.viewersMax(t); got != 5 {
		t.Fatalf("%d viewers at most, want 5", got)
	}
	write("viewers-max: 2\naudio-sink: discard\nstorage-life: 5m\n")
	hangup()
	if line := d.says(t, "settings read again"); len(line["changed"].([]any)) != 1 {
		t.Errorf("%v", line)
	}
	if line := d.says(t, "needs a restart"); !strings.HasSuffix(line["msg"].(string), ": storage-life") {
		t.Errorf("%v", line)
	}
	if got := d.viewersMax(t); got != 2 {
		t.Errorf("%d viewers at most, want 2", got)
	}
	write("viewers-maximum: 3\n")
	hangup()
	if line := d.says(t, "settings refused"); !strings.Contains(line["error"].(string), "viewers-max") {
		t.Errorf("%v", line)
	}
	write("viewers-max: 3\ndata-grant: {a: exec:none}\n")
	hangup()
	d.says(t, "settings refused")
	if got := d.viewersMax(t); got != 2 {
		t.Errorf("%d viewers at most, want 2 still", got)
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for range d.lines { // until the end
	}
	if err := d.cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestBadInput: what cannot be meant ends the program with an error that helps.
func TestBadInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "device.yaml")
	if err := os.WriteFile(file, []byte("chanel: door\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no channel":      {nil, "set --channel"},
		"unknown flag":    {[]string{"--chanel", "door"}, "--channel"},
		"unknown key":     {[]string{"--config", file}, "channel"},
		"no file":         {[]string{"--config", file + ".none"}, "no such file"},
		"no number":       {[]string{"--channel", "door", "--viewers-max", "many"}, "many"},
		"unknown source":  {[]string{"--channel", "door", "--source", "webcam"}, "webcam"},
		"consent":         {[]string{"--channel", "door", "--consent-timeout", "1ms"}, "--consent-timeout must be from 1s to 5m"},
		"floor over roof": {[]string{"--channel", "door", "--bitrate-min", "2000000", "--bitrate-max", "1000000"}, "ceiling"},
		"unknown log":     {[]string{"--channel", "door", "--log-level", "loud"}, "loud"},
		"no such roots":   {[]string{"--channel", "door", "--ca-file", file + ".none"}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], append(c.args, "--admin", "")...)
			cmd.Env = []string{actAs + "=1", "PATH=" + os.Getenv("PATH"), "AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=secret"}
			var said strings.Builder
			cmd.Stderr = &said
			err := cmd.Run()
			if exit, ended := err.(*exec.ExitError); !ended || exit.ExitCode() != 1 || !strings.HasPrefix(said.String(), "heliograph-device: ") || !strings.Contains(said.String(), c.want) {
				t.Errorf("%v: %s", err, &said)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	var out strings.Builder
	if err := run([]string{"--version"}, nil, &out); err == nil || !strings.HasPrefix(out.String(), "heliograph-device ") {
		t.Errorf("%v, %q", err, out.String())
	}
}
