//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// conformanceRow is one call through the SDK and how it ended.
type conformanceRow struct {
	Operation string `json:"operation"`
	Name      string `json:"name"`
	Want      string `json:"want"`
	Got       string `json:"got"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
}

func (r conformanceRow) passed() bool { return r.Got == r.Want && r.Status == r.wantStatus() }

// wantStatus is the HTTP status of an outcome (kvs-protocol.md 1.5).
func (r conformanceRow) wantStatus() int {
	switch r.Want {
	case "ok":
		return 200
	case "ResourceNotFoundException":
		return 404
	case "AccessDeniedException", "NotAuthorizedException":
		return 401
	}
	return 400
}

type conformance struct {
	Rows   []conformanceRow    `json:"rows"`
	Raises map[string][]string `json:"raises"` // by operation, as the SDK documents them
}

// unraised are exceptions without a row, and why.
var unraised = map[string]string{
	"DeviceStreamLimitExceededException": "documented as not implemented by AWS",
	"InvalidDeviceException":             "documented as not implemented by AWS",
	"InvalidClientException":             "AWS does not say when",
	"SessionExpiredException":            "AWS does not say of which session",
}

// TestConformance holds the service against the official AWS SDK for JavaScript v3: every operation's
// success and each error that the SDK documents for it.
func TestConformance(t *testing.T) {
	packageFile(t, "@aws-sdk/client-kinesis-video/package.json")
	packageFile(t, "@aws-sdk/client-kinesis-video-signaling/package.json")
	got := runConformance(t)
	failed := 0
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, r := range got.Rows {
		mark := "ok"
		if !r.passed() {
			mark = "FAILED"
			failed++
			t.Errorf("%s, %s: %d %s, want %d %s: %s", r.Operation, r.Name, r.Status, r.Got, r.wantStatus(), r.Want, r.Detail)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", r.Operation, r.Name, r.Want, r.Status, mark)
	}
	_ = w.Flush()
	t.Logf("%d rows, %d passed\n%s", len(got.Rows), len(got.Rows)-failed, table.String())
	keep(t, "conformance.txt", table.Bytes())
	checkComplete(t, got)
}

// checkComplete misses the rows that should be there.
func checkComplete(t *testing.T, got conformance) {
	t.Helper()
	const operations = 25
	if len(got.Raises) < operations {
		t.Errorf("%d operations have rows, want %d", len(got.Raises), operations)
	}
	for operation, raises := range got.Raises {
		if len(raises) == 0 {
			t.Errorf("%s: no documented errors were found", operation)
		}
		for _, want := range append([]string{"ok"}, raises...) {
			if unraised[want] == "" && !slices.ContainsFunc(got.Rows, func(r conformanceRow) bool { return r.Operation == operation && r.Want == want }) {
				t.Errorf("%s: no row for %s", operation, want)
			}
		}
	}
}

func runConformance(t *testing.T) (got conformance) {
	t.Helper()
	services := map[string]any{}
	var roots []byte
	for name, cfg := range map[string]service.Config{
		"normal":  {Limits: service.Limits{RequestRates: 100}, Dir: twoKeys(t)},
		"limited": {Limits: service.Limits{RequestRates: 0.001}},
		"slow":    {Limits: service.Limits{RequestRates: 100, Transition: time.Hour, ChannelsMax: 1, StreamsMax: 1}},
	} {
		s := newServiceWith(t, cfg)
		roots = append(roots, s.CAPEM...)
		services["region"] = s.Region
		if name == "normal" {
			services["master"] = answering(t, s)
			services["denied"] = target(s, deniedKey, deniedSecret)
		}
		services[name] = target(s, s.Credentials.AccessKeyID, s.Credentials.SecretAccessKey)
	}
	text, err := json.Marshal(services)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, roots, 0o600); err != nil {
		t.Fatal(err)
	}
	out := runNode(t, "conformance.mjs", "NODE_EXTRA_CA_CERTS="+ca, "HELIOGRAPH_SERVICES="+string(text))
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("read what conformance.mjs printed: %v\n%s", err, out)
	}
	return got
}

// target is a service as the holder of a key sees it.
func target(s *service.Service, id, secret string) map[string]any {
	return map[string]any{"endpoint": s.PublicURL, "credentials": map[string]string{"accessKeyId": id, "secretAccessKey": secret}}
}

const deniedKey, deniedSecret = "DENIED", "secret-of-the-denied"

// twoKeys is a data directory with a key for everything and one that a Deny takes everything from.
func twoKeys(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	type key struct {
		ID     string          `json:"access_key_id"`
		Secret string          `json:"secret_access_key"`
		Policy json.RawMessage `json:"policy"`
	}
	const nothing = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"kinesisvideo:*","Resource":"*"}]}`
	text, err := json.Marshal(map[string]any{"relay_secret": "relay", "session_secret": "session", "keys": []key{
		{"ALLOWED", "secret-of-the-allowed", json.RawMessage(aws.Everything)}, {deniedKey, deniedSecret, json.RawMessage(nothing)},
	}})
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "keys.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// answering connects a master that answers each offer with the offer itself, and gives its channel.
func answering(t *testing.T, s *service.Service) (arn string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	arn, err := kvs(t, s).CreateChannel(ctx, s.Credentials, "with-master")
	if err != nil {
		t.Fatal(err)
	}
	url, err := aws.PresignWebSocket(ctx, "wss"+strings.TrimPrefix(s.PublicURL, "https"), arn, "", s.Credentials, s.Region, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	master, err := signaling.Dial(ctx, url, signaling.DialOptions{TLS: &tls.Config{RootCAs: s.CA}})
	if err != nil {
		t.Fatal(err)
	}
	var group actors.Group
	group.Go("master", func() error {
		for {
			m, err := master.Read(ctx)
			if err != nil {
				return nil // closed at the end of the test
			}
			if err := master.Write(ctx, signaling.Outbound{Action: signaling.SDPAnswer, RecipientClientID: m.SenderClientID, Payload: m.Payload}); err != nil {
				return err
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = master.Close()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
	return arn
}

// runNode runs a script of testdata with nothing of this process's environment but what node needs.
func runNode(t *testing.T, script string, env ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), nodeWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t, "node", "nodejs"), filepath.Join("testdata", script))
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AWS_EC2_METADATA_DISABLED=true"}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("run %s: %v\n%s", script, err, strings.TrimSpace(errs.String()))
	}
	return out.Bytes()
}
