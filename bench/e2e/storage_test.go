//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// mayNotJoin is an access key for everything but storage sessions.
const mayNotJoin = `{"access_key_id":"OUTSIDER","secret_access_key":"outsider-secret","policy":{"Version":"2012-10-17","Statement":[` +
	`{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"kinesisvideo:JoinStorageSession*","Resource":"*"}]}}`

// TestStorageConformance holds the storage session's API against the official AWS SDK for JavaScript v3,
// as TestConformance does the others; and for each success an offer comes over the caller's websocket.
func TestStorageConformance(t *testing.T) {
	packageFile(t, "@aws-sdk/client-kinesis-video-webrtc-storage/package.json")
	key := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(key, []byte(mayNotJoin), 0o600); err != nil {
		t.Fatal(err)
	}
	normal := newServiceWith(t, service.Config{Limits: service.Limits{RequestRates: 100}})
	about := map[string]any{"region": normal.Region}
	roots := normal.CAPEM
	about["normal"] = endpointOf(normal)
	for name, cfg := range map[string]service.Config{"limited": {Limits: service.Limits{RequestRates: 0.001}}, "denied": {KeyFile: key}} {
		s := newServiceWith(t, cfg)
		about[name] = endpointOf(s)
		roots = append(roots, s.CAPEM...)
	}
	stored := storing(t, normal, "stored")
	about["stored"], about["empty"], about["plain"] = stored, storing(t, normal, "empty"), storing(t, normal, "")
	sockets := map[string]*offerCount{}
	for _, id := range []string{"", "v1", "v2", "v3", "v4"} {
		sockets[id] = countOffers(t, normal, stored, id)
	}
	got := runStorage(t, about, roots)
	judgeStorage(t, got)
	// A client that joins again before it was made an offer gets the second one alone.
	for id, joins := range map[string]int64{"": 2, "v1": 1, "v2": 2, "v3": 1, "v4": 0} {
		eventually(t, startWithin, fmt.Sprintf("an offer for %d joins has come to %q", joins, id), func() error {
			if n := sockets[id].offers.Load(); n < min(joins, 1) || n > joins {
				return fmt.Errorf("%d offers", n)
			}
			return nil
		})
		if n := sockets[id].senders.Load(); n != 0 {
			t.Errorf("%d messages to %q name a sender", n, id)
		}
	}
}

func endpointOf(s *service.Service) map[string]any {
	return map[string]any{"endpoint": s.PublicURL, "credentials": map[string]string{
		"accessKeyId": s.Credentials.AccessKeyID, "secretAccessKey": s.Credentials.SecretAccessKey,
	}}
}

// storing makes a channel that is mapped to a stream of the same name; without a name one that is not.
func storing(t *testing.T, s *service.Service, name string) (arn string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CA}}
	t.Cleanup(transport.CloseIdleConnections)
	sdk := kinesisvideo.New(kinesisvideo.Options{
		Region: s.Region, BaseEndpoint: &s.PublicURL, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider(s.Credentials.AccessKeyID, s.Credentials.SecretAccessKey, ""),
	})
	made, err := sdk.CreateSignalingChannel(t.Context(), &kinesisvideo.CreateSignalingChannelInput{ChannelName: sdkaws.String("ch-" + name)})
	if err != nil {
		t.Fatal(err)
	}
	if name == "" {
		return *made.ChannelARN
	}
	stream, err := sdk.CreateStream(t.Context(), &kinesisvideo.CreateStreamInput{StreamName: &name, DataRetentionInHours: sdkaws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = sdk.UpdateMediaStorageConfiguration(t.Context(), &kinesisvideo.UpdateMediaStorageConfigurationInput{
		ChannelARN: made.ChannelARN, MediaStorageConfiguration: &types.MediaStorageConfiguration{Status: types.MediaStorageConfigurationStatusEnabled, StreamARN: stream.StreamARN},
	})
	if err != nil {
		t.Fatal(err)
	}
	return *made.ChannelARN
}

// offerCount is what has come over one websocket.
type offerCount struct{ offers, senders atomic.Int64 }

// countOffers connects a websocket that reads until the test ends.
func countOffers(t *testing.T, s *service.Service, arn, clientID string) *offerCount {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	url, err := aws.PresignWebSocket(ctx, "wss"+strings.TrimPrefix(s.PublicURL, "https"), arn, clientID, s.Credentials, s.Region, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	socket, err := signaling.Dial(ctx, url, signaling.DialOptions{TLS: &tls.Config{RootCAs: s.CA}})
	if err != nil {
		t.Fatal(err)
	}
	count := &offerCount{}
	var group actors.Group
	group.Go("socket", func() error {
		for {
			m, err := socket.Read(ctx)
			if err != nil {
				return nil // closed at the end of the test
			}
			if m.MessageType == signaling.SDPOffer {
				count.offers.Add(1)
			}
			if m.SenderClientID != "" {
				count.senders.Add(1)
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = socket.Close()
		_ = group.Wait()
	})
	return count
}

func runStorage(t *testing.T, about map[string]any, roots []byte) (got conformance) {
	t.Helper()
	text, err := json.Marshal(about)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, roots, 0o600); err != nil {
		t.Fatal(err)
	}
	out := runNode(t, "storage.mjs", "NODE_EXTRA_CA_CERTS="+ca, "HELIOGRAPH_SERVICES="+string(text))
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("read what storage.mjs printed: %v\n%s", err, out)
	}
	return got
}

// judgeStorage prints and keeps the table, and misses the rows that should be there.
func judgeStorage(t *testing.T, got conformance) {
	t.Helper()
	failed := 0
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, r := range got.Rows {
		want := r.wantStatus()
		if r.Want == "AccessDeniedException" {
			want = http.StatusForbidden // this API's own (kvs-protocol.md 1.5)
		}
		mark := "ok"
		if r.Got != r.Want || r.Status != want {
			mark = "FAILED"
			failed++
			t.Errorf("%s, %s: %d %s, want %d %s: %s", r.Operation, r.Name, r.Status, r.Got, want, r.Want, r.Detail)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", r.Operation, r.Name, r.Want, r.Status, mark)
	}
	_ = w.Flush()
	t.Logf("%d rows, %d passed\n%s", len(got.Rows), len(got.Rows)-failed, table.String())
	keep(t, "conformance-storage.txt", table.Bytes())
	for operation, raises := range got.Raises {
		if len(raises) < 4 {
			t.Errorf("%s: the documented errors found are %q", operation, raises)
		}
		for _, want := range append([]string{"ok"}, raises...) {
			if !slices.ContainsFunc(got.Rows, func(r conformanceRow) bool { return r.Operation == operation && r.Want == want }) {
				t.Errorf("%s: no row for %s", operation, want)
			}
		}
	}
	if len(got.Raises) != 2 {
		t.Errorf("%d operations have rows, want 2", len(got.Raises))
	}
}
