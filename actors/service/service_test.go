package service

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testWait = 20 * time.Second

// world under test: a service on free ports, stopped at the end.
type rig struct {
	*testing.T
	*Service
	ctx  context.Context
	http *http.Client
}

func start(t *testing.T, cfg Config) *rig {
	t.Helper()
	cfg.Public, cfg.Local = orFree(cfg.Public), orFree(cfg.Local)
	if cfg.RelayUDP == "" {
		cfg.RelayUDP, cfg.RelayTCP = Off, Off
	}
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	t.Cleanup(cancel)
	s, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CA}, DisableKeepAlives: true}
	return &rig{t, s, ctx, &http.Client{Transport: transport}}
}

func orFree(address string) string {
	if address == "" {
		return "127.0.0.1:0"
	}
	return address
}

func stop(t *testing.T, s *Service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testWait)
	defer cancel()
	if err := s.Stop(ctx); err != nil && !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

// sdk is the official client.
func (r *rig) sdk() *kinesisvideo.Client {
	return kinesisvideo.New(kinesisvideo.Options{
		Region: r.Region, BaseEndpoint: &r.PublicURL, HTTPClient: r.http, Retryer: sdkaws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(r.Credentials.AccessKeyID, r.Credentials.SecretAccessKey, r.Credentials.SessionToken),
	})
}

func (r *rig) channel(name string) (arn string) {
	r.Helper()
	out, err := r.sdk().CreateSignalingChannel(r.ctx, &kinesisvideo.CreateSignalingChannelInput{ChannelName: &name})
	if err != nil {
		r.Fatal(err)
	}
	return *out.ChannelARN
}

func (r *rig) presign(arn, client string, at time.Time) string {
	r.Helper()
	endpoint := strings.Replace(r.PublicURL, "https://", "wss://", 1)
	url, err := aws.PresignWebSocket(r.ctx, endpoint, arn, client, r.Credentials, r.Region, at)
	if err != nil {
		r.Fatal(err)
	}
	return url
}

func (r *rig) dial(arn, client string) (*signaling.Client, error) {
	return signaling.Dial(r.ctx, r.presign(arn, client, time.Now()), signaling.DialOptions{TLS: &tls.Config{RootCAs: r.CA}})
}

func (r *rig) connect(arn, client string) *signaling.Client {
	r.Helper()
	c, err := r.dial(arn, client)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = c.Close() })
	return c
}

func (r *rig) send(c *signaling.Client, m signaling.Outbound) {
	r.Helper()
	if err := c.Write(r.ctx, m); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) expect(c *signaling.Client, want signaling.Inbound) {
	r.Helper()
	got, err := c.Read(r.ctx)
	if err != nil {
		r.Fatal(err)
	}
	if got.Status != nil && want.Status != nil {
		got.Status.Description = ""
		if *got.Status != *want.Status {
			r.Fatalf("status %+v, want %+v", *got.Status, *want.Status)
		}
		got.Status, want.Status = nil, nil
	}
	if got != want {
		r.Fatalf("got %+v, want %+v", got, want)
	}
}

