package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// brief runs a service on a data directory while f works with it.
func brief(t *testing.T, dir string, f func(*service.Service, *aws.Client)) {
	t.Helper()
	s, err := service.Start(t.Context(), service.Config{Dir: dir, Public: "127.0.0.1:0", Local: "127.0.0.1:0", RelayUDP: service.Off, RelayTCP: service.Off})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CA}, DisableKeepAlives: true}
	f(s, aws.NewClient(aws.ClientConfig{Region: s.Region, ControlPlane: s.PublicURL, HTTP: &http.Client{Transport: transport}}))
	ctx, cancel := context.WithTimeout(context.Background(), testWait)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

// Damage, a refused start that names the command, the report, the repair, and a start with what was whole.
func TestRepair(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's here")
	arns := map[string]string{}
	brief(t, dir, func(s *service.Service, client *aws.Client) {
		for _, name := range []string{"door", "garden", "roof"} {
			arn, err := client.CreateChannel(t.Context(), s.Credentials, name)
			if err != nil {
				t.Fatal(err)
			}
			arns[name] = arn
		}
		if _, err := command(dir, "repair", "--yes"); err == nil || !strings.Contains(err.Error(), "stop the server") {
			t.Errorf("while the server runs: %v", err)
		}
	})
	if printed, err := command(dir, "repair", "--yes"); err != nil || !strings.Contains(printed, "intact") || strings.Contains(printed, "damage") {
		t.Errorf("an intact store: %v %s", err, printed)
	}
	block := filepath.Join(dir, "store", "jetstream", "$G", "streams", "KV_channels", "msgs", "1.blk")
	text, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(block, bytes.Replace(text, []byte(`"Name":"garden"`), []byte(`"Name":"gArden"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = service.Start(t.Context(), service.Config{Dir: dir, Public: "127.0.0.1:0", Local: "127.0.0.1:0", RelayUDP: service.Off, RelayTCP: service.Off})
	if err == nil || !strings.Contains(err.Error(), "heliograph-server repair") || !strings.Contains(err.Error(), "channel garden") {
		t.Fatalf("start on a damaged store: %v", err)
	}
	t.Logf("start: %v", err)
	if printed, err := command(dir, "repair"); err == nil || !strings.Contains(err.Error(), "--yes") || !strings.Contains(printed, "lost     channel garden\n") || strings.Contains(printed, "aside") {
		t.Errorf("the report: %v\n%s", err, printed)
	}
	printed, err := command(dir, "repair", "--yes")
	if err != nil || !strings.Contains(printed, "lost     channel garden\n") || !strings.Contains(printed, "intact   2\n") {
		t.Fatalf("the repair: %v\n%s", err, printed)
	}
	t.Logf("repair --yes:\n%s", printed)
	brief(t, dir, func(s *service.Service, client *aws.Client) {
		for name, arn := range arns {
			c, err := client.DescribeChannel(t.Context(), s.Credentials, name)
			if name == "garden" && !aws.IsType(err, "ResourceNotFoundException") || name != "garden" && (err != nil || c.ARN != arn) {
				t.Errorf("%s after the repair: %+v, %v, want %s", name, c, err, arn)
			}
		}
	})
	if aside, err := filepath.Glob(filepath.Join(dir, "store", "damaged-*", "jetstream.before")); err != nil || len(aside) != 1 {
		t.Errorf("aside: %q, %v", aside, err)
	}
}
