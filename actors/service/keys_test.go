package service

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

const keysPollTest = 5 * time.Millisecond

// as is the same service for the holder of another key.
func (r *rig) as(c messages.Credentials) *rig {
	s := *r.Service
	s.Credentials = c
	return &rig{r.T, &s, r.ctx, r.http}
}

// statement of a policy; every * is a wildcard.
func allowing(resource string, actions ...string) json.RawMessage {
	text, _ := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{
		map[string]any{"Effect": "Allow", "Action": actions, "Resource": resource},
	}})
	return text
}

// rewrite changes keys.json as a person would.
func rewrite(t *testing.T, dir string, change func(*keyDocument)) {
	t.Helper()
	path := filepath.Join(dir, keysFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := decodeKeys(text)
	if err != nil {
		t.Fatal(err)
	}
	change(d)
	if err := writeSecret(path, d.encode()); err != nil {
		t.Fatal(err)
	}
}

// dirWith is a data directory with more keys than the generated one.
func dirWith(t *testing.T, keys ...keyEntry) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := makeKeys(dir); err != nil {
		t.Fatal(err)
	}
	rewrite(t, dir, func(d *keyDocument) { d.Keys = append(d.Keys, keys...) })
	return dir
}

// status is the HTTP status that an error came with.
func status(err error) int {
	var response *smithyhttp.ResponseError
	var ours *aws.Error
	var handshake *signaling.HandshakeError
	switch {
	case errors.As(err, &response):
		return response.HTTPStatusCode()
	case errors.As(err, &ours):
		return ours.Status
	case errors.As(err, &handshake):
		return handshake.Status
	}
	return 0
}

// try makes one call at every signed door and returns what each said.
func (r *rig) try(arn string) map[string]error {
	r.Helper()
	said := map[string]error{}
	sdk := r.sdk()
	name := strings.Split(arn, "/")[1]
	_, said["DescribeSignalingChannel"] = sdk.DescribeSignalingChannel(r.ctx, &kinesisvideo.DescribeSignalingChannelInput{ChannelARN: &arn})
	_, said["DescribeSignalingChannel by name"] = sdk.DescribeSignalingChannel(r.ctx, &kinesisvideo.DescribeSignalingChannelInput{ChannelName: &name})
	_, said["GetSignalingChannelEndpoint"] = sdk.GetSignalingChannelEndpoint(r.ctx, &kinesisvideo.GetSignalingChannelEndpointInput{
		ChannelARN: &arn, SingleMasterChannelEndpointConfiguration: &types.SingleMasterChannelEndpointConfiguration{Protocols: []types.ChannelProtocol{"WSS"}, Role: "VIEWER"}})
	_, said["ListSignalingChannels"] = sdk.ListSignalingChannels(r.ctx, &kinesisvideo.ListSignalingChannelsInput{})
	_, said["CreateSignalingChannel"] = sdk.CreateSignalingChannel(r.ctx, &kinesisvideo.CreateSignalingChannelInput{ChannelName: sdkaws.String(name + "-2")})
	client := aws.NewClient(aws.ClientConfig{Region: r.Region, ControlPlane: r.PublicURL, HTTP: r.http})
	_, _, said["GetIceServerConfig"] = client.IceServers(r.ctx, r.Credentials, r.PublicURL, arn, "v")
	for what, id := range map[string]string{"ConnectAsMaster": "", "ConnectAsViewer": "v"} {
		socket, err := r.dial(arn, id)
		if said[what] = err; err == nil {
			_ = socket.Close()
		}
	}
	_, said["DeleteSignalingChannel"] = sdk.DeleteSignalingChannel(r.ctx, &kinesisvideo.DeleteSignalingChannelInput{ChannelARN: &arn, CurrentVersion: sdkaws.String("none")})
	return said
}

