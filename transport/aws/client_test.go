package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// answer is what the endpoint under test says to one path.
type answer struct {
	status int
	kind   string // X-Amzn-ErrorType
	body   string
}

// endpoint is an HTTPS server that verifies every signature for real and answers as told. requests
// gets "path body" of each.
func endpoint(t *testing.T, answers map[string]answer) (*httptest.Server, chan string) {
	t.Helper()
	requests := make(chan string, 16)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- r.URL.Path + " " + string(body)
		a := answers[r.URL.Path]
		if _, err := (&Verifier{Region: testRegion, Key: verifierAt(testTime).Key}).VerifyHeader(r, body); err != nil {
			e := err.(*Error)
			a = answer{e.Status, e.Type, fmt.Sprintf(`{"message":%q}`, e.Message)}
		}
		if a.kind != "" {
			w.Header().Set("X-Amzn-ErrorType", a.kind)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(a.status)
		io.WriteString(w, a.body)
	}))
	t.Cleanup(server.Close)
	return server, requests
}

func clientOf(s *httptest.Server) *Client {
	return NewClient(ClientConfig{Region: testRegion, ControlPlane: s.URL + "/", HTTP: s.Client(), UserAgent: "heliograph-test"})
}

func wantRequest(t *testing.T, requests chan string, want string) {
	t.Helper()
	if got := <-requests; got != want {
		t.Errorf("request %s, want %s", got, want)
	}
}

func TestControlPlaneCalls(t *testing.T) {
	s, requests := endpoint(t, map[string]answer{
		"/describeSignalingChannel": {200, "", `{"ChannelInfo":{"ChannelARN":"` + testARN + `","ChannelName":"door","ChannelStatus":"ACTIVE",` +
			`"ChannelType":"SINGLE_MASTER","CreationTime":1.5774394765E9,"SingleMasterConfiguration":{"MessageTtlSeconds":60},"Version":"abc"}}`},
		"/createSignalingChannel": {200, "", `{"ChannelARN":"` + testARN + `"}`},
		"/deleteSignalingChannel": {200, "", `{}`},
		"/getSignalingChannelEndpoint": {200, "", `{"ResourceEndpointList":[{"Protocol":"HTTPS","ResourceEndpoint":"https://r.example:1"},` +
			`{"Protocol":"WSS","ResourceEndpoint":"wss://m.example:2"}]}`},
	})
	c, ctx := clientOf(s), t.Context()

	ch, err := c.DescribeChannel(ctx, testToken, "door")
	want := Channel{ARN: testARN, Name: "door", Status: "ACTIVE", Version: "abc", MessageTTL: time.Minute, Created: time.UnixMilli(1577439476500).UTC()}
	if err != nil || ch != want {
		t.Errorf("describe: %+v %v", ch, err)
	}
	wantRequest(t, requests, `/describeSignalingChannel {"ChannelName":"door"}`)

	arn, err := c.CreateChannel(ctx, testKey, "door")
	if err != nil || arn != testARN {
		t.Errorf("create: %s %v", arn, err)
	}
	wantRequest(t, requests, `/createSignalingChannel {"ChannelName":"door","ChannelType":"SINGLE_MASTER"}`)

	if err := c.DeleteChannel(ctx, testKey, testARN); err != nil {
		t.Errorf("delete: %v", err)
	}
	wantRequest(t, requests, `/deleteSignalingChannel {"ChannelARN":"`+testARN+`"}`)

	found, err := c.Endpoints(ctx, testKey, testARN, "MASTER", "WSS", "HTTPS")
	if err != nil || !reflect.DeepEqual(found, map[string]string{"HTTPS": "https://r.example:1", "WSS": "wss://m.example:2"}) {
		t.Errorf("endpoints: %v %v", found, err)
	}
	wantRequest(t, requests, `/getSignalingChannelEndpoint {"ChannelARN":"`+testARN+`","SingleMasterChannelEndpointConfiguration":{"Protocols":["WSS","HTTPS"],"Role":"MASTER"}}`)

	if _, err := c.Endpoints(ctx, testKey, testARN, "MASTER", "WEBRTC"); err == nil {
		t.Error("an endpoint that was not given passes")
	}
	c.CloseIdle()
}

