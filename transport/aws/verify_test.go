package aws

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/heliograph-rtc/heliograph/messages"
)

var (
	testKey   = messages.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	testToken = messages.Credentials{AccessKeyID: testKey.AccessKeyID, SecretAccessKey: testKey.SecretAccessKey, SessionToken: "to/ken+with=all==&?#%"}
	testTime  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

const (
	testRegion = "us-west-2"
	testARN    = "arn:aws:kinesisvideo:us-west-2:123456789012:channel/door_1.a-b/1577439476380"
)

func verifierAt(now time.Time) *Verifier {
	return &Verifier{
		Region: testRegion,
		Now:    func() time.Time { return now },
		Key: func(id, _ string, _ time.Time) (*Key, *Error) {
			if id != testKey.AccessKeyID {
				return nil, UnknownClient()
			}
			return &Key{ID: id, Secret: testKey.SecretAccessKey}, nil
		},
	}
}

// wantError checks type, status, date and a part of the text.
func wantError(t *testing.T, err error, kind, text string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a %s", err, kind)
	}
	if e.Type != kind || e.Status != http.StatusForbidden || e.Date.IsZero() || !strings.Contains(e.Message, text) {
		t.Fatalf("got %+v, want a dated 403 %s that says %q", e, kind, text)
	}
}

// The values are the ones AWS publishes: the suite's get-vanilla, and the user guide's ListUsers.
func TestSignatureOfPublishedVectors(t *testing.T) {
	for _, v := range []struct{ name, host, query, contentType, service, want string }{
		{"get-vanilla", "example.amazonaws.com", "", "", "service",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"ListUsers", "iam.amazonaws.com", "Version=2010-05-08&Action=ListUsers", "application/x-www-form-urlencoded; charset=utf-8", "iam",
			"5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"},
	} {
		const date = "20150830T123600Z"
		r := httptest.NewRequest("GET", "https://"+v.host+"/?"+v.query, nil)
		r.Header.Set("X-Amz-Date", date)
		names := []string{"host", "x-amz-date"}
		if v.contentType != "" {
			r.Header.Set("Content-Type", v.contentType)
			names = []string{"content-type", "host", "x-amz-date"}
		}
		canonical := strings.Join([]string{"GET", canonicalPath(r.URL), canonicalQuery(r.URL.Query(), ""), canonicalHeaders(r, names), strings.Join(names, ";"), emptyHash}, "\n")
		if got := signature(testKey.SecretAccessKey, canonical, date, "20150830/us-east-1/"+v.service+"/aws4_request"); got != v.want {
			t.Errorf("%s: got %s, want %s, canonical request:\n%s", v.name, got, v.want, canonical)
		}
	}
}

// Sorted by the encoded form, values of one name among themselves, too.
func TestCanonicalQueryIsSorted(t *testing.T) {
	q, err := url.ParseQuery("b=1&a=b&a=%2f&a=+&a-b=&X=%7E&X-Amz-Signature=s&c")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := canonicalQuery(q, "X-Amz-Signature"), "X=~&a=%20&a=%2F&a=b&a-b=&b=1&c="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The signatures are known answers of the JavaScript SDK's signer (its unit tests' inputs and outputs).
