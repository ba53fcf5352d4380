package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/cmd/internal/doctor"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/api"
)

const testWait = 30 * time.Second

// clinic is a service and the environment of a device that goes there.
type clinic struct {
	*service.Service
	faults api.FaultClient
	env    map[string]string
}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	dir := t.TempDir()
	faults := filepath.Join(dir, "faults.sock")
	s, err := service.Start(t.Context(), service.Config{
		Public: "127.0.0.1:0", Local: "127.0.0.1:0", RelayUDP: "127.0.0.1:0", RelayTCP: "127.0.0.1:0", Faults: faults,
		Limits: service.Limits{Unlimited: true},
	})
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
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, s.CAPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", s.Credentials.AccessKeyID) // the SDK reads the process's
	t.Setenv("AWS_SECRET_ACCESS_KEY", s.Credentials.SecretAccessKey)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "none"))
	return &clinic{s, api.FaultClient(faults), map[string]string{
		"AWS_KVS_CHANNEL_NAME": "cam", "AWS_REGION": s.Region, "CONTROL_PLANE_URI": s.PublicURL, "AWS_KVS_CACERT_PATH": ca, "HELIOGRAPH_LOG_LEVEL": "silent",
	}}
}

// examine runs the program and returns its lines, as people and as machines get them.
func (c *clinic) examine(t *testing.T, args ...string) (string, doctor.Report) {
	t.Helper()
	var environ []string
	for name, value := range c.env {
		environ = append(environ, name+"="+value)
	}
	var text, object strings.Builder
	textErr := run(append([]string{"doctor"}, args...), environ, &text)
	objectErr := run(append([]string{"doctor", "--json"}, args...), environ, &object)
	var report doctor.Report
	if err := json.Unmarshal([]byte(object.String()), &report); err != nil {
		t.Fatalf("%v: %s", err, object.String())
	}
	if (textErr == nil) != report.Pass || (objectErr == nil) != report.Pass {
		t.Errorf("ended with %v and %v, the report says %v", textErr, objectErr, report.Pass)
	}
	for _, secret := range []string{c.Credentials.SecretAccessKey, os.Getenv("AWS_SECRET_ACCESS_KEY")} {
		if strings.Contains(text.String()+object.String(), secret) {
			t.Error("a secret is printed")
		}
	}
	return text.String(), report
}

// expect looks for a line that begins with status and holds all words.
func expect(t *testing.T, text, status string, words ...string) {
	t.Helper()
lines:
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, status) {
			continue
		}
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue lines
			}
		}
		return
	}
	t.Errorf("no %s line with %q in\n%s", status, words, text)
}

func TestDoctorFindsNothing(t *testing.T) {
	c := newClinic(t)
	text, report := c.examine(t)
	if !report.Pass || report.Failed != 0 {
		t.Fatalf("failed:\n%s", text)
	}
	for _, words := range [][]string{
		{"dns 127.0.0.1"}, {"clock"}, {"credentials", "EnvConfigCredentials"}, {"describe channel", "created just now", "[kinesisvideo:DescribeSignalingChannel]"},
		{"get endpoints", "[kinesisvideo:GetSignalingChannelEndpoint]"}, {"get ICE servers", "[kinesisvideo:GetIceServerConfig]"},
		{"connect websocket", "[kinesisvideo:ConnectAsMaster]"}, {"stun:127.0.0.1", "seen as 127.0.0.1"}, {"nat", "none"},
		{"turn UDP", "allocated 127.0.0.1:"}, {"turn TLS", "allocated 127.0.0.1:"}, {"source", "H264 constrained baseline", "1280x720"},
	} {
		expect(t, text, doctor.OK, words...)
	}
	expect(t, text, doctor.Skip, "turn DTLS")
	if len(report.Checks) == 0 || report.Checks[0].TookS < 0 {
		t.Errorf("report %+v", report)
	}
}

func TestDoctorFindsAWrongSecret(t *testing.T) {
	c := newClinic(t)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
	text, _ := c.examine(t)
	expect(t, text, doctor.Fail, "describe channel", "(403)", "[kinesisvideo:DescribeSignalingChannel]", "check access key, secret and region")
	expect(t, text, doctor.Skip, "connect websocket", "[kinesisvideo:ConnectAsMaster]")
	expect(t, text, doctor.OK, "source")
}

func TestDoctorFindsRefusals(t *testing.T) {
	c := newClinic(t)
	set := func(f messages.Fault) {
		if _, err := c.faults.Set(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	set(messages.Fault{Kind: messages.FaultRefuseTurn})
	set(messages.Fault{Kind: messages.FaultRefuse, Status: 403, Type: "AccessDeniedException"})
	text, _ := c.examine(t)
	expect(t, text, doctor.Fail, "turn UDP", "486", "quota")
	expect(t, text, doctor.Fail, "turn TLS", "486", "quota")
	expect(t, text, doctor.Fail, "connect websocket", "403", "allow kinesisvideo:ConnectAsMaster on arn:aws:kinesisvideo:us-west-2:*:channel/cam/*")
}

func TestDoctorFindsAClockThatIsOff(t *testing.T) {
	c := newClinic(t)
	if _, err := c.faults.Set(t.Context(), messages.Fault{Kind: messages.FaultClock, ByS: -600}); err != nil {
		t.Fatal(err)
	}
	text, report := c.examine(t)
	expect(t, text, doctor.Warn, "clock", "off by 10m", "timedatectl")
	expect(t, text, doctor.OK, "connect websocket")
	if !report.Pass {
		t.Errorf("the device signs by the service's clock, so that nothing fails:\n%s", text)
	}
}

func TestDoctorFindsNoSource(t *testing.T) {
	c := newClinic(t)
	text, _ := c.examine(t, "--source", "h264:nothing.h264")
	expect(t, text, doctor.Fail, "source", "nothing.h264")
	text, _ = c.examine(t, "--source", "exec:exec sleep 60", "--source-wait", "200ms")
	expect(t, text, doctor.Fail, "source", "no key frame within 200ms", "check the camera")
}

func TestDoctorFindsNoService(t *testing.T) {
	c := newClinic(t)
	c.env["CONTROL_PLANE_URI"] = "https://127.0.0.1:1"
	text, _ := c.examine(t)
	expect(t, text, doctor.Fail, "clock", "connection refused", "check --endpoint")
	delete(c.env, "AWS_KVS_CACERT_PATH")
	c.env["CONTROL_PLANE_URI"] = c.PublicURL
	text, _ = c.examine(t)
	expect(t, text, doctor.Fail, "describe channel", "--ca-file")
	var out strings.Builder
	if err := run([]string{"doctor"}, nil, &out); err == nil || !strings.Contains(err.Error(), "--channel") {
		t.Errorf("without a channel: %v", err)
	}
}
