package service

// The secrets of a service and what its access keys may do: keys.json, made at first start with one
// key for everything, kept with mode 0600, never printed. In order of execution: readKeys gets the
// texts of keys.json and of --access-key-file, compileKeys checks them and makes the keyring
// (keyring.go) that the doors ask. Owner: Start, and then the actor keywatch.
//
// The file, which people edit and nodes of a cluster share:
//
//	{
//	  "relay_secret": "...",               TURN passwords are made of it; read at start only
//	  "session_secret": "...",             session tokens are sealed with it
//	  "keys": [                            the first one is what the env file holds
//	    {"access_key_id": "VIEWER", "secret_access_key": "...", "policy": {
//	      "Version": "2012-10-17",         IAM's language: Effect, Action, Resource, with * and ?
//	      "Statement": [{"Effect": "Allow", "Action": "kinesisvideo:ConnectAsViewer",
//	                     "Resource": "arn:aws:kinesisvideo:*:*:channel/door/*"}]}}
//	  ],
//	  "roles": {"NAME": {"policy": {...}, "session_seconds_max": 3600}},            3600 to 43200
//	  "role_aliases": {"NAME": {"role": "NAME", "credential_seconds": 3600}}        900 to 43200
//	}

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

const (
	keysFile     = "keys.json"
	dirMode      = 0o700
	secretMode   = 0o600
	tokenBytes   = 16
	secretChars  = 40
	keysBytesMax = 1 << 20
	keysMax      = 1000
	rolesMax     = 1000

	secretAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
)

// keyDocument is keys.json.
type keyDocument struct {
	RelaySecret   string                `json:"relay_secret"` // outlives restarts, so that TURN credentials do
	SessionSecret string                `json:"session_secret"`
	Keys          []keyEntry            `json:"keys"`
	Roles         map[string]roleEntry  `json:"roles,omitempty"`
	RoleAliases   map[string]aliasEntry `json:"role_aliases,omitempty"`
}

type keyEntry struct {
	AccessKeyID     string          `json:"access_key_id"`
	SecretAccessKey string          `json:"secret_access_key"`
	Policy          json.RawMessage `json:"policy,omitempty"`
}

func (e keyEntry) credentials() messages.Credentials {
	return messages.Credentials{AccessKeyID: e.AccessKeyID, SecretAccessKey: e.SecretAccessKey}
}

// keyTexts are the two files as they were read.
type keyTexts struct {
	kept    []byte    // keys.json
	changed time.Time // when it was written
	fixed   []byte    // --access-key-file; empty: none
}

func (t keyTexts) equal(o keyTexts) bool {
	return bytes.Equal(t.kept, o.kept) && bytes.Equal(t.fixed, o.fixed)
}

// prepareDir makes the data directory and keeps others out of it.
func prepareDir(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if err := os.Chmod(dir, dirMode); err != nil {
		return fmt.Errorf("keep others out of the data directory: %w", err)
	}
	return nil
}

// makeKeys writes keys.json where there is none, and brings one of the first version up to date. An
// empty dir gives the text of new keys that nobody keeps.
func makeKeys(dir string) (text []byte, err error) {
	if dir == "" {
		return newKeys().encode(), nil
	}
	path := filepath.Join(dir, keysFile)
	text, _, err = readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, keysSumFile)); err == nil {
			return nil, fmt.Errorf("%s is gone from %s: restore it from a backup, or remove %s too and new keys are made", keysFile, dir, keysSumFile)
		}
		text = newKeys().encode()
		return text, writeSecret(path, text)
	}
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	var old struct {
		AccessKeyID     string `json:"access_key_id"`
		SecretAccessKey string `json:"secret_access_key"`
		RelaySecret     string `json:"relay_secret"`
	}
	if json.Unmarshal(text, &old) != nil || old.AccessKeyID == "" {
		return text, nil
	}
	d := newKeys()
	d.RelaySecret, d.Keys[0].AccessKeyID, d.Keys[0].SecretAccessKey = old.RelaySecret, old.AccessKeyID, old.SecretAccessKey
	text = d.encode()
	return text, writeSecret(path, text)
}

