package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/cmd/internal/settings"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testWait = 20 * time.Second

// serving is a service with a channel called cam.
func serving(t *testing.T, cfg service.Config) *service.Service {
	t.Helper()
	cfg.Public, cfg.Local, cfg.RelayUDP, cfg.RelayTCP = "127.0.0.1:0", "127.0.0.1:0", service.Off, service.Off
	s, err := service.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testWait)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CA}, DisableKeepAlives: true}
	client := aws.NewClient(aws.ClientConfig{Region: s.Region, ControlPlane: s.PublicURL, HTTP: &http.Client{Transport: transport}})
	if _, err := client.CreateChannel(t.Context(), s.Credentials, "cam"); err != nil {
		t.Fatal(err)
	}
	return s
}

// command runs the program with a data directory and no environment.
func command(dir string, args ...string) (string, error) {
	var out strings.Builder
	err := run(append(args, "--data-dir", dir), nil, &out)
	return out.String(), err
}

func TestPresign(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's here")
	s := serving(t, service.Config{Dir: dir})
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	for args, id := range map[string]string{"": "", "--client-id v": "v", "--access-key " + s.Credentials.AccessKeyID: ""} {
		printed, err := command(dir, strings.Fields("presign --channel cam "+args)...)
		if err != nil {
			t.Fatal(err)
		}
		url := strings.TrimSuffix(printed, "\n")
		if !strings.HasPrefix(url, "wss://") || strings.Contains(url, "X-Amz-ClientId="+id) != (id != "") || strings.Contains(url, "\n") {
			t.Errorf("%q: not one address for client %q", args, id)
		}
		socket, err := signaling.Dial(ctx, url, signaling.DialOptions{TLS: &tls.Config{RootCAs: s.CA}})
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		_ = socket.Close()
	}
	for args, says := range map[string]string{
		"":                                  "--channel",
		"--channel nobody":                  "ResourceNotFoundException",
		"--channel cam --access-key NOBODY": `no key "NOBODY"`,
	} {
		if _, err := command(dir, strings.Fields("presign "+args)...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want it to say %q", args, err, says)
		}
	}
	if _, err := command(t.TempDir(), "presign", "--channel", "cam"); err == nil || !strings.Contains(err.Error(), "start heliograph-server") {
		t.Errorf("no service: %v, want it to name the remedy", err)
	}
}

// What is printed is for a shell, so a shell reads it.
func TestCreateThing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's here")
	before, err := command(dir, "iot", "create-thing", "early")
	if err != nil || !strings.HasPrefix(before, "# start heliograph-server with --iot") || strings.Contains(before, "export AWS_IOT_CORE_CREDENTIAL_ENDPOINT") {
		t.Errorf("before the service ran: %v %s", err, before)
	}
	s := serving(t, service.Config{Dir: dir, IoT: "127.0.0.1:0"})
	printed, err := command(dir, "iot", "create-thing", "cam", "--role-alias", "mine")
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sh", "-c", printed+`cat "$AWS_IOT_CORE_CERT" "$AWS_IOT_CORE_PRIVATE_KEY" "$AWS_KVS_CACERT_PATH" >/dev/null && echo "$AWS_IOT_CORE_CREDENTIAL_ENDPOINT $AWS_IOT_CORE_ROLE_ALIAS $AWS_IOT_CORE_THING_NAME"`)
	said, err := shell.CombinedOutput()
	if want := s.IoTEndpoint + " mine cam\n"; err != nil || string(said) != want {
		t.Errorf("%v, the shell says %q, want %q", err, said, want)
	}
	if withoutHTTPS("iot.local:443") != "iot.local" || withoutHTTPS("iot.local:8444") != "iot.local:8444" {
		t.Error("the port of HTTPS, and no other, is left out")
	}
}