func TestVerifyQueryAcceptsTheJavaScriptSDK(t *testing.T) {
	at := time.Date(2019, 12, 1, 0, 0, 0, 0, time.UTC)
	v := &Verifier{Region: "us-west-2", Now: func() time.Time { return at.Add(time.Minute) },
		Key: func(id, token string, _ time.Time) (*Key, *Error) {
			return &Key{ID: id, Secret: "FakeSecretKey", Thing: token}, nil
		}}
	for _, known := range []struct{ path, token, signature string }{
		{"/", "FakeSessionToken", "fc268038be276315822b4f73eafd28ee3a5632a2a35fdb0a88db9a42b13d6c92"},
		{"/", "", "be1e78950d956a8a9a1997417099ddbd7455619f3d08c4ad20e1e272179ca695"},
		{"/path/path/path", "FakeSessionToken", "0bf3df6ca23d8d82f688e8dbfb90d69e74843d40038541b1721c545eef7612a4"},
	} {
		q := url.Values{
			"X-Amz-Algorithm": {algorithm}, "X-Amz-Credential": {"AKIA4F7WJQR7FMMWMNXI/20191201/us-west-2/kinesisvideo/aws4_request"},
			"X-Amz-Date": {"20191201T000000Z"}, "X-Amz-Expires": {"299"}, "X-Amz-SignedHeaders": {"host"},
			"X-Amz-TestParam": {"test-param-value"}, "X-Amz-Signature": {known.signature},
		}
		if known.token != "" {
			q.Set("X-Amz-Security-Token", known.token)
		}
		r := httptest.NewRequest("GET", "https://kvs.awsamazon.com"+known.path+"?"+q.Encode(), nil)
		if key, err := v.VerifyQuery(r); err != nil || key.Thing != known.token {
			t.Errorf("%s: %v %v", known.path, key, err)
		}
	}
}