// until polls a condition that nothing announces.
func (r *rig) until(what string, done func() bool) {
	r.Helper()
	for !done() {
		select {
		case <-r.ctx.Done():
			r.Fatal("never: " + what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func refusedAs(err error, kind string) bool {
	var api smithy.APIError
	var handshake *signaling.HandshakeError
	var refused *messages.Refused
	switch {
	case errors.As(err, &api):
		return api.ErrorCode() == kind
	case errors.As(err, &handshake):
		return handshake.Type == kind
	case errors.As(err, &refused):
		return refused.Type == kind
	}
	return false
}

func TestControlPlane(t *testing.T) {
	r := start(t, Config{RelayUDP: "127.0.0.1:0", RelayTCP: "127.0.0.1:0"})
	sdk := r.sdk()
	arn := r.channel("front-door")
	described, err := sdk.DescribeSignalingChannel(r.ctx, &kinesisvideo.DescribeSignalingChannelInput{ChannelARN: &arn})
	if err != nil {
		t.Fatal(err)
	}
	info := described.ChannelInfo
	if *info.ChannelName != "front-door" || info.ChannelStatus != types.StatusActive || *info.SingleMasterConfiguration.MessageTtlSeconds != 60 ||
		time.Since(*info.CreationTime).Abs() > time.Minute || !strings.HasPrefix(arn, "arn:aws:kinesisvideo:us-west-2:000000000000:channel/front-door/") {
		t.Fatalf("described %+v", info)
	}
	name := "front-door"
	_, err = sdk.CreateSignalingChannel(r.ctx, &kinesisvideo.CreateSignalingChannelInput{ChannelName: &name})
	if !refusedAs(err, "ResourceInUseException") {
		t.Fatalf("second create: %v", err)
	}
	role := &types.SingleMasterChannelEndpointConfiguration{Protocols: []types.ChannelProtocol{"WSS", "HTTPS"}, Role: types.ChannelRoleMaster}
	endpoints, err := sdk.GetSignalingChannelEndpoint(r.ctx, &kinesisvideo.GetSignalingChannelEndpointInput{ChannelARN: &arn, SingleMasterChannelEndpointConfiguration: role})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range endpoints.ResourceEndpointList {
		if want := strings.Replace(r.PublicURL, "https", strings.ToLower(string(e.Protocol)), 1); *e.ResourceEndpoint != want {
			t.Errorf("endpoint %s, want %s", *e.ResourceEndpoint, want)
		}
	}
	client := aws.NewClient(aws.ClientConfig{Region: r.Region, ControlPlane: r.PublicURL, HTTP: r.http})
	servers, ttl, err := client.IceServers(r.ctx, r.Credentials, r.PublicURL, arn, "viewer")
	if err != nil || ttl != 5*time.Minute {
		t.Fatalf("ice servers: ttl %v, %v", ttl, err)
	}
	checkAWSForm(t, servers, `turn:127\.0\.0\.1:\d+`, `turns:127\.0\.0\.1:\d+`)
	bad := "wrong"
	_, err = sdk.DeleteSignalingChannel(r.ctx, &kinesisvideo.DeleteSignalingChannelInput{ChannelARN: &arn, CurrentVersion: &bad})
	if !refusedAs(err, "VersionMismatchException") {
		t.Fatalf("delete of another version: %v", err)
	}
	if _, err = sdk.DeleteSignalingChannel(r.ctx, &kinesisvideo.DeleteSignalingChannelInput{ChannelARN: &arn, CurrentVersion: info.Version}); err != nil {
		t.Fatal(err)
	}
	_, err = sdk.DescribeSignalingChannel(r.ctx, &kinesisvideo.DescribeSignalingChannelInput{ChannelName: &name})
	if !refusedAs(err, "ResourceNotFoundException") {
		t.Fatalf("describe after delete: %v", err)
	}
}

func TestListPages(t *testing.T) {
	r := start(t, Config{})
	for i := range 7 {
		r.channel(fmt.Sprintf("cam-%d", i))
	}
	r.channel("other")
	in := &kinesisvideo.ListSignalingChannelsInput{
		MaxResults:           sdkaws.Int32(3),
		ChannelNameCondition: &types.ChannelNameCondition{ComparisonOperator: types.ComparisonOperatorBeginsWith, ComparisonValue: sdkaws.String("cam-")},
	}
	var names []string
	pages := 0
	for p := kinesisvideo.NewListSignalingChannelsPaginator(r.sdk(), in); p.HasMorePages(); pages++ {
		page, err := p.NextPage(r.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page.ChannelInfoList {
			names = append(names, *c.ChannelName)
		}
	}
	if got := strings.Join(names, " "); got != "cam-0 cam-1 cam-2 cam-3 cam-4 cam-5 cam-6" || pages != 3 {
		t.Fatalf("%d pages: %s", pages, got)
	}
}

// post signs a body with a key and a clock and sends it as an operation.
func (r *rig) post(path, body string, key messages.Credentials, at time.Time) *http.Response {
	r.Helper()
	req, _ := http.NewRequestWithContext(r.ctx, http.MethodPost, r.PublicURL+path, strings.NewReader(body))
	if err := aws.Sign(r.ctx, req, []byte(body), key, r.Region, at); err != nil {
		r.Fatal(err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestRefusedRequests(t *testing.T) {
	r := start(t, Config{})
	stranger := messages.Credentials{AccessKeyID: r.Credentials.AccessKeyID, SecretAccessKey: "wrong"}
	big := `{"ChannelName":"` + strings.Repeat("a", 70<<10) + `"}`
	for _, c := range []struct {
		name, path, body string
		key              messages.Credentials
		skew             time.Duration
		status           int
		kind             string
	}{
		{"wrong key", "/listSignalingChannels", "{}", stranger, 0, 403, "InvalidSignatureException"},
		{"unknown key", "/listSignalingChannels", "{}", messages.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "x"}, 0, 403, "UnrecognizedClientException"},
		{"slow clock", "/listSignalingChannels", "{}", r.Credentials, -6 * time.Minute, 403, "InvalidSignatureException"},
		{"fast clock", "/listSignalingChannels", "{}", r.Credentials, 6 * time.Minute, 403, "InvalidSignatureException"},
		{"unknown operation", "/noSuchOperation", "{}", r.Credentials, 0, 404, "UnknownOperationException"},
		{"wrong case", "/ListSignalingChannels", "{}", r.Credentials, 0, 404, "UnknownOperationException"},
		{"no JSON", "/createSignalingChannel", "{", r.Credentials, 0, 400, "SerializationException"},
		{"bad name", "/createSignalingChannel", `{"ChannelName":"a b"}`, r.Credentials, 0, 400, "InvalidArgumentException"},
		{"bad ttl", "/createSignalingChannel", `{"ChannelName":"a","SingleMasterConfiguration":{"MessageTtlSeconds":4}}`, r.Credentials, 0, 400, "InvalidArgumentException"},
		{"name and arn", "/describeSignalingChannel", `{}`, r.Credentials, 0, 400, "InvalidArgumentException"},
		{"unknown", "/describeSignalingChannel", `{"ChannelName":"nobody"}`, r.Credentials, 0, 404, "ResourceNotFoundException"},
		{"too large", "/createSignalingChannel", big, r.Credentials, 0, 413, "RequestEntityTooLargeException"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := r.post(c.path, c.body, c.key, time.Now().Add(c.skew))
			var body bytes.Buffer
			_, _ = body.ReadFrom(resp.Body)
			h := resp.Header
			if resp.StatusCode != c.status || h.Get("x-amzn-ErrorType") != c.kind {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, h.Get("x-amzn-ErrorType"), c.status, c.kind)
			}
			if h.Get("x-amzn-RequestId") == "" || h.Get("Date") == "" || resp.ContentLength != int64(body.Len()) || !strings.HasPrefix(body.String(), `{"Message":"`) {
				t.Errorf("form of the error: %v %s", h, body.String())
			}
			if c.skew < 0 && !strings.Contains(body.String(), "Signature expired") || c.skew > 0 && !strings.Contains(body.String(), "Signature not yet current") {
				t.Errorf("the C SDK's words are missing: %s", body.String())
			}
		})
	}
}

func TestRefusedHandshakes(t *testing.T) {
	r := start(t, Config{})
	arn := r.channel("cam")
	for _, c := range []struct{ name, url, kind string }{
		{"expired", r.presign(arn, "v", time.Now().Add(-10*time.Minute)), "InvalidSignatureException"},
		{"not yet", r.presign(arn, "v", time.Now().Add(10*time.Minute)), "InvalidSignatureException"},
		{"tampered", strings.Replace(r.presign(arn, "v", time.Now()), "ClientId=v", "ClientId=w", 1), "InvalidSignatureException"},
		{"no channel", r.presign(arn+"1", "v", time.Now()), "ResourceNotFoundException"},
		{"no arn", r.presign("arn", "v", time.Now()), "InvalidArgumentException"},
		{"reserved id", r.presign(arn, "aws_me", time.Now()), "InvalidArgumentException"},
	} {
		_, err := signaling.Dial(r.ctx, c.url, signaling.DialOptions{TLS: &tls.Config{RootCAs: r.CA}})
		if !refusedAs(err, c.kind) {
			t.Errorf("%s: %v, want %s", c.name, err, c.kind)
		}
	}
}

func TestRestartKeepsChannels(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first, err := Start(t.Context(), Config{Dir: dir, Public: "127.0.0.1:0", Local: "127.0.0.1:0", RelayUDP: Off, RelayTCP: Off})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t, first, t.Context(), &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: first.CA}, DisableKeepAlives: true}}}
	arn := r.channel("cam")
	stop(t, first)
	again := start(t, Config{Dir: dir})
	if again.Credentials != first.Credentials || !bytes.Equal(again.CAPEM, first.CAPEM) {
		t.Error("the access key or the authority changed")
	}
	out, err := again.sdk().DescribeSignalingChannel(again.ctx, &kinesisvideo.DescribeSignalingChannelInput{ChannelName: sdkaws.String("cam")})
	if err != nil || *out.ChannelInfo.ChannelARN != arn {
		t.Fatalf("after the restart: %+v %v", out, err)
	}
	for name, mode := range map[string]os.FileMode{".": 0o700, keysFile: 0o600, "ca-key.pem": 0o600, envFile: 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want %v", name, info.Mode().Perm(), err, mode)
		}
	}
	env, _ := os.ReadFile(again.EnvFile)
	for _, line := range []string{"export AWS_ENDPOINT_URL_KINESIS_VIDEO='" + again.PublicURL + "'\n", "export AWS_KVS_CACERT_PATH='" + filepath.Join(dir, "ca.pem") + "'\n"} {
		if !bytes.Contains(env, []byte(line)) {
			t.Errorf("env lacks %q", line)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	_, err := Start(t.Context(), Config{Public: "0.0.0.0:0", Local: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), "--whep-token") {
		t.Errorf("beyond loopback without a token: %v", err)
	}
	r := start(t, Config{RelayUDP: "127.0.0.1:0", RelayTCP: Off})
	taken := strings.TrimPrefix(r.PublicURL, "https://")
	for flag, cfg := range map[string]Config{
		"--public":    {Public: taken, Local: "127.0.0.1:0", RelayUDP: Off, RelayTCP: Off},
		"--local":     {Public: "127.0.0.1:0", Local: taken, RelayUDP: Off, RelayTCP: Off},
		"--relay-tcp": {Public: "127.0.0.1:0", Local: "127.0.0.1:0", RelayUDP: Off, RelayTCP: taken},
	} {
		if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("a taken port: %v, want it to name %s", err, flag)
		}
	}
}

// Both C stacks keep only what one read gives them (kvs-protocol.md 7.4).
func TestAnswerIsOneWrite(t *testing.T) {
	r := start(t, Config{})
	r.channel("cam")
	conn, err := tls.Dial("tcp", strings.TrimPrefix(r.PublicURL, "https://"), &tls.Config{RootCAs: r.CA, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if p := conn.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("ALPN gave %q", p)
	}
	body := `{"ChannelName":"cam"}`
	req, _ := http.NewRequest(http.MethodPost, r.PublicURL+"/describeSignalingChannel", strings.NewReader(body))
	if err := aws.Sign(r.ctx, req, []byte(body), r.Credentials, r.Region, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 16<<10)
	n, err := conn.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	head, json, _ := strings.Cut(string(answer[:n]), "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") || !strings.Contains(head, fmt.Sprintf("Content-Length: %d", len(json))) {
		t.Errorf("%s, and %d bytes of body with it", head, len(json))
	}
	if !strings.HasPrefix(json, `{"ChannelInfo":{"ChannelARN":"arn:aws:`) || !strings.Contains(json, `"SingleMasterConfiguration":{"MessageTtlSeconds":60},"Version":"`) {
		t.Errorf("order of the keys: %s", json)
	}
}