func TestServiceWithoutARelayHasNoIceServers(t *testing.T) {
	s, _ := endpoint(t, map[string]answer{"/v1/get-ice-server-config": {200, "", `{"IceServerList":[]}`}})
	servers, ttl, err := clientOf(s).IceServers(t.Context(), testToken, s.URL, testARN, "viewer-1")
	if err != nil || len(servers) != 0 || ttl != noServersTTL {
		t.Fatalf("%d servers for %v, %v", len(servers), ttl, err)
	}
}

func TestIceServers(t *testing.T) {
	s, requests := endpoint(t, map[string]answer{"/v1/get-ice-server-config": {200, "", `{"IceServerList":[` +
		`{"Password":"p+/=","Ttl":300,"Uris":["turn:a:443?transport=udp","turns:a:443?transport=tcp"],"Username":"1:djE6"},` +
		`{"Password":"q","Ttl":200,"Uris":["turn:b:443?transport=udp"],"Username":"2:x"}]}`}})
	servers, ttl, err := clientOf(s).IceServers(t.Context(), testToken, s.URL, testARN, "viewer-1")
	want := []messages.IceServer{
		{URLs: []string{"turn:a:443?transport=udp", "turns:a:443?transport=tcp"}, Username: "1:djE6", Password: "p+/="},
		{URLs: []string{"turn:b:443?transport=udp"}, Username: "2:x", Password: "q"},
	}
	if err != nil || ttl != 200*time.Second || !reflect.DeepEqual(servers, want) {
		t.Errorf("%+v %v %v", servers, ttl, err)
	}
	wantRequest(t, requests, `/v1/get-ice-server-config {"ChannelARN":"`+testARN+`","ClientId":"viewer-1","Service":"TURN"}`)
}

func TestIceServersRefusesUselessAnswers(t *testing.T) {
	for _, body := range []string{`{}`, `{"IceServerList":[{"Uris":["turn:a:1"],"Ttl":0}]}`, `<html>`, ``} {
		s, _ := endpoint(t, map[string]answer{"/v1/get-ice-server-config": {200, "", body}})
		if servers, _, err := clientOf(s).IceServers(t.Context(), testKey, s.URL, testARN, ""); err == nil {
			t.Errorf("%q: %v", body, servers)
		}
	}
}

// Both ways of calling must read errors alike.
func TestErrorAnswers(t *testing.T) {
	for _, c := range []struct {
		answer answer
		want   Error
	}{
		{answer{404, "ResourceNotFoundException:http://x/", `{"Message":"no such channel"}`}, Error{Type: "ResourceNotFoundException", Status: 404, Message: "no such channel"}},
		{answer{400, "", `{"__type":"com.amazonaws#ClientLimitExceededException","message":"slow"}`}, Error{Type: "ClientLimitExceededException", Status: 400, Message: "slow"}},
		{answer{401, "AccessDeniedException", `{"Message":"no"}`}, Error{Type: "AccessDeniedException", Status: 401, Message: "no"}},
		{answer{400, "", `{"code":"SessionExpiredException","message":"old"}`}, Error{Type: "SessionExpiredException", Status: 400, Message: "old"}},
		{answer{405, "", `<html>`}, Error{Type: "UnknownError", Status: 405, Message: "Method Not Allowed"}},
	} {
		s, _ := endpoint(t, map[string]answer{"/describeSignalingChannel": c.answer, "/v1/get-ice-server-config": c.answer})
		client := clientOf(s)
		_, err := client.DescribeChannel(t.Context(), testKey, "door")
		_, _, iceErr := client.IceServers(t.Context(), testKey, s.URL, testARN, "")
		for _, err := range []error{err, iceErr} {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%+v: %v", c.answer, err)
			}
			if time.Since(e.Date).Abs() > time.Minute {
				t.Errorf("%+v: date %v", c.answer, e.Date)
			}
			got := *e
			got.Date = time.Time{}
			if got != c.want || !IsType(err, c.want.Type) || IsType(err, "Other") {
				t.Errorf("%+v: %+v, want %+v", c.answer, got, c.want)
			}
		}
	}
}