// Over a real server, so that what net/http does to a request on its way is part of the test.
func TestVerifyHeaderAcceptsTheSDKOverHTTPS(t *testing.T) {
	verdict := make(chan error, 1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		key, err := verifierAt(testTime).VerifyHeader(r, body)
		if err == nil && key.ID != testKey.AccessKeyID {
			err = errors.New("wrong key " + key.ID)
		}
		verdict <- err
	}))
	defer server.Close()
	for name, prepare := range map[string]func(*http.Request){
		"plain":    func(*http.Request) {},
		"query":    func(r *http.Request) { r.URL.RawQuery = "b=2&a=1&a=%2F+x&c" },
		"path":     func(r *http.Request) { r.URL = r.URL.JoinPath("/tags/arn%3Aaws%2Fx y/") },
		"spaces":   func(r *http.Request) { r.Header.Set("X-Amz-Meta-Note", "  two   words ") },
		"repeated": func(r *http.Request) { r.Header["X-Amz-Meta-Many"] = []string{"one", "two"} },
		"hash":     func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", hashHex([]byte(`{"a":1}`))) },
	} {
		for _, creds := range []messages.Credentials{testKey, testToken} {
			body := []byte(`{"a":1}`)
			r, _ := http.NewRequest("POST", server.URL+"/describeSignalingChannel", strings.NewReader(string(body)))
			r.Header.Set("Content-Type", "application/json")
			prepare(r)
			if err := Sign(t.Context(), r, body, creds, testRegion, testTime.Add(4*time.Minute)); err != nil {
				t.Fatal(err)
			}
			resp, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if err := <-verdict; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	server.Client().CloseIdleConnections()
}

// signedPost is a request as the server sees it, signed by the SDK.
func signedPost(t *testing.T, body string, edit ...func(*http.Request)) *http.Request {
	t.Helper()
	r := httptest.NewRequest("POST", "https://localhost:8443/describeSignalingChannel", strings.NewReader(body))
	for _, e := range edit {
		e(r)
	}
	if err := Sign(t.Context(), r, []byte(body), testKey, testRegion, testTime); err != nil {
		t.Fatal(err)
	}
	return r
}

// The C SDK and the Linux reference sign host, user-agent and date, and send the token unsigned.
func TestVerifyHeaderAcceptsAnUnsignedToken(t *testing.T) {
	r := httptest.NewRequest("POST", "https://localhost/createSignalingChannel", nil)
	r.Header.Set("User-Agent", "AWS-SDK-KVS/3.0.0 GCC/12")
	r.Header.Set("X-Amz-Date", testTime.Format(dateLayout))
	r.Header.Set("X-Amz-Security-Token", "a token")
	r.Header.Set("Content-Type", "application/json")
	const body, scope = `{"ChannelName":"door"}`, "20260301/us-west-2/kinesisvideo/aws4_request"
	canonical := "POST\n/createSignalingChannel\n\nhost:localhost\nuser-agent:AWS-SDK-KVS/3.0.0 GCC/12\nx-amz-date:20260301T120000Z\n\n" +
		"host;user-agent;x-amz-date\n" + hashHex([]byte(body))
	r.Header.Set("Authorization", algorithm+" Credential=AKIDEXAMPLE/"+scope+", SignedHeaders=host;user-agent;x-amz-date, Signature="+
		signature(testKey.SecretAccessKey, canonical, "20260301T120000Z", scope))
	if _, err := verifierAt(testTime).VerifyHeader(r, []byte(body)); err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", "another")
	_, err := verifierAt(testTime).VerifyHeader(r, []byte(body))
	wantError(t, err, invalidSignature, "does not match")
}

func TestVerifyHeaderRefuses(t *testing.T) {
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	swap := func(old, new string) func(*http.Request) {
		return func(r *http.Request) {
			was := r.Header.Get("Authorization")
			if !strings.Contains(was, old) {
				panic("nothing to swap: " + old)
			}
			r.Header.Set("Authorization", strings.Replace(was, old, new, 1))
		}
	}
	for name, c := range map[string]struct {
		edit       func(*http.Request)
		kind, text string
	}{
		"no header":              {func(r *http.Request) { r.Header.Del("Authorization") }, missingToken, "Missing Authentication Token"},
		"two headers":            {func(r *http.Request) { r.Header.Add("Authorization", "x") }, incomplete, "one"},
		"basic":                  {set("Authorization", "Basic eDp5"), incomplete, "algorithm"},
		"no credential":          {swap("Credential=", "Cred="), incomplete, "'Credential'"},
		"no signature":           {swap("Signature=", "Sig="), incomplete, "'Signature'"},
		"no signed headers":      {swap("SignedHeaders=", "SH="), incomplete, "'SignedHeaders'"},
		"a part twice":           {swap("Credential=", "Credential=a/b/c/d/e, Credential="), incomplete, "twice"},
		"no date":                {func(r *http.Request) { r.Header.Del("X-Amz-Date") }, incomplete, "X-Amz-Date"},
		"bad date":               {set("X-Amz-Date", "2026-03-01"), incomplete, "ISO-8601"},
		"another day":            {swap("/20260301/", "/20260228/"), invalidSignature, "does not match YYYYMMDD"},
		"another service":        {swap("/kinesisvideo/", "/s3/"), invalidSignature, "correct service: 'kinesisvideo'"},
		"another region":         {swap("/us-west-2/", "/eu-west-1/"), invalidSignature, "valid region"},
		"another terminator":     {swap("/aws4_request", "/aws5_request"), invalidSignature, "terminator"},
		"short scope":            {swap("/aws4_request", ""), incomplete, "5 slash-delimited"},
		"unknown key":            {swap("AKIDEXAMPLE", "AKIDSTRANGER"), unknownClient, "security token"},
		"host not signed":        {swap(";host;", ";"), invalidSignature, "'Host' must be"},
		"upper-case header":      {swap(";host;", ";Host;"), incomplete, "lower-case"},
		"header twice":           {swap(";host;", ";host;host;"), incomplete, "once"},
		"line end in headers":    {swap(";host;", ";host;a\nb;"), incomplete, "lower-case"},
		"too many headers":       {swap(";host;", ";host;"+strings.Repeat("a;", 80)), incomplete, "64"},
		"signed header not sent": {swap(";host;", ";host;x-not-there;"), invalidSignature, "does not match"},
		"signature changed":      {swap("Signature=", "Signature=0"), invalidSignature, "does not match"},
		"signed header changed":  {set("Content-Type", "text/plain"), invalidSignature, "does not match"},
		"host changed":           {func(r *http.Request) { r.Host = "localhost:8444" }, invalidSignature, "does not match"},
		"path changed":           {func(r *http.Request) { r.URL.Path = "/deleteSignalingChannel" }, invalidSignature, "does not match"},
		"query added":            {func(r *http.Request) { r.URL.RawQuery = "a=b" }, invalidSignature, "does not match"},
		"query malformed":        {func(r *http.Request) { r.URL.RawQuery = "a=%zz" }, incomplete, "well-formed"},
		"method changed":         {func(r *http.Request) { r.Method = "PUT" }, invalidSignature, "does not match"},
		"unsigned payload":       {set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), invalidSignature, "x-amz-content-sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			r := signedPost(t, "{}", func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
			if _, err := verifierAt(testTime).VerifyHeader(r, []byte("{}")); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			c.edit(r)
			_, err := verifierAt(testTime).VerifyHeader(r, []byte("{}"))
			wantError(t, err, c.kind, c.text)
		})
	}
	_, err := verifierAt(testTime).VerifyHeader(signedPost(t, "{}"), []byte("{ }"))
	wantError(t, err, invalidSignature, "does not match")
}

