package aws

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A request is verified in four steps: read its claim (who signed what, when), weigh the claim
// (scope, key, time), rebuild the canonical request from what arrived, compare the signatures.

// The bounds of a claim.
const (
	expiresSecondsMax = 604800 // a week, SigV4's own bound
	signedHeadersMax  = 64
	defaultSkewMax    = 5 * time.Minute
	dateLayout        = "20060102T150405Z"
)

// Verifier checks SigV4 signatures of requests to KVS. It is safe for concurrent use when its
// functions are. Its errors are *Error, status 403, with AWS's names (kvs-protocol.md 1.5).
type Verifier struct {
	Region  string           // the only region accepted; empty: any
	Key     FindKey          // must not be nil
	Now     func() time.Time // nil: time.Now
	SkewMax time.Duration    // how far the signer's clock may be off; 0: 5 min

	// ExpiresMax is how long a presigned URL is good for at most. One that says more is good for that
	// time only, so that clients meet its end without being told; 0: a week.
	ExpiresMax time.Duration
}

// FindKey finds the key of that id which is good at that time; token is the session token that came
// with it, empty for none. It fails with UnknownClient or ExpiredToken.
type FindKey func(accessKeyID, token string, at time.Time) (*Key, *Error)

// claim is what a request says of its own signature.
type claim struct {
	accessKeyID, scope, day, region string        // from the credential
	token                           string        // of the session; empty for a key that lasts
	date                            string        // as sent; part of what was signed
	life                            time.Duration // how long after date the signature is good for
	signedHeaders                   []string
	signature                       string
}

// VerifyHeader checks the Authorization header of r, whose body must have been read into body. It
// takes SignedHeaders at its word, as a security token may travel unsigned (kvs-protocol.md 3.2).
func (v *Verifier) VerifyHeader(r *http.Request, body []byte) (*Key, error) {
	c, fault := headerClaim(r)
	c.life = v.skewMax()
	if fault == nil {
		fault = bodyFault(r, body)
	}
	var q url.Values
	if fault == nil {
		q, fault = parseQuery(r)
	}
	var key *Key
	if fault == nil {
		key, fault = v.check(r, c, canonicalQuery(q, ""), hashHex(body))
	}
	if fault != nil {
		return nil, v.dated(fault)
	}
	return key, nil
}

// VerifyQuery checks a presigned GET, as a WebSocket is opened with. No X-Amz- parameter may come
// twice, so that what was verified is what the caller then reads from the query.
func (v *Verifier) VerifyQuery(r *http.Request) (*Key, error) {
	q, fault := parseQuery(r)
	var c claim
	var key *Key
	if fault == nil {
		c, fault = queryClaim(q)
	}
	if v.ExpiresMax > 0 {
		c.life = min(c.life, v.ExpiresMax)
	}
	if fault == nil {
		key, fault = v.check(r, c, canonicalQuery(q, "X-Amz-Signature"), emptyHash)
	}
	if fault != nil {
		return nil, v.dated(fault)
	}
	return key, nil
}

// headerClaim reads "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…".
func headerClaim(r *http.Request) (c claim, fault *Error) {
	sent := r.Header.Values("Authorization")
	if len(sent) == 0 {
		return c, refuse(missingToken, "Missing Authentication Token")
	}
	kind, rest, _ := strings.Cut(sent[0], " ")
	if kind != algorithm || len(sent) > 1 {
		return c, refuse(incomplete, "Unsupported AWS 'algorithm': the Authorization header must be one "+algorithm)
	}
	part := map[string]string{}
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		if _, twice := part[name]; twice {
			return c, refuse(incomplete, "The Authorization header holds a parameter twice.")
		}
		part[name] = value
	}
	for _, name := range []string{"Credential", "Signature", "SignedHeaders"} {
		if part[name] == "" {
			return c, refuse(incomplete, "Authorization header requires '%s' parameter.", name)
		}
	}
	dates := r.Header.Values("X-Amz-Date")
	if len(dates) != 1 {
		return c, refuse(incomplete, "Authorization header requires existence of one 'X-Amz-Date' header.")
	}
	tokens := r.Header.Values("X-Amz-Security-Token")
	if len(tokens) > 1 {
		return c, refuse(incomplete, "The 'X-Amz-Security-Token' header comes twice.")
	}
	c = claim{date: dates[0], signature: part["Signature"], token: strings.Join(tokens, "")}
	fault = c.read(part["Credential"], part["SignedHeaders"])
	return c, fault
}