func TestPolicyAtEveryDoor(t *testing.T) {
	viewer := keyEntry{"VIEWER", "viewer-secret", allowing("arn:aws:kinesisvideo:*:*:channel/cam/*",
		"kinesisvideo:ConnectAsViewer", "kinesisvideo:Describe*", "kinesisvideo:GetIceServerConfig")}
	outsider := keyEntry{"OUTSIDER", "outsider-secret", allowing("arn:aws:kinesisvideo:*:*:channel/other/*", "kinesisvideo:*")}
	r := start(t, Config{Dir: dirWith(t, viewer, outsider), RelayUDP: "127.0.0.1:0", RelayTCP: Off})
	arn := r.channel("cam")
	type refused struct {
		kind   string
		status int
	}
	control, rest, socket := refused{"AccessDeniedException", 401}, refused{"NotAuthorizedException", 401}, refused{"AccessDeniedException", 403}
	want := map[string]refused{
		"DescribeSignalingChannel": control, "DescribeSignalingChannel by name": control, "GetSignalingChannelEndpoint": control,
		"ListSignalingChannels": control, "CreateSignalingChannel": control, "DeleteSignalingChannel": control,
		"GetIceServerConfig": rest, "ConnectAsMaster": socket, "ConnectAsViewer": socket,
	}
	allowed := map[string]bool{"DescribeSignalingChannel": true, "DescribeSignalingChannel by name": true, "GetIceServerConfig": true, "ConnectAsViewer": true}
	for _, k := range []keyEntry{viewer, outsider} {
		for door, err := range r.as(k.credentials()).try(arn) {
			action, _, _ := strings.Cut(door, " ")
			switch {
			case k.AccessKeyID == "VIEWER" && allowed[door]:
				if err != nil {
					t.Errorf("%s %s: %v", k.AccessKeyID, door, err)
				}
			case !refusedAs(err, want[door].kind) && !aws.IsType(err, want[door].kind), status(err) != want[door].status:
				t.Errorf("%s %s: %v, want %v", k.AccessKeyID, door, err, want[door])
			case !strings.Contains(err.Error(), "not authorized to perform: kinesisvideo:"+action+" on resource: "):
				t.Errorf("%s %s: %v, want it to name the action", k.AccessKeyID, door, err)
			}
		}
	}
	for door, err := range r.try(arn) {
		if (err != nil) != (door == "DeleteSignalingChannel") || err != nil && !refusedAs(err, "VersionMismatchException") {
			t.Errorf("the generated key, %s: %v", door, err)
		}
	}
}

// A resource that the operation does not look at cannot lend its permission to one that it does.
func TestPolicyIsAskedAboutEveryResource(t *testing.T) {
	key := keyEntry{"MINE", "secret", allowing("arn:aws:kinesisvideo:*:*:channel/mine/*", "kinesisvideo:*")}
	r := start(t, Config{Dir: dirWith(t, key)})
	mine, other := r.channel("mine"), r.channel("other")
	for body, want := range map[string]int{
		`{"ChannelARN":"` + mine + `"}`:                                       200,
		`{"ChannelARN":"` + other + `"}`:                                      401,
		`{"ResourceARN":"` + mine + `","ChannelARN":"` + other + `"}`:         401,
		`{"channelArn":"` + mine + `","CHANNELARN":"` + other + `"}`:          401,
		`{"ChannelName":"mine"}`:                                              200,
		`{"ChannelName":"nobody"}`:                                            401, // and not 404
		`{"StreamName":"mine","ChannelARN":"` + mine + `"}`:                   401,
		`{"ResourceARN":7,"StreamARN":[],"ChannelARN":"` + other + `"}`:       401,
		`{"ResourceARN":7,"StreamARN":[],"ChannelARN":"` + mine + `"}`:        200,
		`{"ChannelARN":"` + strings.Replace(mine, "us-west-2", "*", 1) + `"}`: 400,
	} {
		if got := r.post("/describeSignalingChannel", body, key.credentials(), time.Now()).StatusCode; got != want {
			t.Errorf("%s: %d, want %d", body, got, want)
		}
	}
}