func newKeys() *keyDocument {
	return &keyDocument{
		RelaySecret:   randomText(secretChars, secretAlphabet),
		SessionSecret: randomText(secretChars, secretAlphabet),
		Keys: []keyEntry{{
			AccessKeyID:     "HELIO" + randomText(15, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
			SecretAccessKey: randomText(secretChars, secretAlphabet),
			Policy:          json.RawMessage(aws.Everything),
		}},
		Roles:       map[string]roleEntry{DefaultRoleAlias: {Policy: json.RawMessage(thingPolicy)}},
		RoleAliases: map[string]aliasEntry{DefaultRoleAlias: {Role: DefaultRoleAlias}},
	}
}

func (d *keyDocument) encode() []byte {
	text, _ := json.MarshalIndent(d, "", "  ") // strings, numbers and JSON that was valid
	return append(text, '\n')
}

// readSmall reads a file that has no reason to be large, and when it was changed.
func readSmall(path string) (text []byte, changed time.Time, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, changed, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, changed, err
	}
	text, err = io.ReadAll(io.LimitReader(f, keysBytesMax+1))
	if err == nil && len(text) > keysBytesMax {
		err = fmt.Errorf("%s has more than %d bytes", filepath.Base(path), keysBytesMax)
	}
	return text, info.ModTime(), err
}

var (
	keyIDPattern  = regexp.MustCompile(`^\w{1,128}$`)
	secretPattern = regexp.MustCompile(`^[!-~]{1,128}$`)
)

// decodeKeys reads keys.json. It does not look into policies.
func decodeKeys(text []byte) (*keyDocument, error) {
	d := &keyDocument{}
	if err := aws.DecodeStrictly(text, d); err != nil {
		return nil, err
	}
	switch {
	case d.RelaySecret == "" || d.SessionSecret == "":
		return nil, errors.New("relay_secret or session_secret is missing")
	case len(d.Keys) == 0 || len(d.Keys) > keysMax:
		return nil, fmt.Errorf("there must be 1 to %d keys", keysMax)
	case len(d.Roles) > rolesMax || len(d.RoleAliases) > rolesMax:
		return nil, fmt.Errorf("there may be %d roles, and role aliases, at most", rolesMax)
	}
	return d, nil
}

// decodeFixed reads the file of --access-key-file: the access key id and the secret, separated by
// blanks or a line end, or one entry of keys.json's list, whose policy may be left out.
func decodeFixed(text []byte) (keyEntry, error) {
	var e keyEntry
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' {
		if err := aws.DecodeStrictly(trimmed, &e); err != nil {
			return e, err
		}
	} else if words := strings.Fields(string(text)); len(words) == 2 {
		e.AccessKeyID, e.SecretAccessKey = words[0], words[1]
	} else {
		return e, errors.New(`it must hold the access key id and the secret, or {"access_key_id":...,"secret_access_key":...}`)
	}
	if e.Policy == nil {
		e.Policy = json.RawMessage(aws.Everything)
	}
	return e, nil
}

// compile checks an entry; the error never shows the secret.
func (e keyEntry) compile(account string) (*aws.Key, error) {
	switch {
	case !keyIDPattern.MatchString(e.AccessKeyID):
		return nil, errors.New("access_key_id must have 1 to 128 letters, digits and _")
	case strings.HasPrefix(e.AccessKeyID, sessionPrefix):
		return nil, fmt.Errorf("access_key_id must not begin with %s, as those of sessions do", sessionPrefix)
	case !secretPattern.MatchString(e.SecretAccessKey):
		return nil, errors.New("secret_access_key must have 1 to 128 printable characters without blanks")
	case e.Policy == nil:
		return nil, fmt.Errorf("policy is missing; what allows everything is %s", aws.Everything)
	}
	policy, err := aws.ParsePolicy(e.Policy)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return &aws.Key{
		ID: e.AccessKeyID, Secret: e.SecretAccessKey, Policy: policy,
		Principal: "arn:aws:iam::" + account + ":user/" + e.AccessKeyID,
	}, nil
}

// randomText has log2(len(alphabet)) bits per character; the alphabet's length must be a power of two.
func randomText(chars int, alphabet string) string {
	b := make([]byte, chars)
	_, _ = rand.Read(b) // never fails
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

// newToken is an unguessable name.
func newToken() string {
	var b [tokenBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// writeSecret replaces a file as a whole, so that a crash leaves the old or the new one.
func writeSecret(path string, text []byte) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, text, secretMode); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

// ReadKey returns the key of that id in the keys.json of a data directory.
func ReadKey(dir, accessKeyID string) (messages.Credentials, error) {
	text, _, err := readSmall(filepath.Join(dir, keysFile))
	if err != nil {
		return messages.Credentials{}, fmt.Errorf("read keys: %w", err)
	}
	d, err := decodeKeys(text)
	if err != nil {
		return messages.Credentials{}, fmt.Errorf("%s: %w", keysFile, err)
	}
	for _, e := range d.Keys {
		if e.AccessKeyID == accessKeyID {
			return e.credentials(), nil
		}
	}
	return messages.Credentials{}, fmt.Errorf("%s has no key %q", keysFile, accessKeyID)
}