// The C SDK corrects its clock by these words and by the Date (kvs-protocol.md 1.5).
func TestVerifyHeaderTellsSkewedClocks(t *testing.T) {
	r := signedPost(t, "{}")
	for _, off := range []time.Duration{-5 * time.Minute, 0, 5 * time.Minute} {
		if _, err := verifierAt(testTime.Add(off)).VerifyHeader(r, []byte("{}")); err != nil {
			t.Errorf("%v: %v", off, err)
		}
	}
	_, err := verifierAt(testTime.Add(6*time.Minute)).VerifyHeader(r, []byte("{}"))
	wantError(t, err, invalidSignature, "Signature expired: 20260301T120000Z is now earlier than 20260301T120100Z (20260301T120600Z - 5 min.)")
	_, err = verifierAt(testTime.Add(-6*time.Minute)).VerifyHeader(r, []byte("{}"))
	wantError(t, err, invalidSignature, "Signature not yet current: 20260301T120000Z is still later than 20260301T115900Z (20260301T115400Z + 5 min.)")
}

func presigned(t *testing.T, clientID string, c messages.Credentials) *url.URL {
	t.Helper()
	s, err := PresignWebSocket(t.Context(), "wss://localhost:8443", testARN, clientID, c, testRegion, testTime)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// upgrade is the request that a server sees when the address is dialed.
func upgrade(u *url.URL) *http.Request {
	r := httptest.NewRequest("GET", u.RequestURI(), nil)
	r.Host = u.Host
	return r
}

func TestVerifyQueryAcceptsPresigned(t *testing.T) {
	for _, creds := range []messages.Credentials{testKey, testToken} {
		for _, clientID := range []string{"", "viewer-1_a.b"} {
			u := presigned(t, clientID, creds)
			if got := u.Query().Get("X-Amz-ClientId"); got != clientID || u.Query().Get("X-Amz-ChannelARN") != testARN || u.Query().Get("X-Amz-Expires") != "299" {
				t.Fatalf("parameters: %v", u.Query())
			}
			for _, at := range []time.Duration{-5 * time.Minute, 0, 299 * time.Second} {
				if key, err := verifierAt(testTime.Add(at)).VerifyQuery(upgrade(u)); err != nil || key.ID != testKey.AccessKeyID {
					t.Errorf("%v: %v %v", at, key, err)
				}
			}
			pairs := strings.Split(u.RawQuery, "&")
			slices.Reverse(pairs) // order is the client's affair
			u.RawQuery = strings.ReplaceAll(strings.Join(pairs, "&"), "%3A", ":")
			if _, err := verifierAt(testTime).VerifyQuery(upgrade(u)); err != nil {
				t.Errorf("in another order and less encoded: %v", err)
			}
		}
	}
}

func TestVerifyQueryRefuses(t *testing.T) {
	set := func(name, value string) func(url.Values) { return func(q url.Values) { q.Set(name, value) } }
	cases := map[string]struct {
		edit       func(url.Values)
		kind, text string
	}{
		"nothing signed":     {func(q url.Values) { clear(q) }, missingToken, "Missing Authentication Token"},
		"another algorithm":  {set("X-Amz-Algorithm", "AWS4-HMAC-SHA1"), incomplete, "algorithm"},
		"expires 0":          {set("X-Amz-Expires", "0"), incomplete, "1 to 604800"},
		"expires -1":         {set("X-Amz-Expires", "-1"), incomplete, "1 to 604800"},
		"expires too late":   {set("X-Amz-Expires", "604801"), incomplete, "1 to 604800"},
		"expires no number":  {set("X-Amz-Expires", "99999999999999999999"), incomplete, "1 to 604800"},
		"expires changed":    {set("X-Amz-Expires", "300"), invalidSignature, "does not match"},
		"channel changed":    {set("X-Amz-ChannelARN", testARN+"1"), invalidSignature, "does not match"},
		"client changed":     {set("X-Amz-ClientId", "another"), invalidSignature, "does not match"},
		"client removed":     {func(q url.Values) { q.Del("X-Amz-ClientId") }, invalidSignature, "does not match"},
		"token changed":      {set("X-Amz-Security-Token", "x"), invalidSignature, "does not match"},
		"parameter added":    {set("a", ""), invalidSignature, "does not match"},
		"client twice":       {func(q url.Values) { q.Add("X-Amz-ClientId", "another") }, incomplete, "twice"},
		"header not sent":    {set("X-Amz-SignedHeaders", "host;x-not-there"), invalidSignature, "does not match"},
		"host not signed":    {set("X-Amz-SignedHeaders", "x-amz-date"), invalidSignature, "'Host' must be"},
		"unknown key":        {set("X-Amz-Credential", "AKIDSTRANGER/20260301/us-west-2/kinesisvideo/aws4_request"), unknownClient, "security token"},
		"another region":     {set("X-Amz-Credential", "AKIDEXAMPLE/20260301/us-east-1/kinesisvideo/aws4_request"), invalidSignature, "region"},
		"signature in upper": {func(q url.Values) { q.Set("X-Amz-Signature", strings.ToUpper(q.Get("X-Amz-Signature"))) }, invalidSignature, "does not match"},
	}
	for _, name := range []string{"Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"} {
		name = "X-Amz-" + name
		cases["without "+name] = struct {
			edit       func(url.Values)
			kind, text string
		}{func(q url.Values) { q.Del(name) }, incomplete, "'" + name + "'"}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			u := presigned(t, "viewer-1", testToken)
			q := u.Query()
			c.edit(q)
			u.RawQuery = q.Encode()
			_, err := verifierAt(testTime).VerifyQuery(upgrade(u))
			wantError(t, err, c.kind, c.text)
		})
	}
}