// A Deny on a stream holds however a request names it: the ARN of a name is the real one.
func TestPolicyKnowsTheStreamBehindAName(t *testing.T) {
	key := keyEntry{"SOME", "secret", json.RawMessage(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"*","Resource":"*"},
		{"Effect":"Deny","Action":"*","Resource":"arn:aws:kinesisvideo:*:*:stream/vault/1*"}]}`)} // creation times begin with 1
	r := start(t, Config{Dir: dirWith(t, key)})
	channel := r.channel("cam")
	made, err := r.sdk().CreateStream(r.ctx, &kinesisvideo.CreateStreamInput{StreamName: sdkaws.String("vault")})
	if err != nil {
		t.Fatal(err)
	}
	vault := *made.StreamARN
	for _, c := range []struct {
		path, body string
		want       int
	}{
		{"/describeStream", `{"StreamName":"vault"}`, 401},
		{"/describeStream", `{"StreamARN":"` + vault + `"}`, 401},
		{"/updateMediaStorageConfiguration", `{"ChannelARN":"` + channel + `","MediaStorageConfiguration":{"Status":"ENABLED","StreamARN":"` + vault + `"}}`, 401},
		{"/describeStream", `{"StreamName":"other"}`, 404},
		{"/describeSignalingChannel", `{"ChannelARN":"` + channel + `"}`, 200},
	} {
		if got := r.post(c.path, c.body, key.credentials(), time.Now()).StatusCode; got != c.want {
			t.Errorf("%s %s: %d, want %d", c.path, c.body, got, c.want)
		}
	}
}

func (r *rig) describeNamed(name string) error {
	_, err := r.sdk().DescribeSignalingChannel(r.ctx, &kinesisvideo.DescribeSignalingChannelInput{ChannelName: &name})
	return err
}

func TestKeysReload(t *testing.T) {
	old := keyEntry{"OLD", "old-secret", json.RawMessage(aws.Everything)}
	dir := dirWith(t, old)
	r := start(t, Config{Dir: dir, KeysPoll: keysPollTest})
	r.channel("cam")
	if err := r.as(old.credentials()).describeNamed("cam"); err != nil {
		t.Fatal(err)
	}
	added := keyEntry{"ADDED", "added-secret", json.RawMessage(aws.Everything)}
	rewrite(t, dir, func(d *keyDocument) { d.Keys[1] = added })
	r.until("the added key is known", func() bool { return r.as(added.credentials()).describeNamed("cam") == nil })
	if err := r.as(old.credentials()).describeNamed("cam"); !refusedAs(err, "UnrecognizedClientException") {
		t.Errorf("a key that was taken out: %v", err)
	}
	const taken, refused = `kvs_service_key_reloads_total{outcome="taken"}`, `kvs_service_key_reloads_total{outcome="refused"}`
	if r.metric(taken) != "1" || r.metric(refused) != "" {
		t.Errorf("counted: %q taken, %q refused", r.metric(taken), r.metric(refused))
	}
	path := filepath.Join(dir, keysFile)
	good, _ := os.ReadFile(path)
	if err := writeSecret(path, good[:len(good)/2]); err != nil {
		t.Fatal(err)
	}
	r.until("the broken file is counted", func() bool { return r.metric(refused) == "1" })
	if err := r.as(added.credentials()).describeNamed("cam"); err != nil {
		t.Errorf("after the file broke: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r.until("the missing file is counted", func() bool { return r.metric(refused) == "2" })
	if err := writeSecret(path, good); err != nil {
		t.Fatal(err)
	}
	rewrite(t, dir, func(d *keyDocument) { d.Keys[1].Policy = allowing("*", "kinesisvideo:ConnectAsViewer") })
	r.until("the bounded policy is in force", func() bool { return refusedAs(r.as(added.credentials()).describeNamed("cam"), "AccessDeniedException") })
}

func TestAccessKeyFile(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		master bool
	}{
		"words": {"CIKEY ci/secret+1\n", true},
		"lines": {"CIKEY\r\nci/secret+1\r\n", true},
		"JSON":  {`{"access_key_id":"CIKEY","secret_access_key":"ci/secret+1"}`, true},
		"JSON with a policy": {`{"access_key_id":"CIKEY","secret_access_key":"ci/secret+1","policy":` +
			string(allowing("*", "kinesisvideo:CreateSignalingChannel")) + `}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			r := start(t, Config{KeyFile: file, KeysPoll: keysPollTest})
			if r.Credentials.AccessKeyID != "CIKEY" || r.Credentials.SecretAccessKey != "ci/secret+1" {
				t.Fatal("not the key of the file")
			}
			socket, err := r.dial(r.channel("cam"), "")
			if (err == nil) != c.master {
				t.Fatalf("as master: %v", err)
			}
			if err == nil {
				_ = socket.Close()
			}
			if err := os.WriteFile(file, []byte("CIKEY another"), 0o600); err != nil {
				t.Fatal(err)
			}
			changed := messages.Credentials{AccessKeyID: "CIKEY", SecretAccessKey: "another"}
			r.until("the new secret is in force", func() bool { return r.as(changed).describeNamed("cam") == nil })
		})
	}
	for name, text := range map[string]string{"empty": "", "one word": "A", "three": "A B C", "no JSON": "{", "unknown": `{"id":"A"}`, "session's": "ASIAX y"} {
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openKeys("", file, "000000000000", Limits{}); err == nil || !strings.Contains(err.Error(), "--access-key-file") {
			t.Errorf("%s: %v, want it to name --access-key-file", name, err)
		}
	}
}

