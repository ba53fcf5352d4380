package service

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/turn/v5"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

var usernamePattern = regexp.MustCompile(`^[0-9]{10}:djE6[A-Za-z0-9+/=]+$`)

// checkAWSForm: 2 servers of 3 URIs in AWS's order, credentials in AWS's form (kvs-protocol.md 2.1).
func checkAWSForm(t *testing.T, servers []messages.IceServer, turn, turns string) {
	t.Helper()
	if len(servers) != 2 || servers[0].Username == servers[1].Username {
		t.Fatalf("%d servers, want two with credentials of their own", len(servers))
	}
	for _, s := range servers {
		want := regexp.MustCompile("^" + turn + `\?transport=udp ` + turns + `\?transport=udp ` + turns + `\?transport=tcp$`)
		if !want.MatchString(strings.Join(s.URLs, " ")) {
			t.Errorf("URIs %q, want %s", s.URLs, want)
		}
		if !usernamePattern.MatchString(s.Username) || len(s.Username) > 256 || len(s.Password) != 44 {
			t.Errorf("user name %q, password of %d characters", s.Username, len(s.Password))
		}
	}
}

func TestIceServersWithoutAllListeners(t *testing.T) {
	r := start(t, Config{RelayUDP: "127.0.0.1:0", RelayTCP: Off})
	arn := r.channel("cam")
	client := aws.NewClient(aws.ClientConfig{Region: r.Region, ControlPlane: r.PublicURL, HTTP: r.http})
	servers, _, err := client.IceServers(r.ctx, r.Credentials, r.PublicURL, arn, "viewer")
	if err != nil || len(servers) != 1 || len(servers[0].URLs) != 2 || servers[0].Username == "" {
		t.Fatalf("%d servers: %v", len(servers), err)
	}
}

// named is a client of a service with AWS's names: it goes to the door whatever name it calls.
func named(r *rig) *http.Client {
	dialer := &net.Dialer{}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: r.CA},
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, r.HTTPSAddr)
		},
	}
	return &http.Client{Transport: transport}
}

func TestAWSNames(t *testing.T) {
	const region = "eu-west-1"
	r := start(t, Config{AWSNames: region, RelayUDP: "127.0.0.1:0", RelayTCP: Off})
	for _, suffix := range []string{"kinesisvideo.eu-west-1.amazonaws.com", "kinesisvideo.eu-west-1.api.aws"} {
		client := aws.NewClient(aws.ClientConfig{Region: region, ControlPlane: "https://" + suffix, HTTP: named(r)})
		arn, err := client.CreateChannel(r.ctx, r.Credentials, "cam-"+suffix)
		if err != nil {
			t.Fatal(err)
		}
		wss := map[string]string{}
		for role, letter := range map[string]string{"MASTER": "m", "VIEWER": "v"} {
			endpoints, err := client.Endpoints(r.ctx, r.Credentials, arn, role, "WSS", "HTTPS")
			if err != nil {
				t.Fatal(err)
			}
			for protocol, form := range map[string]string{"WSS": "^wss://" + letter, "HTTPS": "^https://r"} {
				if form += `-[0-9a-f]{8}\.` + regexp.QuoteMeta(suffix) + "$"; !regexp.MustCompile(form).MatchString(endpoints[protocol]) {
					t.Errorf("%s endpoint %q, want %s", protocol, endpoints[protocol], form)
				}
			}
			wss[role] = endpoints["WSS"]
			servers, _, err := client.IceServers(r.ctx, r.Credentials, endpoints["HTTPS"], arn, "")
			if err != nil {
				t.Fatal(err)
			}
			host := `127-0-0-1\.t-[0-9a-f]{8}\.` + regexp.QuoteMeta(suffix) + ":443"
			checkAWSForm(t, servers, "turn:"+host, "turns:"+host)
		}
		r.checkRoles(arn, wss)
	}
	hosts := strings.Fields(r.HostsLine)
	if hosts[0] != "127.0.0.1" || !slices.Contains(hosts, "stun.kinesisvideo.eu-west-1.amazonaws.com") {
		t.Errorf("hosts line %q", r.HostsLine)
	}
	for _, host := range hosts[1:] {
		conn, err := tls.Dial("tcp", r.HTTPSAddr, &tls.Config{RootCAs: r.CA, ServerName: host})
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		_ = conn.Close()
	}
}

