package service

// The IoT credentials provider of a service, and the commands that prepare devices for it: they work
// on the data directory, whether the service runs or not, and the service sees what they did.

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/api"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// iotEndpointFile holds host[:port] of the credentials provider, for create-thing to print.
const iotEndpointFile = "iot/endpoint"

// listenIoT binds the devices' door with the server's own certificate: the C clients trust one CA
// for everything (kvs-protocol.md 7.2).
func (s *Service) listenIoT(w *world, cert tls.Certificate) error {
	if w.cfg.IoT == "" || w.cfg.IoT == Off {
		return nil
	}
	if w.cfg.Dir == "" {
		return errors.New("devices' certificates need a data directory: set --data-dir, and leave --ephemeral out")
	}
	things, err := api.OpenThings(w.cfg.Dir)
	if err != nil {
		return err
	}
	log := w.cfg.Log.Named("iot")
	s.listeners.iot, err = api.ListenMutualTLS(w.cfg.IoT, cert, api.IoT(api.IoTConfig{
		Things: things, Assume: w.keys.assume, Refused: w.metrics.refusal, Now: w.now, Log: log,
	}), log)
	if err != nil {
		return err
	}
	s.IoTEndpoint = reachable(s.listeners.iot.Addr())
	return writeSecret(filepath.Join(w.cfg.Dir, iotEndpointFile), []byte(s.IoTEndpoint+"\n"))
}

func (k *keystore) assume(alias, name string, asThing bool, at time.Time) (messages.Credentials, error) {
	return k.ring.Load().assume(alias, name, asThing, at, k.limits)
}

// Thing is a device that was made ready: its files, and where it asks for credentials.
type Thing struct {
	api.Thing
	Endpoint string // empty: the service has not run with --iot yet
	CAFile   string
}

// CreateThing makes a device's certificate in the data directory.
func CreateThing(dir, name string) (Thing, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Thing{}, fmt.Errorf("create thing: %w", err)
	}
	if err := prepareDir(dir); err != nil {
		return Thing{}, err
	}
	things, err := api.OpenThings(dir)
	if err != nil {
		return Thing{}, err
	}
	made, err := things.Issue(dir, name)
	if err != nil {
		return Thing{}, err
	}
	endpoint, err := os.ReadFile(filepath.Join(dir, iotEndpointFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Thing{}, fmt.Errorf("read the credentials provider's address: %w", err)
	}
	return Thing{Thing: made, Endpoint: strings.TrimSpace(string(endpoint)), CAFile: filepath.Join(dir, caFile)}, nil
}

// CreateRoleAlias puts a role with a policy, and an alias of the same name for it, into keys.json;
// those of that name are replaced. An empty policy is the one for devices. A running service takes
// it over by itself.
func CreateRoleAlias(dir, name string, policy []byte, life time.Duration) error {
	if err := prepareDir(dir); err != nil {
		return err
	}
	text, err := makeKeys(dir)
	if err != nil {
		return err
	}
	d, err := decodeKeys(text)
	if err != nil {
		return fmt.Errorf("%s: %w", keysFile, err)
	}
	if len(policy) == 0 {
		policy = []byte(thingPolicy)
	}
	if _, err := aws.ParsePolicy(policy); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	if d.Roles == nil {
		d.Roles = map[string]roleEntry{}
	}
	if d.RoleAliases == nil {
		d.RoleAliases = map[string]aliasEntry{}
	}
	seconds := int(life / time.Second)
	d.Roles[name] = roleEntry{Policy: json.RawMessage(policy), SessionSecondsMax: max(seconds, roleSecondsMin)}
	d.RoleAliases[name] = aliasEntry{Role: name, CredentialSeconds: seconds}
	text = d.encode()
	if _, err := compileKeys(keyTexts{kept: text}, "000000000000"); err != nil {
		return err
	}
	return writeSecret(filepath.Join(dir, keysFile), text)
}
