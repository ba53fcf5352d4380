package rtc

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// sealer makes SRTP of RTP, with AES-GCM (RFC 7714). It does what pion's SRTP does, without the way there:
// a packet is sealed where it leaves from. It keeps no state: whoever has it sees to it that an index is
// used for one packet only, here or in pion, which has the same keys.
type sealer struct {
	aead cipher.AEAD
	salt [nonceBytes]byte
}

const (
	nonceBytes   = 12
	sealTagBytes = 16

	// The labels of RTP's session keys (RFC 3711 4.3.1).
	labelKey  = 0
	labelSalt = 2
)

// newSealer derives the session keys from the master's. Profiles other than AES-GCM give an error.
func newSealer(c srtp.Config) (*sealer, error) {
	profile, key, salt := c.Profile, c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt
	if profile != srtp.ProtectionProfileAeadAes128Gcm && profile != srtp.ProtectionProfileAeadAes256Gcm {
		return nil, fmt.Errorf("seal SRTP: %s is left to pion", profile)
	}
	master, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("seal SRTP: %w", err)
	}
	block, err := aes.NewCipher(derive(master, salt, labelKey, len(key)))
	if err != nil {
		return nil, fmt.Errorf("seal SRTP: %w", err)
	}
	s := &sealer{salt: [nonceBytes]byte(derive(master, salt, labelSalt, nonceBytes))}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("seal SRTP: %w", err)
	}
	return s, nil
}

// derive is the key derivation of RFC 3711 4.3.3, with a salt of 96 bits (RFC 7714 11).
func derive(master cipher.Block, salt []byte, label byte, size int) []byte {
	var counter [aes.BlockSize]byte
	copy(counter[:], salt)
	counter[7] ^= label
	key := make([]byte, size)
	cipher.NewCTR(master, counter[:]).XORKeyStream(key, key)
	return key
}

// sealedSize is what becomes of a packet.
func sealedSize(header *rtp.Header, payload []byte) int {
	return header.MarshalSize() + len(payload) + sealTagBytes
}

// seal writes the packet into a buffer of its sealedSize. The index is the packet's number since the stream
// began: its sequence number and, above that, how often those have wrapped around (RFC 3711 3.3.1).
func (s *sealer) seal(into []byte, header *rtp.Header, payload []byte, index uint64, nonce *[nonceBytes]byte) error {
	n, err := header.MarshalTo(into)
	if err != nil {
		return fmt.Errorf("seal SRTP: %w", err)
	}
	*nonce = s.salt // RFC 7714 8.1: 16 zero bits, the SSRC, the index
	binary.BigEndian.PutUint32(nonce[2:], binary.BigEndian.Uint32(nonce[2:])^header.SSRC)
	binary.BigEndian.PutUint32(nonce[6:], binary.BigEndian.Uint32(nonce[6:])^uint32(index>>16))
	binary.BigEndian.PutUint16(nonce[10:], binary.BigEndian.Uint16(nonce[10:])^uint16(index))
	s.aead.Seal(into[n:n], nonce[:], payload, into[:n])
	return nil
}
