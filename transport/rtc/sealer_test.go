package rtc

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"testing"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/protocol/extension"
	"github.com/pion/dtls/v3/pkg/protocol/handshake"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

func sealing(profile srtp.ProtectionProfile, key, salt []byte) srtp.Config {
	return srtp.Config{Profile: profile, Keys: srtp.SessionKeys{LocalMasterKey: key, LocalMasterSalt: salt}}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	must(t, err)
	return b
}

// RFC 3711 B.3.
func TestSessionKeysOfTheStandard(t *testing.T) {
	master, err := aes.NewCipher(unhex(t, "E1F97A0D3E018BE0D64FA32C06DE4139"))
	must(t, err)
	salt := unhex(t, "0EC675AD498AFEEBB6960B3AABE6")
	if got := derive(master, salt, labelKey, 16); !bytes.Equal(got, unhex(t, "C61E7A93744F39EE10734AFE3FF7A087")) {
		t.Errorf("key %x", got)
	}
	if got := derive(master, salt, labelSalt, 14); !bytes.Equal(got, unhex(t, "30CBBC08863D8C85D49DB34A9AE1")) {
		t.Errorf("salt %x", got)
	}
}

// RFC 7714 16.1.1.
func TestSealedPacketOfTheStandard(t *testing.T) {
	block, err := aes.NewCipher(unhex(t, "000102030405060708090a0b0c0d0e0f"))
	must(t, err)
	s := &sealer{salt: [nonceBytes]byte(unhex(t, "517569642070726f2071756f"))}
	s.aead, err = cipher.NewGCM(block)
	must(t, err)
	header := &rtp.Header{Version: 2, PayloadType: 64, SequenceNumber: 0xf17b, Timestamp: 0x8041f8d3, SSRC: 0x5501a0b2}
	payload := []byte("Gallia est omnis divisa in partes tres")
	packet := make([]byte, sealedSize(header, payload))
	must(t, s.seal(packet, header, payload, 0xf17b, &[nonceBytes]byte{}))
	want := unhex(t, "8040f17b8041f8d35501a0b2"+
		"f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce")
	if !bytes.Equal(packet, want) {
		t.Fatalf("got  %x\nwant %x", packet, want)
	}
}

// pion opens what we seal, before and after its sequence numbers have wrapped around.
func TestOtherStackOpensSealedPackets(t *testing.T) {
	for _, profile := range []srtp.ProtectionProfile{srtp.ProtectionProfileAeadAes128Gcm, srtp.ProtectionProfileAeadAes256Gcm} {
		t.Run(profile.String(), func(t *testing.T) {
			size, err := profile.KeyLen()
			must(t, err)
			key, salt := bytes.Repeat([]byte{7}, size), bytes.Repeat([]byte{9}, nonceBytes)
			ours, err := newSealer(sealing(profile, key, salt))
			must(t, err)
			theirs, err := srtp.CreateContext(key, salt, profile)
			must(t, err)
			for index := uint64(1<<16 - 3); index < 1<<16+3; index++ {
				header := &rtp.Header{Version: 2, Marker: true, PayloadType: 96, SequenceNumber: uint16(index), Timestamp: 5, SSRC: 0xdecade}
				must(t, header.SetExtension(3, []byte{1, 2}))
				payload := bytes.Repeat([]byte{byte(index)}, 1150)
				packet := make([]byte, sealedSize(header, payload))
				must(t, ours.seal(packet, header, payload, index, &[nonceBytes]byte{}))
				open, err := theirs.DecryptRTP(nil, packet, nil)
				must(t, err)
				if !bytes.HasSuffix(open, payload) {
					t.Fatalf("packet %d is another one", index)
				}
			}
		})
	}
}

func TestOtherProfilesAreNotSealed(t *testing.T) {
	if _, err := newSealer(sealing(srtp.ProtectionProfileAes128CmHmacSha1_80, make([]byte, 16), make([]byte, 14))); err == nil {
		t.Fatal("sealed with a profile that has no AES-GCM")
	}
}

func TestKeysNeedTheWholeHandshake(t *testing.T) {
	suite := uint16(dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
	hello := handshake.MessageServerHello{CipherSuiteID: &suite, Extensions: []extension.Extension{
		&extension.UseSRTP{ProtectionProfiles: []extension.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM}},
	}}
	unknown := uint16(0xffff)
	const line = "CLIENT_RANDOM 00 0102\n"
	for name, show := range map[string]func(*keying){
		"nothing":       func(*keying) {},
		"no secret":     func(k *keying) { k.onServerHello(hello) },
		"no hello":      func(k *keying) { _, _ = k.Write([]byte(line)) },
		"another label": func(k *keying) { k.onServerHello(hello); _, _ = k.Write([]byte("SERVER_RANDOM 00 0102\n")) },
		"no hex":        func(k *keying) { k.onServerHello(hello); _, _ = k.Write([]byte("CLIENT_RANDOM 00 xx\n")) },
		"unknown suite": func(k *keying) {
			k.onServerHello(handshake.MessageServerHello{CipherSuiteID: &unknown, Extensions: hello.Extensions})
			_, _ = k.Write([]byte(line))
		},
		"no profile": func(k *keying) {
			k.onServerHello(handshake.MessageServerHello{CipherSuiteID: &suite})
			_, _ = k.Write([]byte(line))
		},
	} {
		k := &keying{}
		show(k)
		if _, err := k.keys(); err == nil {
			t.Errorf("%s: there are keys", name)
		}
	}
	k := &keying{}
	k.onServerHello(hello)
	_, err := k.Write([]byte(line))
	must(t, err)
	_, err = k.keys()
	must(t, err)
	if _, err := k.keys(); err == nil || k.master != nil {
		t.Error("the master secret is kept")
	}
}
