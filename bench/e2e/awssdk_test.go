//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const nodeWithin = 60 * time.Second

// fault is an error as the SDK raises it to its user.
type fault struct {
	Name   string `json:"name"`
	Status int    `json:"status"`
}

type controlResult struct {
	Created   []string          `json:"created"`
	Described map[string]any    `json:"described"`
	Listed    []string          `json:"listed"`
	Begins    []string          `json:"begins"`
	Endpoints map[string]string `json:"endpoints"`
	Ice       []struct {
		Uris     []string `json:"Uris"`
		Username string   `json:"Username"`
		Password string   `json:"Password"`
		TTL      int      `json:"Ttl"`
	} `json:"ice"`
	After  []string         `json:"after"`
	Faults map[string]fault `json:"faults"`
}

// TestAWSSDK: the official AWS SDK for JavaScript v3, unmodified, in Node.js, trusting the service's CA.
func TestAWSSDK(t *testing.T) {
	packageFile(t, "@aws-sdk/client-kinesis-video/package.json")
	packageFile(t, "@aws-sdk/client-kinesis-video-signaling/package.json")
	s := newService(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.CAPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	got := runControl(t, "NODE_EXTRA_CA_CERTS="+ca, "HELIOGRAPH_ENDPOINT="+s.PublicURL, "AWS_REGION="+s.Region,
		"AWS_ACCESS_KEY_ID="+s.Credentials.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+s.Credentials.SecretAccessKey)

	for i, arn := range got.Created {
		if !strings.HasPrefix(arn, "arn:aws:kinesisvideo:"+s.Region+":") || !strings.Contains(arn, ":channel/e2e-"+string('a'+rune(i))+"/") {
			t.Errorf("created ARN %q", arn)
		}
	}
	want := []string{"e2e-a", "e2e-b", "e2e-c"}
	if slices.Sort(got.Listed); !slices.Equal(got.Listed, want) {
		t.Errorf("listed %q over pages of two, want %q", got.Listed, want)
	}
	if !slices.Equal(got.Begins, []string{"e2e-b"}) {
		t.Errorf("listed %q that begin with e2e-b", got.Begins)
	}
	if !slices.Equal(got.After, []string{"e2e-b", "e2e-c"}) {
		t.Errorf("listed %q after the deletion", got.After)
	}
	for key, value := range map[string]any{"ChannelName": "e2e-a", "ChannelStatus": "ACTIVE", "ChannelType": "SINGLE_MASTER", "ChannelARN": got.Created[0], "ttl": 90.0, "recent": true} {
		if got.Described[key] != value {
			t.Errorf("described %s as %v, want %v", key, got.Described[key], value)
		}
	}
	checkEndpoints(t, got)
	for what, want := range map[string]fault{
		"duplicate":      {"ResourceInUseException", 400},
		"missing":        {"ResourceNotFoundException", 404},
		"deleted":        {"ResourceNotFoundException", 404},
		"wrongSecret":    {"InvalidSignatureException", 403},
		"wrongKey":       {"UnrecognizedClientException", 403},
		"invalidName":    {"InvalidArgumentException", 400},
		"wrongSignaling": {"InvalidSignatureException", 403},
	} {
		if got.Faults[what] != want {
			t.Errorf("%s: %+v, want %+v", what, got.Faults[what], want)
		}
	}
}

func checkEndpoints(t *testing.T, got controlResult) {
	t.Helper()
	for protocol, scheme := range map[string]string{"WSS": "wss://", "HTTPS": "https://"} {
		if !strings.HasPrefix(got.Endpoints[protocol], scheme) {
			t.Errorf("the %s endpoint is %q", protocol, got.Endpoints[protocol])
		}
	}
	if len(got.Ice) == 0 {
		t.Error("no ICE servers")
	}
	var uris []string
	for _, server := range got.Ice {
		uris = append(uris, server.Uris...)
		if server.Username == "" || server.Password == "" || server.TTL < 30 || server.TTL > 86400 {
			t.Errorf("ICE server %v: user name %v, password %v, TTL %d", server.Uris, server.Username != "", server.Password != "", server.TTL)
		}
	}
	// AWS's two servers of three URIs each, in its order (kvs-protocol.md 2.1).
	forms := []string{"turn:*?transport=udp", "turns:*?transport=udp", "turns:*?transport=tcp"}
	for i, uri := range uris {
		scheme, transport, _ := strings.Cut(forms[i%len(forms)], "*")
		if len(got.Ice) != 2 || len(uris) != 6 || !strings.HasPrefix(uri, scheme) || !strings.HasSuffix(uri, transport) {
			t.Errorf("URI %d of %d in %d servers is %q, want the form %q", i, len(uris), len(got.Ice), uri, forms[i%len(forms)])
		}
	}
}

// runControl runs testdata/control.mjs.
func runControl(t *testing.T, env ...string) controlResult {
	t.Helper()
	out := runNode(t, "control.mjs", env...)
	var got controlResult
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("read what control.mjs printed: %v\n%s", err, out)
	}
	if len(got.Created) != 3 {
		t.Fatalf("created %q, want three channels", got.Created)
	}
	return got
}
