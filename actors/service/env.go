package service

// The file that makes a shell speak to this service. Owner: Start writes it, anew each time; the
// server's own commands read it.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	envFile  = "env"
	caFile   = "ca.pem"
	envQuote = `'\''` // a quote within quotes
)

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
		fmt.Fprintf(&b, "export %s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", envQuote))
	}
	s.EnvFile = filepath.Join(dir, envFile)
	return writeSecret(s.EnvFile, []byte(b.String()))
}

// Env is what a client on this machine needs to reach the service that keeps its data in a directory.
type Env struct {
	Endpoint    string // of the control plane
	Region      string
	CAFile      string
	Credentials messages.Credentials
}

// ReadEnv reads the file that the service wrote at its last start.
func ReadEnv(dir string) (Env, error) {
	text, err := os.ReadFile(filepath.Join(dir, envFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Env{}, fmt.Errorf("no service has run with the data directory %s: start heliograph-server with it, or name another with --data-dir", dir)
	}
	if err != nil {
		return Env{}, fmt.Errorf("read env: %w", err)
	}
	v := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, found := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "export "), "='")
		if found {
			v[name] = strings.ReplaceAll(strings.TrimSuffix(value, "'"), envQuote, "'")
		}
	}
	e := Env{
		Endpoint: v["AWS_ENDPOINT_URL_KINESIS_VIDEO"], Region: v["AWS_REGION"], CAFile: v["AWS_KVS_CACERT_PATH"],
		Credentials: messages.Credentials{AccessKeyID: v["AWS_ACCESS_KEY_ID"], SecretAccessKey: v["AWS_SECRET_ACCESS_KEY"]},
	}
	if e.Endpoint == "" || e.Region == "" || e.Credentials.AccessKeyID == "" {
		return Env{}, fmt.Errorf("%s is damaged: start heliograph-server, which writes it anew", filepath.Join(dir, envFile))
	}
	return e, nil
}