func TestCreateRoleAliasReadsThePolicy(t *testing.T) {
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(file, []byte(aws.Everything), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := command(dir, "iot", "create-role-alias", "all", "--policy", file, "--duration", "15m"); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(filepath.Join(dir, "keys.json"))
	if err != nil || !strings.Contains(string(kept), `"credential_seconds": 900`) {
		t.Errorf("%v, keys.json lacks the alias", err)
	}
	if _, err := command(dir, "iot", "create-role-alias", "all", "--policy", file+"2"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such policy: %v", err)
	}
}

func TestFaultCommands(t *testing.T) {
	dir := t.TempDir()
	if _, err := command(dir, "fault", "list"); err == nil || !strings.Contains(err.Error(), "with --faults") {
		t.Errorf("no service: %v, want it to name the remedy", err)
	}
	o := options{data: data{Dir: dir}, Faults: true}
	cfg, err := o.config()
	if err != nil || cfg.Faults != filepath.Join(dir, "faults.sock") {
		t.Fatalf("socket at %q, %v", cfg.Faults, err)
	}
	if _, err := (options{Ephemeral: true, Faults: true}).config(); err == nil || !strings.Contains(err.Error(), "--fault-socket") {
		t.Errorf("--ephemeral --faults: %v, want it to name --fault-socket", err)
	}
	serving(t, service.Config{Dir: dir, Faults: cfg.Faults})
	set, err := command(dir, strings.Fields("fault delay --by 2s --channel cam --only SDP_ANSWER,SDP_OFFER --for 1m --probability 0.5 --seed 7")...)
	if want := `{"id":1,"kind":"delay","channel":"cam","only":["SDP_ANSWER","SDP_OFFER"],"for_s":60,"probability":0.5,"seed":7,"by_s":2,"struck":0,"left_s":`; err != nil || !strings.HasPrefix(set, want) {
		t.Errorf("%v, printed %s, want %s", err, set, want)
	}
	if _, err := command(dir, strings.Fields("fault clock --by -10m")...); err != nil {
		t.Error(err)
	}
	if listed, err := command(dir, "fault", "list"); err != nil || strings.Count(listed, "\n") != 2 || !strings.Contains(listed, `"by_s":-600`) {
		t.Errorf("%v, list printed %s", err, listed)
	}
	if ended, err := command(dir, "fault", "clear", "--id", "1"); err != nil || !strings.HasPrefix(ended, `{"id":1,`) {
		t.Errorf("%v, clear printed %s", err, ended)
	}
	if ended, err := command(dir, "fault", "clear"); err != nil || !strings.HasPrefix(ended, `{"id":2,`) {
		t.Errorf("%v, clear printed %s", err, ended)
	}
	for args, says := range map[string]string{"earthquake": `"earthquake"`, "cut --seed -1": "--seed", "cut --status 500": "no status"} {
		if _, err := command(dir, strings.Fields("fault "+args)...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("fault %s: %v, want it to say %s", args, err, says)
		}
	}
}

func TestLimitsReachTheService(t *testing.T) {
	var o options
	args := strings.Fields("--idle-max 1s --connection-max 2s --go-away-grace 3s --turn-ttl 4s --skew-max 5s --presign-max 6s --session-max 7s --transition 8s " +
		"--whep-answer-max 9s --whep-unseen-max 10s --connects-rate 11 --descriptions-rate 12 --candidates-rate 13 --requests-scale 14 --time-scale 15 --viewers 16 --unlimited")
	if err := settings.Load("heliograph-server", &o, args, nil, new(strings.Builder)); err != nil {
		t.Fatal(err)
	}
	cfg, err := o.config()
	want := service.Limits{
		IdleMax: time.Second, ConnectionMax: 2 * time.Second, GoAwayGrace: 3 * time.Second, TurnTTL: 4 * time.Second, SkewMax: 5 * time.Second,
		PresignMax: 6 * time.Second, SessionMax: 7 * time.Second, Transition: 8 * time.Second, WhepAnswerMax: 9 * time.Second, WhepUnseenMax: 10 * time.Second,
		ConnectsPerSecond: 11, DescriptionsPerSecond: 12, CandidatesPerSecond: 13, RequestRates: 14, TimeScale: 15, ViewersMax: 16, Unlimited: true,
	}
	if err != nil || cfg.Limits != want {
		t.Errorf("%v, limits %+v, want %+v", err, cfg.Limits, want)
	}
	if cfg.Faults != "" {
		t.Error("faults are on by default")
	}
}

func TestHelpListsTheCommands(t *testing.T) {
	var out strings.Builder
	if err := run([]string{"--help"}, nil, &out); !errors.Is(err, settings.ErrDone) {
		t.Fatal(err)
	}
	for _, c := range []string{"  presign ", "  iot create-thing NAME ", "  iot create-role-alias NAME ", "  repair ", "  fault KIND ", "  fault list ", "  fault clear ", "  --iot string ", "  --access-key-file string ", "  --data-dir string "} {
		if !strings.Contains(out.String(), "\n"+c) {
			t.Errorf("--help lacks %q", c)
		}
	}
}
