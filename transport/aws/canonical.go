package aws

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// algorithm is the only one KVS signs with.
const algorithm = "AWS4-HMAC-SHA256"

// canonicalQuery sorts the decoded and encoded again query, one parameter left out: clients differ
// in order and in how they encode (kvs-protocol.md 3.2), the sorted form is the same for all.
func canonicalQuery(q url.Values, without string) string {
	pairs := make([][2]string, 0, len(q))
	for name, values := range q {
		if name == without {
			continue
		}
		for _, v := range values {
			pairs = append(pairs, [2]string{escape(name), escape(v)})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]string) int {
		if c := strings.Compare(a[0], b[0]); c != 0 {
			return c
		}
		return strings.Compare(a[1], b[1])
	})
	var s strings.Builder
	for i, p := range pairs {
		if i > 0 {
			s.WriteByte('&')
		}
		s.WriteString(p[0] + "=" + p[1])
	}
	return s.String()
}

// escape encodes everything but the unreserved characters of RFC 3986 section 2.3.
func escape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// canonicalPath encodes the path as it was sent once more, as every service but S3 wants it.
func canonicalPath(u *url.URL) string {
	path := u.EscapedPath()
	if path == "" {
		return "/"
	}
	return strings.ReplaceAll(escape(path), "%2F", "/")
}

// canonicalHeaders returns the signed headers' lines; one that was not sent counts as empty.
func canonicalHeaders(r *http.Request, names []string) string {
	var s strings.Builder
	for _, name := range names {
		values := r.Header[textproto.CanonicalMIMEHeaderKey(name)]
		switch {
		case name == "host": // net/http takes it out of the header
			values = []string{r.Host}
		case name == "content-length" && len(values) == 0 && r.ContentLength >= 0:
			values = []string{strconv.FormatInt(r.ContentLength, 10)}
		}
		s.WriteString(name + ":")
		for i, v := range values {
			if i > 0 {
				s.WriteByte(',')
			}
			s.WriteString(squeeze(v))
		}
		s.WriteByte('\n')
	}
	return s.String()
}

// squeeze trims the ends and makes one space of several.
func squeeze(s string) string {
	s = strings.TrimSpace(s)
	for strings.Contains(s, "  ") {
		s = strings.ReplaceAll(s, "  ", " ")
	}
	return s
}

// signature computes what the holder of secret would have signed the canonical request with. scope
// is day/region/service/aws4_request; each part goes into the key.
func signature(secret, canonicalRequest, date, scope string) string {
	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, algorithm+"\n"+date+"\n"+scope+"\n"+hashHex([]byte(canonicalRequest))))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