func TestWrongSecretIsRefused(t *testing.T) {
	s, _ := endpoint(t, nil)
	wrong := testKey
	wrong.SecretAccessKey = "wrong-secret"
	_, err := clientOf(s).DescribeChannel(t.Context(), wrong, "door")
	if !IsType(err, invalidSignature) || strings.Contains(err.Error(), "wrong-secret") {
		t.Error(err)
	}
	_, _, err = clientOf(s).IceServers(t.Context(), wrong, s.URL, testARN, "")
	if !IsType(err, invalidSignature) || strings.Contains(err.Error(), "wrong-secret") {
		t.Error(err)
	}
}

// A clock that is off by hours is refused once, and right from then on.
func TestClientLearnsTheTime(t *testing.T) {
	s, _ := endpoint(t, map[string]answer{
		"/deleteSignalingChannel": {200, "", `{}`}, "/v1/get-ice-server-config": {200, "", `{"IceServerList":[{"Ttl":300}]}`},
	})
	for name, call := range map[string]func(*Client) error{
		"rest": func(c *Client) error {
			_, _, err := c.IceServers(t.Context(), testKey, s.URL, testARN, "")
			return err
		},
		"sdk": func(c *Client) error { return c.DeleteChannel(t.Context(), testKey, testARN) },
	} {
		t.Run(name, func(t *testing.T) {
			clock := &Clock{}
			clock.Heard(time.Now().Add(-3 * time.Hour))
			c := NewClient(ClientConfig{Region: testRegion, ControlPlane: s.URL, HTTP: s.Client(), Clock: clock})
			if err := call(c); err != nil {
				t.Fatal(err)
			}
			if clock.Offset() != 0 {
				t.Fatalf("the clock is still %v off", clock.Offset())
			}
		})
	}
}

func TestClock(t *testing.T) {
	var c Clock
	for _, step := range []struct{ off, want time.Duration }{
		{30 * time.Second, 0}, {-10 * time.Minute, -10 * time.Minute}, {10 * time.Minute, 10 * time.Minute}, {0, 0},
	} {
		c.Heard(time.Now().Add(step.off))
		c.Heard(time.Time{})
		if got := c.Offset(); (got - step.want).Abs() > time.Second {
			t.Errorf("a service %v ahead: offset %v", step.off, got)
		}
		if d := c.Now().Sub(time.Now().Add(step.want)).Abs(); d > time.Second {
			t.Errorf("now is %v off", d)
		}
	}
}

func TestCallsAreTriedTwice(t *testing.T) {
	t.Parallel()
	for _, fail := range []int64{1, 2} {
		var calls atomic.Int64
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) <= fail {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			io.WriteString(w, `{"IceServerList":[{"Ttl":300}],"ChannelInfo":{"ChannelARN":"x"}}`)
		}))
		client := clientOf(s)
		_, _, err := client.IceServers(t.Context(), testKey, s.URL, testARN, "")
		if (err == nil) != (fail == 1) || calls.Load() != 2 {
			t.Errorf("ice servers: %d calls, %v", calls.Load(), err)
		}
		calls.Store(0)
		_, err = client.DescribeChannel(t.Context(), testKey, "door")
		if (err == nil) != (fail == 1) || calls.Load() != 2 {
			t.Errorf("describe: %d calls, %v", calls.Load(), err)
		}
		s.Close()
	}
}

func TestCallsEndWithTheirContext(t *testing.T) {
	arrived, release := make(chan struct{}, 4), make(chan struct{})
	statuses := make(chan int, 4)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(<-statuses)
		io.WriteString(w, `{"ChannelInfo"`)
		w.(http.Flusher).Flush() // the rest never comes
		arrived <- struct{}{}
		<-release
	}))
	defer s.Close()
	defer close(release)
	client := clientOf(s)
	for name, call := range map[string]func(context.Context) error{
		"describe": func(ctx context.Context) error { _, err := client.DescribeChannel(ctx, testKey, "door"); return err },
		"ice": func(ctx context.Context) error {
			_, _, err := client.IceServers(ctx, testKey, s.URL, testARN, "")
			return err
		},
	} {
		for _, status := range []int{200, 400, 500} {
			statuses <- status
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- call(ctx) }()
			<-arrived
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("%s %d: %v", name, status, err)
			}
		}
	}
}