// A data directory of the first version, which knew one key, goes on as it was.
func TestKeysOfTheFirstVersion(t *testing.T) {
	dir := t.TempDir()
	text := `{"access_key_id":"HELIOOLD","secret_access_key":"old","relay_secret":"relay"}`
	if err := os.WriteFile(filepath.Join(dir, keysFile), []byte(text), secretMode); err != nil {
		t.Fatal(err)
	}
	first, err := openKeys(dir, "", "000000000000", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	key, fault := first.find("HELIOOLD", "", time.Now())
	if fault != nil || key.Secret != "old" || !key.Unbounded() || first.RelaySecret != "relay" {
		t.Errorf("%v %v", key, fault)
	}
	again, err := openKeys(dir, "", "000000000000", Limits{})
	if err != nil || !again.initial.equal(first.initial) {
		t.Errorf("opened again: %v", err)
	}
}

func TestKeysRefused(t *testing.T) {
	damage := func(change func(*keyDocument)) []byte {
		d := newKeys()
		change(d)
		return d.encode()
	}
	for name, c := range map[string]struct {
		text []byte
		says string
	}{
		"no JSON":        {[]byte("{"), "keys.json: unexpected EOF"},
		"unknown member": {[]byte(`{"Keys":[],"more":1}`), `"more"`},
		"no secret":      {damage(func(d *keyDocument) { d.SessionSecret = "" }), "session_secret"},
		"no key":         {damage(func(d *keyDocument) { d.Keys = nil }), "1 to 1000 keys"},
		"bad id":         {damage(func(d *keyDocument) { d.Keys[0].AccessKeyID = "a/b" }), "keys[0]: access_key_id"},
		"a session's id": {damage(func(d *keyDocument) { d.Keys[0].AccessKeyID = "ASIA1" }), "must not begin with ASIA"},
		"blank secret":   {damage(func(d *keyDocument) { d.Keys[0].SecretAccessKey = "a b" }), "keys[0]: secret_access_key"},
		"no policy":      {damage(func(d *keyDocument) { d.Keys[0].Policy = nil }), "policy is missing"},
		"bad policy":     {damage(func(d *keyDocument) { d.Keys[0].Policy = json.RawMessage(`{}`) }), "keys[0]: policy: the Version"},
		"twice":          {damage(func(d *keyDocument) { d.Keys = append(d.Keys, d.Keys[0]) }), "keys[1]: access_key_id is taken"},
		"bad role":       {damage(func(d *keyDocument) { d.Roles["a b"] = d.Roles[DefaultRoleAlias] }), `roles["a b"]`},
		"long role":      {damage(func(d *keyDocument) { d.Roles["r"] = roleEntry{json.RawMessage(aws.Everything), 43201} }), "session_seconds_max"},
		"bad alias":      {damage(func(d *keyDocument) { d.RoleAliases["a.b"] = aliasEntry{} }), `role_aliases["a.b"]`},
		"short alias":    {damage(func(d *keyDocument) { d.RoleAliases["a"] = aliasEntry{"r", 899} }), "between 900 and 43200"},
	} {
		_, err := compileKeys(keyTexts{kept: c.text}, "000000000000")
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, keysFile), []byte("{"), secretMode); err != nil {
		t.Fatal(err)
	}
	if _, err := openKeys(dir, "", "000000000000", Limits{}); err == nil || !strings.Contains(err.Error(), "correct it") {
		t.Errorf("a damaged file: %v, want it to name the remedy", err)
	}
}