// checkRoles: the host decides the role, and a client that does not fit is refused (kvs-protocol.md 3.1).
func (r *rig) checkRoles(arn string, wss map[string]string) {
	r.Helper()
	for _, c := range []struct {
		role, client string
		fits         bool
	}{{"MASTER", "", true}, {"VIEWER", "alice", true}, {"MASTER", "alice", false}, {"VIEWER", "", false}} {
		url, err := aws.PresignWebSocket(r.ctx, wss[c.role], arn, c.client, r.Credentials, r.Region, time.Now())
		if err != nil {
			r.Fatal(err)
		}
		conn, err := signaling.Dial(r.ctx, url, signaling.DialOptions{
			TLS: &tls.Config{RootCAs: r.CA}, NetDial: named(r).Transport.(*http.Transport).DialContext,
		})
		if c.fits && err != nil || !c.fits && !refusedAs(err, "InvalidArgumentException") {
			r.Errorf("client id %q at the host of %s: %v", c.client, c.role, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

// HTTPS and TURN over TLS share a port; either may say nothing, or nonsense.
func TestTurnAtTheHTTPSDoor(t *testing.T) {
	r := start(t, Config{AWSNames: "us-west-2", RelayUDP: "127.0.0.1:0", RelayTCP: Off})
	host := ""
	for _, name := range strings.Fields(r.HostsLine) {
		if strings.HasPrefix(name, "127-0-0-1.t-") {
			host = name
		}
	}
	client := aws.NewClient(aws.ClientConfig{Region: r.Region, ControlPlane: r.PublicURL, HTTP: named(r)})
	arn, err := client.CreateChannel(r.ctx, r.Credentials, "cam")
	if err != nil {
		t.Fatal(err)
	}
	servers, _, err := client.IceServers(r.ctx, r.Credentials, r.PublicURL, arn, "")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", r.HTTPSAddr, &tls.Config{RootCAs: r.CA, ServerName: host})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	allocator, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: r.HTTPSAddr, Conn: turn.NewSTUNConn(conn), Username: servers[0].Username, Password: servers[0].Password,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer allocator.Close()
	if err := allocator.Listen(); err != nil {
		t.Fatal(err)
	}
	relayed, err := allocator.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	if got := r.metric(`kvs_relay_allocations{transport="tls"}`); got != "1" {
		t.Errorf("allocations over TLS in /metrics: %q", got)
	}
	if err := relayed.Close(); err != nil {
		t.Fatal(err)
	}
	// A page of the door itself still is of its own origin, which takes to know that the request came over TLS.
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, "https://"+r.HTTPSAddr+"/api/channels", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://"+r.HTTPSAddr)
	r.status(r.do(req), http.StatusOK)
	req.Header.Set("Origin", "http://"+r.HTTPSAddr)
	r.status(r.do(req), http.StatusForbidden)
}

func (r *rig) do(req *http.Request) *http.Response {
	r.Helper()
	resp, err := r.http.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func (r *rig) metric(name string) string {
	r.Helper()
	resp, err := r.http.Get(r.LocalURL + "/metrics")
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return value
		}
	}
	return ""
}

// An authority made without the names cannot vouch for them, and the error says what to do.
func TestAWSNamesNeedTheirAuthority(t *testing.T) {
	dir := t.TempDir()
	first := Config{Dir: dir, Public: "127.0.0.1:0", Local: "127.0.0.1:0", RelayUDP: Off, RelayTCP: Off}
	s, err := Start(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	second := first
	second.AWSNames = "us-west-2"
	if _, err := Start(t.Context(), second); err == nil || !strings.Contains(err.Error(), "--aws-names us-west-2") || !strings.Contains(err.Error(), "remove ca.pem and ca-key.pem") {
		t.Fatalf("an older authority: %v", err)
	}
	for _, name := range []string{"ca.pem", "ca-key.pem"} {
		if err := os.Remove(dir + "/" + name); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, second)
	if line, err := os.ReadFile(r.HostsFile); err != nil || string(line) != r.HostsLine+"\n" {
		t.Errorf("hosts file %q: %v", line, err)
	}
}

func TestStartRefusesNames(t *testing.T) {
	for what, cfg := range map[string]Config{
		"--aws-names":   {AWSNames: "nowhere"},
		"--public-name": {AWSNames: "us-west-2", PublicName: "camera-host"},
		"--relay-udp":   {AWSNames: "us-west-2", RelayUDP: Off},
		"--relay-ip6":   {Relay: RelayConfig{IP6: "127.0.0.1"}},
	} {
		cfg.Public, cfg.Local = "127.0.0.1:0", "127.0.0.1:0"
		if s, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
			if err == nil {
				stop(t, s)
			}
		}
	}
}
