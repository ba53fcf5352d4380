package service

// The secrets of a service: made at first start, kept in the data directory with mode 0600, never
// printed. Owner: Start.

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	keysFile    = "keys.json"
	envFile     = "env"
	caFile      = "ca.pem"
	dirMode     = 0o700
	secretMode  = 0o600
	tokenBytes  = 16
	secretChars = 40
)

// keys is the file's contents.
type keys struct {
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	RelaySecret     string `json:"relay_secret"` // outlives restarts, so that TURN credentials do
}

// openKeys reads the keys in dir, or makes them. An empty dir keeps them in memory.
func openKeys(dir string) (keys, error) {
	if dir == "" {
		return newKeys(), nil
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return keys{}, fmt.Errorf("make data directory: %w", err)
	}
	if err := os.Chmod(dir, dirMode); err != nil {
		return keys{}, fmt.Errorf("keep others out of the data directory: %w", err)
	}
	path := filepath.Join(dir, keysFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		k := newKeys()
		text, _ = json.Marshal(k) // three strings
		return k, writeSecret(path, text)
	}
	if err != nil {
		return keys{}, fmt.Errorf("read keys: %w", err)
	}
	var k keys
	if json.Unmarshal(text, &k) != nil || k.AccessKeyID == "" || k.SecretAccessKey == "" || k.RelaySecret == "" {
		return keys{}, fmt.Errorf("%s is damaged: remove it and start again, a new access key is made", path)
	}
	return k, nil
}

func newKeys() keys {
	return keys{
		AccessKeyID:     "HELIO" + randomText(15, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
		SecretAccessKey: randomText(secretChars, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"),
		RelaySecret:     randomText(secretChars, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"),
	}
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

func (k keys) credentials() messages.Credentials {
	return messages.Credentials{AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey}
}

// secret is what the verifier asks.
func (k keys) secret(accessKeyID string) (string, bool) {
	return k.SecretAccessKey, accessKeyID == k.AccessKeyID
}

// writeEnv writes the file that makes a shell speak to this service: `source <dir>/env`. It is
// written anew at each start, because ports may have changed.
func (s *Service) writeEnv(dir string) error {
	if dir == "" {
		return nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("write env: %w", err)
	}
	ca := filepath.Join(dir, caFile)
	var b strings.Builder
	b.WriteString("# Source this file to use the local Heliograph service. It holds a secret key.\n")
	b.WriteString("unset AWS_SESSION_TOKEN AWS_PROFILE\n")
	for _, v := range [][2]string{
		{"AWS_ACCESS_KEY_ID", s.Credentials.AccessKeyID},
		{"AWS_SECRET_ACCESS_KEY", s.Credentials.SecretAccessKey},
		{"AWS_REGION", s.Region},
		{"AWS_DEFAULT_REGION", s.Region},
		{"AWS_ENDPOINT_URL_KINESIS_VIDEO", s.PublicURL},
		{"CONTROL_PLANE_URI", s.PublicURL},
		{"AWS_KVS_CACERT_PATH", ca},
		{"AWS_CA_BUNDLE", ca},
		{"NODE_EXTRA_CA_CERTS", ca},
	} {
		fmt.Fprintf(&b, "export %s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", `'\''`))
	}
	s.EnvFile = filepath.Join(dir, envFile)
	return writeSecret(s.EnvFile, []byte(b.String()))
}
