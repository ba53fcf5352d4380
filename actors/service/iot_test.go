package service

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// provided is the answer of the credentials provider.
type provided struct {
	status     int
	kind, body string
}

// credentialsFor asks as a device does: mutual TLS, nothing signed.
func (r *rig) credentialsFor(thing Thing, path, header string) provided {
	r.Helper()
	config := &tls.Config{RootCAs: r.CA}
	if thing.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(thing.CertFile, thing.KeyFile)
		if err != nil {
			r.Fatal(err)
		}
		// Sent whatever the server names as its roots, as the C clients do.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, "https://"+r.IoTEndpoint+path, nil)
	if err != nil {
		r.Fatal(err)
	}
	if header != "" {
		req.Header.Set("x-amzn-iot-thingname", header)
	}
	resp, err := client.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.ContentLength != int64(len(body)) {
		r.Errorf("body of %d bytes, Content-Length %d, %v", len(body), resp.ContentLength, err)
	}
	return provided{resp.StatusCode, resp.Header.Get("x-amzn-ErrorType"), string(body)}
}

func (p provided) credentials(t *testing.T) messages.Credentials {
	t.Helper()
	var out struct {
		Credentials struct{ AccessKeyID, SecretAccessKey, SessionToken, Expiration string }
	}
	if err := json.Unmarshal([]byte(p.body), &out); err != nil || p.status != http.StatusOK {
		t.Fatalf("%d %s %v", p.status, p.kind, err)
	}
	expires, err := time.Parse(time.RFC3339, out.Credentials.Expiration)
	if err != nil {
		t.Fatal(err)
	}
	c := out.Credentials
	return messages.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Expires: expires}
}

func aliasPath(alias string) string { return "/role-aliases/" + alias + "/credentials" }

func thingIn(t *testing.T, dir, name string) Thing {
	t.Helper()
	thing, err := CreateThing(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return thing
}

// The whole way of a camera: a certificate, credentials for it, and the channel of its name.
func TestDeviceConnectsAsMaster(t *testing.T) {
	dir := t.TempDir()
	r := start(t, Config{Dir: dir, IoT: "127.0.0.1:0", RelayUDP: "127.0.0.1:0", RelayTCP: Off})
	cam := thingIn(t, dir, "cam")
	if cam.Endpoint != r.IoTEndpoint || cam.CAFile != filepath.Join(dir, "ca.pem") {
		t.Errorf("thing %+v", cam)
	}
	for _, file := range []string{cam.CertFile, cam.KeyFile, filepath.Join(dir, "iot", "root.pem")} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", file, info.Mode(), err)
		}
	}
	answer := r.credentialsFor(cam, aliasPath(DefaultRoleAlias), "cam")
	// The Linux reference wants this very form and these lengths (kvs-protocol.md 6).
	form := regexp.MustCompile(`^{"credentials":{"accessKeyId":"ASIA[A-Z2-7]{16}","secretAccessKey":"[\w-]{40}","sessionToken":"[\w-]{1,900}","expiration":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"}}$`)
	if answer.status != 200 || !form.MatchString(answer.body) {
		t.Fatalf("status %d, or another form", answer.status)
	}
	session := answer.credentials(t)
	if left := time.Until(session.Expires); left < 59*time.Minute || left > time.Hour {
		t.Errorf("good for %v", left)
	}
	device := r.as(session)
	arn := device.channel("cam")
	master := device.connect(arn, "")
	defer master.Close()
	if _, err := r.as(r.credentialsFor(cam, aliasPath(DefaultRoleAlias), "").credentials(t)).dial(arn, ""); !refusedAs(err, "AccessDeniedException") {
		t.Errorf("without the header the policy's variable has a value: %v", err)
	}
	if _, err := device.dial(arn, "viewer"); !refusedAs(err, "AccessDeniedException") {
		t.Errorf("the device as a viewer: %v", err)
	}
	client := aws.NewClient(aws.ClientConfig{Region: r.Region, ControlPlane: r.PublicURL, HTTP: r.http})
	if _, _, err := client.IceServers(r.ctx, session, r.PublicURL, arn, "ProducerMaster"); err != nil {
		t.Error(err)
	}
}