// queryClaim reads the parameters of kvs-protocol.md 3.1.
func queryClaim(q url.Values) (c claim, fault *Error) {
	if !q.Has("X-Amz-Algorithm") && !q.Has("X-Amz-Credential") && !q.Has("X-Amz-Signature") {
		return c, refuse(missingToken, "Missing Authentication Token")
	}
	for name, values := range q {
		if len(values) > 1 && strings.HasPrefix(strings.ToLower(name), "x-amz-") {
			return c, refuse(incomplete, "An 'X-Amz-' query-string parameter comes twice.")
		}
	}
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Signature", "X-Amz-SignedHeaders"} {
		if q.Get(name) == "" {
			return c, refuse(incomplete, "AWS query-string parameters must include '%s'. Re-examine the query-string parameters.", name)
		}
	}
	if q.Get("X-Amz-Algorithm") != algorithm {
		return c, refuse(incomplete, "Unsupported AWS 'algorithm': X-Amz-Algorithm must be "+algorithm)
	}
	seconds, err := strconv.Atoi(q.Get("X-Amz-Expires"))
	if err != nil || seconds < 1 || seconds > expiresSecondsMax {
		return c, refuse(incomplete, "X-Amz-Expires must be a number of seconds from 1 to %d.", expiresSecondsMax)
	}
	c = claim{
		date: q.Get("X-Amz-Date"), life: time.Duration(seconds) * time.Second,
		signature: q.Get("X-Amz-Signature"), token: q.Get("X-Amz-Security-Token"),
	}
	fault = c.read(q.Get("X-Amz-Credential"), q.Get("X-Amz-SignedHeaders"))
	return c, fault
}

// read takes credential and signed headers apart; both come in the same form by header and by query.
func (c *claim) read(credential, signedHeaders string) *Error {
	part := strings.Split(credential, "/")
	switch {
	case len(part) != 5 || part[0] == "":
		return refuse(incomplete, "Credential must have 5 slash-delimited elements: keyid/date/region/service/term.")
	case part[3] != ServiceName:
		return refuse(invalidSignature, "Credential should be scoped to correct service: '%s'.", ServiceName)
	case part[4] != "aws4_request":
		return refuse(invalidSignature, "Credential should be scoped with a valid terminator: 'aws4_request'.")
	}
	c.accessKeyID, c.day, c.region = part[0], part[1], part[2]
	c.scope = credential[len(part[0])+1:]

	c.signedHeaders = strings.Split(signedHeaders, ";")
	if len(c.signedHeaders) > signedHeadersMax {
		return refuse(incomplete, "More than %d headers are signed.", signedHeadersMax)
	}
	for i, name := range c.signedHeaders {
		if !validHeaderName(name) || slices.Contains(c.signedHeaders[:i], name) {
			return refuse(incomplete, "SignedHeaders must be lower-case header names, each once, delimited by ';'.")
		}
	}
	if !slices.Contains(c.signedHeaders, "host") {
		return refuse(invalidSignature, "'Host' must be a 'SignedHeader' in the AWS Authorization.")
	}
	return nil
}