func TestVerifyQueryRefusesAnotherRequest(t *testing.T) {
	for name, edit := range map[string]func(*http.Request){
		"method": func(r *http.Request) { r.Method = "POST" },
		"path":   func(r *http.Request) { r.URL.Path = "/x" },
		"host":   func(r *http.Request) { r.Host = "localhost" },
	} {
		r := upgrade(presigned(t, "v", testKey))
		edit(r)
		_, err := verifierAt(testTime).VerifyQuery(r)
		t.Log(name)
		wantError(t, err, invalidSignature, "does not match")
	}
	r := upgrade(presigned(t, "v", testKey))
	r.URL.RawQuery += "&a=%"
	_, err := verifierAt(testTime).VerifyQuery(r)
	wantError(t, err, incomplete, "well-formed")

	u := presigned(t, "v", testKey)
	_, err = verifierAt(testTime.Add(300 * time.Second)).VerifyQuery(upgrade(u))
	wantError(t, err, invalidSignature, "Signature expired: 20260301T120000Z is now earlier than 20260301T120001Z")
	_, err = verifierAt(testTime.Add(-301 * time.Second)).VerifyQuery(upgrade(u))
	wantError(t, err, invalidSignature, "Signature not yet current")
}

func TestPresignRefusesOtherEndpoints(t *testing.T) {
	for _, endpoint := range []string{"https://localhost", "wss://", "wss://localhost?a=b", "wss://u:p@localhost", "::"} {
		if s, err := PresignWebSocket(t.Context(), endpoint, testARN, "", testKey, testRegion, testTime); err == nil {
			t.Errorf("%s: %s", endpoint, s)
		}
	}
}

