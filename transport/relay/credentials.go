// Time-limited credentials. The password is an HMAC of the user name under the secret that all
// nodes share, so that any node serves any client and nothing is stored. Owner: nobody, pure
// functions of the secret and the clock.

package relay

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/pion/stun/v3"
	"github.com/pion/turn/v5"
)

const (
	credentialVersion = "v1:"
	usernameCharsMax  = 256 // kvs-protocol.md 2.1: clients hold no more
	clientDigestBytes = 6
)

// Credentials makes a user name and a password for one client of a channel, good for allocations
// until now+ttl; an allocation made with them may be refreshed afterwards. The user name has AWS's
// form (kvs-protocol.md 2.1), the password is 44 characters of standard base64.
func (r *Relay) Credentials(channelARN, clientID string, now time.Time, ttl time.Duration) (username, password string) {
	client := ClientDigest(clientID) + ":"
	expiry := strconv.FormatInt(now.Add(ttl).Unix(), 10) + ":"
	username = expiry + base64.StdEncoding.EncodeToString([]byte(credentialVersion+client+channelARN))
	if len(username) > usernameCharsMax {
		channel := sha256.Sum256([]byte(channelARN))
		username = expiry + base64.StdEncoding.EncodeToString([]byte(credentialVersion+client+hex.EncodeToString(channel[:])))
	}
	return username, r.password(username)
}

// ClientDigest is what a user name tells of a client id: with 256 characters of it, it would not fit.
func ClientDigest(clientID string) string {
	digest := sha256.Sum256([]byte(clientID))
	return base64.RawURLEncoding.EncodeToString(digest[:clientDigestBytes])
}

// User is whom credentials were made for.
type User struct {
	Channel string // ARN; its digest, where it was too long for a user name
	Client  string // ClientDigest of the client id
}

func (r *Relay) password(username string) string {
	mac := hmac.New(sha256.New, r.secret)
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// key is the long-term credential key of RFC 8489 9.2.2 for a user name that this service can have
// issued. An expired one is good for everything but a new allocation.
func (r *Relay) key(username, realm string, method stun.Method) ([]byte, bool) {
	expiry, client, found := strings.Cut(username, ":")
	if !found || client == "" || realm != r.realm || channelOf(username) == "" {
		return nil, false
	}
	seconds, err := strconv.ParseInt(expiry, 10, 64)
	if err != nil {
		return nil, false
	}
	if method == stun.MethodAllocate && r.now().Unix() >= seconds {
		return nil, false
	}
	return turn.GenerateAuthKey(username, realm, r.password(username)), true
}

func (r *Relay) authorize(request *turn.RequestAttributes) (userID string, key []byte, ok bool) {
	key, ok = r.key(request.Username, request.Realm, stun.Method(request.Method))
	if !ok {
		r.authFailures.Add(1)
	}
	return request.Username, key, ok
}

// userOf reads a user name; it is zero where it is none that this service makes.
func userOf(username string) (u User) {
	_, encoded, _ := strings.Cut(username, ":")
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return User{}
	}
	u.Client, u.Channel, _ = strings.Cut(strings.TrimPrefix(string(plain), credentialVersion), ":")
	return u
}

// channelOf is what the quota counts by.
func channelOf(username string) string { return userOf(username).Channel }