// check weighs the claim and compares its signature with the one that the key's holder would make.
func (v *Verifier) check(r *http.Request, c claim, query, payloadHash string) (*Key, *Error) {
	if v.Region != "" && c.region != v.Region {
		return nil, refuse(invalidSignature, "Credential should be scoped to a valid region, not the one given: this is '%s'.", v.Region)
	}
	key, fault := v.Key(c.accessKeyID, c.token, v.now())
	if fault != nil {
		return nil, fault
	}
	if fault := v.checkTime(c); fault != nil {
		return nil, fault
	}
	canonical := strings.Join([]string{r.Method, canonicalPath(r.URL), query, canonicalHeaders(r, c.signedHeaders), strings.Join(c.signedHeaders, ";"), payloadHash}, "\n")
	want := signature(key.Secret, canonical, c.date, c.scope)
	if subtle.ConstantTimeCompare([]byte(want), []byte(c.signature)) != 1 {
		return nil, refuse(invalidSignature, "The request signature we calculated does not match the signature you provided. "+
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	return key, nil
}

// checkTime holds the claim's date against the clock. The C SDK looks for "Signature expired" and
// "Signature not yet current" in the text to correct its clock (kvs-protocol.md 1.5).
func (v *Verifier) checkTime(c claim) *Error {
	date, err := time.Parse(dateLayout, c.date)
	if err != nil {
		return refuse(incomplete, "Date must be in ISO-8601 'basic format': YYYYMMDD'T'HHMMSS'Z'.")
	}
	if c.day != c.date[:8] {
		return refuse(invalidSignature, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.")
	}
	now := v.now().UTC()
	if oldest := now.Add(-c.life); date.Before(oldest.Truncate(time.Second)) {
		return refuse(invalidSignature, "Signature expired: %s is now earlier than %s (%s - %s)",
			c.date, oldest.Format(dateLayout), now.Format(dateLayout), minutes(c.life))
	}
	if newest := now.Add(v.skewMax()); date.After(newest) {
		return refuse(invalidSignature, "Signature not yet current: %s is still later than %s (%s + %s)",
			c.date, newest.Format(dateLayout), now.Format(dateLayout), minutes(v.skewMax()))
	}
	return nil
}

func (v *Verifier) now() time.Time {
	if v.Now != nil {
		return v.Now()
	}
	return time.Now()
}

func (v *Verifier) skewMax() time.Duration {
	if v.SkewMax > 0 {
		return v.SkewMax
	}
	return defaultSkewMax
}

// dated adds the clock by which a client may correct its own.
func (v *Verifier) dated(e *Error) *Error {
	e.Date = v.now().UTC().Truncate(time.Second)
	return e
}

// parseQuery refuses what cannot be decoded: net/url's Query would drop it, unverified, in silence.
func parseQuery(r *http.Request) (url.Values, *Error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(incomplete, "The query-string is not well-formed.")
	}
	return q, nil
}

// bodyFault holds X-Amz-Content-Sha256, where it was sent, against the body. UNSIGNED-PAYLOAD is
// S3's alone.
func bodyFault(r *http.Request, body []byte) *Error {
	for _, sent := range r.Header.Values("X-Amz-Content-Sha256") {
		if sent != hashHex(body) {
			return refuse(invalidSignature, "The value of x-amz-content-sha256 does not match the SHA-256 of the body.")
		}
	}
	return nil
}

// validHeaderName keeps out what would make two different requests look alike in canonical form.
func validHeaderName(s string) bool {
	for _, b := range []byte(s) {
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' && b != '_' {
			return false
		}
	}
	return s != ""
}

// minutes writes 5m0s as "5 min.", the way AWS does.
func minutes(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d min.", d/time.Minute)
	}
	return fmt.Sprintf("%d sec.", d/time.Second)
}

// The names of refusals (kvs-protocol.md 1.5).
const (
	missingToken     = "MissingAuthenticationTokenException"
	incomplete       = "IncompleteSignatureException"
	invalidSignature = "InvalidSignatureException"
	unknownClient    = "UnrecognizedClientException"
	expiredToken     = "ExpiredTokenException"
)

// UnknownClient refuses a key that nobody has, or a token that is not the key's.
func UnknownClient() *Error {
	return refuse(unknownClient, "The security token included in the request is invalid.")
}

// ExpiredToken refuses a session that is over.
func ExpiredToken() *Error {
	return refuse(expiredToken, "The security token included in the request is expired")
}

func refuse(kind, format string, args ...any) *Error {
	return &Error{Type: kind, Status: http.StatusForbidden, Message: fmt.Sprintf(format, args...)}
}