// A secret that changes under the same id must change the signature at once.
func TestSignKeepsNoDerivedKey(t *testing.T) {
	changed := testKey
	changed.SecretAccessKey = "another"
	if a, b := presigned(t, "v", testKey).Query(), presigned(t, "v", changed).Query(); a.Get("X-Amz-Signature") == b.Get("X-Amz-Signature") {
		t.Error("the signature does not depend on the secret")
	}
}

func FuzzVerifyQuery(f *testing.F) {
	good, err := PresignWebSocket(context.Background(), "wss://localhost:8443", testARN, "viewer-1", testToken, testRegion, testTime)
	if err != nil {
		f.Fatal(err)
	}
	u, _ := url.Parse(good)
	f.Add(u.RawQuery)
	f.Add(strings.Replace(u.RawQuery, "viewer-1", "viewer-2", 1))
	f.Add("X-Amz-Signature=x&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=////&X-Amz-Date=%00&X-Amz-Expires=1&X-Amz-SignedHeaders=;")
	f.Add("a;b&%zz=&&=")
	f.Fuzz(func(t *testing.T, query string) {
		r := upgrade(u)
		r.URL = &url.URL{Path: "/", RawQuery: query}
		if _, err := verifierAt(testTime).VerifyQuery(r); err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Status != http.StatusForbidden {
				t.Fatalf("not a refusal: %v", err)
			}
			return
		}
		if got, want := r.URL.Query().Encode(), u.Query().Encode(); got != want { // only what was signed may pass
			t.Fatalf("accepted %q", query)
		}
	})
}

func FuzzVerifyHeader(f *testing.F) {
	const body = `{"ChannelName":"door"}`
	sign := func() *http.Request {
		r := httptest.NewRequest("POST", "https://localhost:8443/describeSignalingChannel", strings.NewReader(body))
		if err := v4.NewSigner().SignHTTP(context.Background(), sdkCredentials(testKey), r, hashHex([]byte(body)), ServiceName, testRegion, testTime); err != nil {
			f.Fatal(err)
		}
		return r
	}
	good := sign().Header.Get("Authorization")
	f.Add(good, testTime.Format(dateLayout), body)
	f.Add(good, testTime.Format(dateLayout), "{}")
	f.Add("AWS4-HMAC-SHA256 Credential=////,SignedHeaders=;,Signature=", "", "")
	f.Add("AWS4-HMAC-SHA256", "20260301", "")
	f.Fuzz(func(t *testing.T, authorization, date, sent string) {
		r := sign()
		r.Header["Authorization"], r.Header["X-Amz-Date"] = []string{authorization}, []string{date}
		if _, err := verifierAt(testTime).VerifyHeader(r, []byte(sent)); err == nil {
			_, got, _ := strings.Cut(authorization, "Signature=")
			_, want, _ := strings.Cut(good, "Signature=")
			if !strings.HasPrefix(got, want) || sent != body || date != testTime.Format(dateLayout) {
				t.Fatalf("accepted %q %q %q", authorization, date, sent)
			}
		}
	})
}