func FuzzKeys(f *testing.F) {
	f.Add(string(newKeys().encode()), "ID secret")
	f.Add(`{"relay_secret":"r","session_secret":"s","keys":[{"access_key_id":"A","secret_access_key":"b","policy":`+aws.Everything+`}]}`, `{"access_key_id":"C","secret_access_key":"d"}`)
	f.Fuzz(func(t *testing.T, kept, fixed string) {
		ring, err := compileKeys(keyTexts{kept: []byte(kept), fixed: []byte(fixed)}, "000000000000")
		if err != nil {
			return
		}
		for id, k := range ring.keys {
			if found, fault := ring.find(id, "", time.Now()); fault != nil || found != k || k.Policy == nil || k.Secret == "" {
				t.Errorf("key %q: %v", id, fault)
			}
			if _, fault := ring.find(id, "token", time.Now()); fault == nil {
				t.Errorf("key %q with a token", id)
			}
		}
		if ring.keys[ring.first.AccessKeyID] == nil {
			t.Error("the first key is none of them")
		}
		for alias := range ring.aliases {
			c, err := ring.assume(alias, "cam", true, time.Now(), Limits{})
			if err != nil {
				continue
			}
			if k, fault := ring.find(c.AccessKeyID, c.SessionToken, time.Now()); fault != nil || k.Secret != c.SecretAccessKey {
				t.Errorf("a session of %q: %v", alias, fault)
			}
		}
	})
}

func TestSessionAtEveryDoor(t *testing.T) {
	r := start(t, Config{Dir: t.TempDir(), RelayUDP: "127.0.0.1:0", RelayTCP: Off})
	arn := r.channel("cam")
	ring := r.door.keys.ring.Load()
	good, err := ring.assume(DefaultRoleAlias, "cam", true, time.Now(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	another, _ := ring.assume(DefaultRoleAlias, "cam", true, time.Now(), Limits{})
	over, _ := ring.assume(DefaultRoleAlias, "cam", true, time.Now().Add(-time.Hour-time.Second), Limits{})
	foreign := newSessions("of another service").seal(session{Role: DefaultRoleAlias, Name: "cam", Thing: true, Expires: time.Now().Unix() + 900})
	with := func(change func(*messages.Credentials)) messages.Credentials {
		c := good
		change(&c)
		return c
	}
	for name, c := range map[string]struct {
		key  messages.Credentials
		kind string
	}{
		"no token":             {with(func(c *messages.Credentials) { c.SessionToken = "" }), "UnrecognizedClientException"},
		"another's token":      {with(func(c *messages.Credentials) { c.SessionToken = another.SessionToken }), "UnrecognizedClientException"},
		"no token of ours":     {with(func(c *messages.Credentials) { c.SessionToken = "token" }), "UnrecognizedClientException"},
		"a longer token":       {with(func(c *messages.Credentials) { c.SessionToken += "A" }), "UnrecognizedClientException"},
		"too long a token":     {with(func(c *messages.Credentials) { c.SessionToken = strings.Repeat("A", sessionTokenMax+1) }), "UnrecognizedClientException"},
		"another's secret":     {with(func(c *messages.Credentials) { c.SecretAccessKey = another.SecretAccessKey }), "InvalidSignatureException"},
		"another service's":    {foreign, "UnrecognizedClientException"},
		"over":                 {over, "ExpiredTokenException"},
		"a key and a token":    {messages.Credentials{AccessKeyID: r.Credentials.AccessKeyID, SecretAccessKey: r.Credentials.SecretAccessKey, SessionToken: good.SessionToken}, "UnrecognizedClientException"},
		"no role of that name": {ring.sessions.seal(session{Role: "gone", Name: "cam", Expires: time.Now().Unix() + 900}), "UnrecognizedClientException"},
	} {
		for door, err := range r.as(c.key).try(arn) {
			if !refusedAs(err, c.kind) && !aws.IsType(err, c.kind) || status(err) != 403 {
				t.Errorf("%s at %s: %v, want %s", name, door, err, c.kind)
			}
		}
	}
	allowed := map[string]bool{"DescribeSignalingChannel": true, "DescribeSignalingChannel by name": true, "GetSignalingChannelEndpoint": true, "GetIceServerConfig": true, "ConnectAsMaster": true}
	for door, err := range r.as(good).try(arn) {
		if (err == nil) != allowed[door] {
			t.Errorf("the device at %s: %v", door, err)
		}
	}
	if _, err := signaling.Dial(r.ctx, r.as(good).presign(r.channel("other"), "", time.Now()), signaling.DialOptions{TLS: &tls.Config{RootCAs: r.CA}}); !refusedAs(err, "AccessDeniedException") {
		t.Errorf("the device as master of another's channel: %v", err)
	}
}
