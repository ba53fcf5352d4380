package rtc

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/prf"
	"github.com/pion/dtls/v3/pkg/protocol/extension"
	"github.com/pion/dtls/v3/pkg/protocol/handshake"
	"github.com/pion/srtp/v3"
)

// keying follows a peer's DTLS handshake, of which we are the server, for what the keys of SRTP are made
// of: pion exports none. The master secret comes as a line of a key log that is never written anywhere.
type keying struct {
	mu      sync.Mutex
	server  []byte // random
	suite   dtls.CipherSuiteID
	profile dtls.SRTPProtectionProfile
	client  []byte // random
	master  []byte // secret
}

var errNoKeys = errors.New("derive SRTP keys: the handshake has not shown what they are made of")

// onServerHello notes what we answer to the viewer, and leaves it as it is.
func (k *keying) onServerHello(hello handshake.MessageServerHello) handshake.Message {
	k.mu.Lock()
	defer k.mu.Unlock()
	random := hello.Random.MarshalFixed()
	k.server, k.suite, k.profile = random[:], 0, 0
	if hello.CipherSuiteID != nil {
		k.suite = dtls.CipherSuiteID(*hello.CipherSuiteID)
	}
	for _, e := range hello.Extensions {
		if use, ok := e.(*extension.UseSRTP); ok && len(use.ProtectionProfiles) == 1 {
			k.profile = use.ProtectionProfiles[0]
		}
	}
	return &hello
}

// Write takes a line of the key log: its label, the client's random, the master secret.
func (k *keying) Write(line []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	fields := bytes.Fields(line)
	if len(fields) != 3 || string(fields[0]) != "CLIENT_RANDOM" {
		return len(line), nil
	}
	client, err := hex.DecodeString(string(fields[1]))
	if err != nil {
		return 0, errNoKeys
	}
	master, err := hex.DecodeString(string(fields[2]))
	if err != nil {
		return 0, errNoKeys
	}
	k.client, k.master = client, master
	return len(line), nil
}

// keys are the session's, ours local. They are there once, when the handshake is over.
func (k *keying) keys() (srtp.Config, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer func() {
		clear(k.master)
		k.master = nil
	}()
	config := srtp.Config{Profile: srtp.ProtectionProfile(k.profile)}
	if k.master == nil || k.server == nil {
		return config, errNoKeys
	}
	if err := config.ExtractSessionKeysFromDTLS(k, false); err != nil {
		return config, fmt.Errorf("derive SRTP keys: %w", err)
	}
	return config, nil
}

// ExportKeyingMaterial implements srtp.KeyingMaterialExporter (RFC 5705 4).
func (k *keying) ExportKeyingMaterial(label string, _ []byte, length int) ([]byte, error) {
	function, ok := prfHashes[k.suite]
	if !ok {
		return nil, fmt.Errorf("export keying material: no known hash for %s", k.suite)
	}
	return prf.PHash(k.master, slices.Concat([]byte(label), k.client, k.server), length, function)
}

// prfHashes are what the cipher suites that pion offers make keys with (RFC 5246 5, RFC 5289 3).
var prfHashes = map[dtls.CipherSuiteID]func() hash.Hash{
	dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       sha256.New,
	dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       sha512.New384,
	dtls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA:          sha256.New,
	dtls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: sha256.New,
	dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM:              sha256.New,
	dtls.TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8:            sha256.New,
}
