package service

// What the doors ask about keys. A keyring is all keys and roles at one moment and is never written;
// keystore holds the current one, which keywatch replaces when the files change.

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// roleEntry is a role in keys.json: what sessions that assume it may do.
type roleEntry struct {
	Policy            json.RawMessage `json:"policy"`
	SessionSecondsMax int             `json:"session_seconds_max,omitempty"` // 0: 3600
}

// aliasEntry is a role alias in keys.json: how devices ask for a role (kvs-protocol.md 6).
type aliasEntry struct {
	Role              string `json:"role"`
	CredentialSeconds int    `json:"credential_seconds,omitempty"` // 0: 3600
}

// The durations of AWS: of IAM's roles, and of IoT's role aliases (kvs-protocol.md 6).
const (
	sessionSecondsDefault = 3600
	roleSecondsMin        = 3600
	aliasSecondsMin       = 900
	sessionSecondsMax     = 43200
)

// DefaultRoleAlias is the role alias that a new data directory has, and its role's name.
const DefaultRoleAlias = "heliograph-device"

// thingPolicy is the one that AWS's guide gives to devices: master of the channel that has the
// thing's name.
const thingPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[` +
	`"kinesisvideo:ConnectAsMaster","kinesisvideo:CreateSignalingChannel","kinesisvideo:DescribeMediaStorageConfiguration",` +
	`"kinesisvideo:DescribeSignalingChannel","kinesisvideo:GetIceServerConfig","kinesisvideo:GetSignalingChannelEndpoint",` +
	`"kinesisvideo:JoinStorageSession"],"Resource":"arn:aws:kinesisvideo:*:*:channel/${credentials-iot:ThingName}/*"}]}`

var rolePattern = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)

// keyring is immutable.
type keyring struct {
	account     string
	first       messages.Credentials
	relaySecret string
	keys        map[string]*aws.Key
	roles       map[string]role
	aliases     map[string]aliasEntry
	sessions    sessions
}

type role struct {
	policy     *aws.Policy
	secondsMax int
}

// compileKeys makes a keyring of the two files. The error names the file and the entry.
func compileKeys(texts keyTexts, account string) (*keyring, error) {
	d, err := decodeKeys(texts.kept)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keysFile, err)
	}
	ring := &keyring{
		account: account, relaySecret: d.RelaySecret, first: d.Keys[0].credentials(), sessions: newSessions(d.SessionSecret),
		keys: map[string]*aws.Key{}, roles: map[string]role{}, aliases: d.RoleAliases,
	}
	for i, e := range d.Keys {
		key, err := e.compile(account)
		if err == nil && ring.keys[key.ID] != nil {
			err = errors.New("access_key_id is taken by an earlier one")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: keys[%d]: %w", keysFile, i, err)
		}
		ring.keys[key.ID] = key
	}
	if err := ring.compileRoles(d); err != nil {
		return nil, fmt.Errorf("%s: %w", keysFile, err)
	}
	if len(texts.fixed) == 0 {
		return ring, nil
	}
	fixed, err := decodeFixed(texts.fixed)
	var key *aws.Key
	if err == nil {
		key, err = fixed.compile(account)
	}
	if err != nil {
		return nil, fmt.Errorf("--access-key-file: %w", err)
	}
	ring.keys[key.ID], ring.first = key, fixed.credentials()
	return ring, nil
}

func (k *keyring) compileRoles(d *keyDocument) error {
	for _, name := range slices.Sorted(maps.Keys(d.Roles)) {
		e := d.Roles[name]
		if e.SessionSecondsMax == 0 {
			e.SessionSecondsMax = sessionSecondsDefault
		}
		policy, err := aws.ParsePolicy(e.Policy)
		switch {
		case !rolePattern.MatchString(name):
			err = errors.New("the name must have 1 to 64 characters of [a-zA-Z0-9_+=,.@-]")
		case err == nil && (e.SessionSecondsMax < roleSecondsMin || e.SessionSecondsMax > sessionSecondsMax):
			err = fmt.Errorf("session_seconds_max must lie between %d and %d", roleSecondsMin, sessionSecondsMax)
		}
		if err != nil {
			return fmt.Errorf("roles[%q]: %w", name, err)
		}
		k.roles[name] = role{policy, e.SessionSecondsMax}
	}
	for _, name := range slices.Sorted(maps.Keys(d.RoleAliases)) {
		if err := checkAlias(name, d.RoleAliases[name]); err != nil {
			return fmt.Errorf("role_aliases[%q]: %w", name, err)
		}
	}
	return nil
}

// checkAlias does not ask for the role: AWS says that it is missing only to who wants to assume it.
func checkAlias(name string, e aliasEntry) error {
	if !aws.RoleAliasPattern.MatchString(name) {
		return errors.New("the name must have 1 to 128 characters of [a-zA-Z0-9_=,@-]")
	}
	if s := e.CredentialSeconds; s != 0 && (s < aliasSecondsMin || s > sessionSecondsMax) {
		return fmt.Errorf("credential_seconds must lie between %d and %d", aliasSecondsMin, sessionSecondsMax)
	}
	return nil
}

// find is an aws.FindKey. A session's key comes with its token, every other without one.
func (k *keyring) find(accessKeyID, token string, at time.Time) (*aws.Key, *aws.Error) {
	if token == "" {
		if key := k.keys[accessKeyID]; key != nil {
			return key, nil
		}
		return nil, aws.UnknownClient()
	}
	s, ok := k.sessions.open(accessKeyID, token)
	if !ok {
		return nil, aws.UnknownClient()
	}
	if !at.Before(s.expires()) {
		return nil, aws.ExpiredToken()
	}
	r, ok := k.roles[s.Role]
	if !ok { // taken away meanwhile
		return nil, aws.UnknownClient()
	}
	key := &aws.Key{
		ID: accessKeyID, Secret: k.sessions.secret(accessKeyID, token), Policy: r.policy,
		Issued: time.Unix(0, s.Issued), Principal: "arn:aws:sts::" + k.account + ":assumed-role/" + s.Role + "/" + s.Name,
	}
	if s.Thing {
		key.Thing = s.Name
	}
	return key, nil
}

// assume makes a session of the role behind an alias, for the device of that name.
func (k *keyring) assume(alias, name string, asThing bool, at time.Time, limits Limits) (messages.Credentials, error) {
	a, ok := k.aliases[alias]
	if !ok {
		return messages.Credentials{}, refuse("ResourceNotFoundException", "Role alias does not exist")
	}
	r, ok := k.roles[a.Role]
	if !ok {
		return messages.Credentials{}, refuse("InvalidRequestException", "Unable to assume the role, or the role to assume does not exist")
	}
	seconds := a.CredentialSeconds
	if seconds == 0 {
		seconds = sessionSecondsDefault
	}
	if seconds > r.secondsMax {
		return messages.Credentials{}, refuse("InvalidRequestException",
			"The requested CredentialDurationSeconds exceeds the MaxSessionDuration set for the role")
	}
	life := limits.sessionLife(time.Duration(seconds) * time.Second)
	return k.sessions.seal(session{Role: a.Role, Name: name, Thing: asThing, Issued: at.UnixNano(), Expires: at.Add(life).Unix()}), nil
}

// keystore holds the current keyring.
type keystore struct {
	dir, fixedFile, account string
	limits                  Limits // of sessions

	RelaySecret string // does not change while the service runs
	initial     keyTexts
	ring        atomic.Pointer[keyring] // keywatch writes it
}

// openKeys reads the keys, or makes them. An empty dir keeps them in memory.
func openKeys(dir, fixedFile, account string, limits Limits) (*keystore, error) {
	if err := prepareDir(dir); err != nil {
		return nil, err
	}
	k := &keystore{dir: dir, fixedFile: fixedFile, account: account, limits: limits}
	var err error
	if k.initial.kept, err = makeKeys(dir); err != nil {
		return nil, err
	}
	if k.initial, err = k.read(); err != nil {
		return nil, err
	}
	ring, err := compileKeys(k.initial, account)
	if err != nil {
		return nil, fmt.Errorf("%w (correct it or restore it from a backup; without %s and %s new keys are made at the next start)",
			err, filepath.Join(dir, keysFile), keysSumFile)
	}
	k.ring.Store(ring)
	k.RelaySecret = ring.relaySecret
	return k, noteKeys(dir, k.initial)
}

// read gets what the files hold now.
func (k *keystore) read() (texts keyTexts, err error) {
	texts.kept = k.initial.kept
	if k.dir != "" {
		if texts.kept, texts.changed, err = readSmall(filepath.Join(k.dir, keysFile)); err != nil {
			return texts, fmt.Errorf("read keys: %w", err)
		}
		if err := checkKeysSum(k.dir, texts.kept, texts.changed); err != nil {
			return texts, err
		}
	}
	if k.fixedFile != "" {
		if texts.fixed, _, err = readSmall(k.fixedFile); err != nil {
			return texts, fmt.Errorf("read --access-key-file: %w", err)
		}
		if len(texts.fixed) == 0 {
			return texts, errors.New("read --access-key-file: the file is empty")
		}
	}
	return texts, nil
}

// watched tells whether there is a file that may change.
func (k *keystore) watched() bool { return k.dir != "" || k.fixedFile != "" }

func (k *keystore) find(accessKeyID, token string, at time.Time) (*aws.Key, *aws.Error) {
	return k.ring.Load().find(accessKeyID, token, at)
}
