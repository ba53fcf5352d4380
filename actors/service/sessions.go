package service

// Session credentials without a list of sessions. The token holds what the session is, sealed with
// AES-GCM under a key that all nodes have, and bound to the access key id; the secret is an HMAC of
// both. So any node opens the token, and derives the secret, of a session that another one made.
// Owner: nobody, pure functions of the secret.

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	sessionPrefix      = "ASIA" // as AWS's begin
	sessionIDChars     = 16     // behind the prefix
	sessionSecretBytes = 30     // 40 characters
	sessionKeyBytes    = 32
	sessionTokenMax    = 2047 // characters; the Linux reference takes no more (kvs-protocol.md 6)
)

// session is what a token says.
type session struct {
	Role    string `json:"r"`
	Name    string `json:"n"`           // of the device
	Thing   bool   `json:"t,omitempty"` // the device asked as a thing, so that policy variables have a value
	Issued  int64  `json:"i"`           // nanoseconds since the epoch
	Expires int64  `json:"e"`           // seconds since the epoch
}

func (s session) expires() time.Time { return time.Unix(s.Expires, 0).UTC() }

type sessions struct {
	sealing  cipher.AEAD
	deriving []byte
	encoding *base64.Encoding
}

func newSessions(secret string) sessions {
	derive := func(purpose string) []byte {
		key, err := hkdf.Key(sha256.New, []byte(secret), nil, "heliograph session "+purpose, sessionKeyBytes)
		if err != nil {
			panic(err) // only for more bytes than the hash can give
		}
		return key
	}
	block, err := aes.NewCipher(derive("token"))
	if err != nil {
		panic(err) // only for a key of another size
	}
	sealing, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only for a block of another size
	}
	return sessions{sealing, derive("secret"), base64.RawURLEncoding}
}

// seal makes credentials of a session.
func (s sessions) seal(what session) messages.Credentials {
	id := sessionPrefix + randomText(sessionIDChars, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
	text, _ := json.Marshal(what) // strings and numbers
	token := s.encoding.EncodeToString(s.sealing.Seal(nil, nil, text, []byte(id)))
	return messages.Credentials{AccessKeyID: id, SecretAccessKey: s.secret(id, token), SessionToken: token, Expires: what.expires()}
}

// open reads a token that came with an access key id. It does not look at the time.
func (s sessions) open(id, token string) (what session, ok bool) {
	if len(token) > sessionTokenMax {
		return what, false
	}
	sealed, err := s.encoding.Strict().DecodeString(token)
	if err != nil {
		return what, false
	}
	text, err := s.sealing.Open(nil, nil, sealed, []byte(id))
	if err != nil || json.Unmarshal(text, &what) != nil {
		return session{}, false
	}
	return what, true
}

// secret is the secret access key of a session.
func (s sessions) secret(id, token string) string {
	h := hmac.New(sha256.New, s.deriving)
	h.Write([]byte(id + "\x00" + token))
	return s.encoding.EncodeToString(h.Sum(nil)[:sessionSecretBytes])
}