func TestDeviceRefused(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	r := start(t, Config{Dir: dir, IoT: "127.0.0.1:0", KeysPoll: keysPollTest})
	cam, stranger := thingIn(t, dir, "cam"), thingIn(t, elsewhere, "cam")
	rewrite(t, dir, func(d *keyDocument) {
		d.RoleAliases["no-role"] = aliasEntry{Role: "nobody"}
		d.RoleAliases["too-long"] = aliasEntry{Role: DefaultRoleAlias, CredentialSeconds: 3601}
		d.RoleAliases["short"] = aliasEntry{Role: DefaultRoleAlias, CredentialSeconds: 900}
	})
	r.until("the aliases are known", func() bool { return r.credentialsFor(cam, aliasPath("short"), "cam").status == 200 })
	for name, c := range map[string]struct {
		thing        Thing
		path, header string
		want         provided
	}{
		"no certificate":      {Thing{}, aliasPath(DefaultRoleAlias), "", provided{403, "AccessDeniedException", "Access Denied"}},
		"another root":        {stranger, aliasPath(DefaultRoleAlias), "cam", provided{403, "AccessDeniedException", "Certificate is invalid on this endpoint"}},
		"another thing":       {cam, aliasPath(DefaultRoleAlias), "gate", provided{403, "AccessDeniedException", "Invalid thing name passed"}},
		"unknown alias":       {cam, aliasPath("nobody"), "cam", provided{404, "ResourceNotFoundException", "Role alias does not exist"}},
		"no such role":        {cam, aliasPath("no-role"), "cam", provided{400, "InvalidRequestException", "Unable to assume the role, or the role to assume does not exist"}},
		"longer than allowed": {cam, aliasPath("too-long"), "cam", provided{400, "InvalidRequestException", "The requested CredentialDurationSeconds exceeds the MaxSessionDuration set for the role"}},
	} {
		got := r.credentialsFor(c.thing, c.path, c.header)
		want, _ := json.Marshal(map[string]string{"message": c.want.body})
		if got.status != c.want.status || got.kind != c.want.kind || got.body != string(want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if got := r.credentialsFor(cam, "/describeSignalingChannel", ""); got.status != 404 {
		t.Errorf("another path: %+v", got)
	}
	short := r.credentialsFor(cam, aliasPath("short"), "cam").credentials(t)
	if left := time.Until(short.Expires); left < 14*time.Minute || left > 15*time.Minute {
		t.Errorf("good for %v, want 900 s", left)
	}
}

// Two nodes with the same keys honour each other's sessions; with other keys they do not.
func TestSessionsOfAnotherNode(t *testing.T) {
	dir := t.TempDir()
	here, err := openKeys(dir, "", "000000000000", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	there, err := openKeys(dir, "", "000000000000", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := openKeys("", "", "000000000000", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c, err := here.assume(DefaultRoleAlias, "cam", true, now)
	if err != nil {
		t.Fatal(err)
	}
	key, fault := there.find(c.AccessKeyID, c.SessionToken, now)
	if fault != nil || key.Secret != c.SecretAccessKey || key.Thing != "cam" || key.Principal != "arn:aws:sts::000000000000:assumed-role/heliograph-device/cam" {
		t.Errorf("on the other node: %v %v", key, fault)
	}
	if _, fault := stranger.find(c.AccessKeyID, c.SessionToken, now); fault == nil {
		t.Error("honoured by a stranger")
	}
	if _, fault := there.find(c.AccessKeyID, c.SessionToken, c.Expires.Add(-time.Second)); fault != nil {
		t.Errorf("in its last second: %v", fault)
	}
	if _, fault := there.find(c.AccessKeyID, c.SessionToken, c.Expires); fault == nil || fault.Type != "ExpiredTokenException" {
		t.Errorf("when it is over: %v", fault)
	}
}

func TestCreateRoleAlias(t *testing.T) {
	dir := t.TempDir()
	if err := CreateRoleAlias(dir, "viewers", allowing("*", "kinesisvideo:ConnectAsViewer"), 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	k, err := openKeys(dir, "", "000000000000", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c, err := k.assume("viewers", "cam", false, now)
	if err != nil || c.Expires.Unix() != now.Unix()+7200 {
		t.Fatalf("%v %v", c, err)
	}
	key, fault := k.find(c.AccessKeyID, c.SessionToken, now)
	if fault != nil || key.Refusal("kinesisvideo:ConnectAsViewer", "*") != "" || key.Refusal("kinesisvideo:ConnectAsMaster", "*") == "" {
		t.Errorf("%v %v", key, fault)
	}
	if _, err := k.assume(DefaultRoleAlias, "cam", true, now); err != nil {
		t.Errorf("the alias that was there: %v", err)
	}
	for name, err := range map[string]error{
		"a bad name":   CreateRoleAlias(dir, "a b", nil, time.Hour),
		"a bad policy": CreateRoleAlias(dir, "a", []byte("{}"), time.Hour),
		"too short":    CreateRoleAlias(dir, "a", nil, time.Minute),
		"too long":     CreateRoleAlias(dir, "a", nil, 13*time.Hour),
	} {
		if err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	again, err := openKeys(dir, "", "000000000000", Limits{})
	if err != nil || !again.initial.equal(k.initial) {
		t.Errorf("a refused alias changed the file: %v", err)
	}
}

func TestThings(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"", "../x", "a/b", "a.b", strings.Repeat("a", 129)} {
		if _, err := CreateThing(dir, name); err == nil {
			t.Errorf("a thing called %q", name)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "iot", "root.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateThing(dir, "cam"); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a damaged root: %v, want it to name the remedy", err)
	}
	_, err := Start(t.Context(), Config{Public: "127.0.0.1:0", Local: "127.0.0.1:0", RelayUDP: Off, RelayTCP: Off, IoT: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), "--data-dir") || errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing kept: %v, want it to name --data-dir", err)
	}
}