func TestNobodyThereIsNoAnswer(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(nil)
	client := clientOf(s)
	s.Close()
	_, err := client.DescribeChannel(t.Context(), testKey, "door")
	var e *Error
	if err == nil || errors.As(err, &e) || !strings.HasPrefix(err.Error(), "describe channel: ") {
		t.Error(err)
	}
	if _, _, err = client.IceServers(t.Context(), testKey, s.URL, testARN, ""); err == nil || errors.As(err, &e) {
		t.Error(err)
	}
}

func TestStunURL(t *testing.T) {
	for _, c := range []struct {
		region    string
		dualStack bool
		want      string
	}{
		{"us-west-2", false, "stun:stun.kinesisvideo.us-west-2.amazonaws.com:443"},
		{"us-west-2", true, "stun:stun.kinesisvideo.us-west-2.api.aws:443"},
		{"cn-north-1", false, "stun:stun.kinesisvideo.cn-north-1.amazonaws.com.cn:443"},
		{"cn-north-1", true, "stun:stun.kinesisvideo.cn-north-1.api.amazonwebservices.com.cn:443"},
	} {
		if got := StunURL(c.region, c.dualStack); got != c.want {
			t.Errorf("%s: %s", c.region, got)
		}
	}
}

// hostOf notes where a call goes, and goes nowhere.
type hostOf struct{ host string }

func (h *hostOf) RoundTrip(r *http.Request) (*http.Response, error) {
	h.host = r.URL.Host
	return nil, errors.New("nowhere")
}

func TestControlPlaneHosts(t *testing.T) {
	for _, c := range []struct {
		config ClientConfig
		want   string
	}{
		{ClientConfig{Region: "us-west-2"}, "kinesisvideo.us-west-2.amazonaws.com"},
		{ClientConfig{Region: "us-west-2", DualStack: true}, "kinesisvideo.us-west-2.api.aws"},
		{ClientConfig{Region: "cn-north-1", DualStack: true}, "kinesisvideo.cn-north-1.api.amazonwebservices.com.cn"},
		{ClientConfig{Region: "us-west-2", DualStack: true, ControlPlane: "https://own.test"}, "own.test"},
	} {
		went := &hostOf{}
		c.config.HTTP = &http.Client{Transport: went}
		_, err := NewClient(c.config).DescribeChannel(t.Context(), messages.Credentials{AccessKeyID: "id", SecretAccessKey: "secret"}, "door")
		if err == nil || went.host != c.want || c.config.ControlPlane == "" && "https://"+went.host != ControlPlaneURL(c.config.Region, c.config.DualStack) {
			t.Errorf("%+v goes to %s, want %s (%v)", c.config, went.host, c.want, err)
		}
	}
}

func TestStaticCredentials(t *testing.T) {
	p := Static("AKID", "secret", "token")
	got, err := p.Retrieve(t.Context())
	if err != nil || got != (messages.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret", SessionToken: "token", Source: "static keys"}) {
		t.Error(err)
	}
	if s := fmt.Sprintf("%v %+v %#v", p, p, p); strings.Contains(s, "secret") || strings.Contains(s, "token") {
		t.Error(s)
	}
	if _, err := Static("AKID", "", "").Retrieve(t.Context()); err == nil {
		t.Error("an empty secret passes")
	}
}

func TestDefaultChainReadsEnvironmentAndFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(id string) {
		text := "[camera]\naws_access_key_id = " + id + "\naws_secret_access_key = s\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "config"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	write("FIRST")
	p, err := DefaultChain(t.Context(), testRegion, "camera")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"FIRST", "SECOND"} { // keys changed on disk are seen
		write(id)
		if got, err := p.Retrieve(t.Context()); err != nil || got.AccessKeyID != id || !got.Expires.IsZero() {
			t.Errorf("%v %v", got, err)
		}
	}
	if _, err := DefaultChain(t.Context(), testRegion, "no-such"); err == nil {
		t.Error("a profile that is not there passes")
	}
	p, err = DefaultChain(t.Context(), testRegion, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Error(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "ENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s")
	t.Setenv("AWS_SESSION_TOKEN", "t")
	if got, err := p.Retrieve(t.Context()); err != nil || got.AccessKeyID != "ENV" || got.SessionToken != "t" {
		t.Errorf("%v %v", got, err)
	}
}
