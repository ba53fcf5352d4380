package api

// The authority behind device certificates: another root than the server's, so that neither vouches
// for the other's holders. In order of execution: OpenThings reads iot/root.pem or makes it, Issue
// signs a device's certificate, thingOf tells at the door whose certificate it was. Owner: Start of
// the service, or the command that makes a thing; both may be the first.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

const (
	thingsDir  = "iot"
	thingsFile = "root.pem" // certificate and key
	deviceLife = 10 * 365 * 24 * time.Hour
)

// thingPattern is AWS IoT's for thing names.
var thingPattern = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)

// Things signs and knows device certificates.
type Things struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

// OpenThings reads the devices' root in dir, or makes it.
func OpenThings(dir string) (*Things, error) {
	path := filepath.Join(dir, thingsDir, thingsFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeThings(path); err != nil {
			return nil, fmt.Errorf("make the devices' root: %w", err)
		}
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the devices' root: %w", err)
	}
	t, err := parseThings(text)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged (%w): restore it from a backup, or remove it, a new root is made and every device needs a new certificate", path, err)
	}
	return t, nil
}

// makeThings writes a new root, unless another process was faster: linking does not replace.
func makeThings(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Heliograph device root"},
		NotBefore:             time.Now().Add(-clockSlack),
		NotAfter:              time.Now().Add(deviceLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	keyText, err := encodeKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s.%x", path, serial())
	defer os.Remove(temporary)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyText...)
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return err
	}
	if err := os.Link(temporary, path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func parseThings(text []byte) (*Things, error) {
	certBlock, rest := pem.Decode(text)
	keyBlock, _ := pem.Decode(rest)
	if certBlock == nil || keyBlock == nil {
		return nil, errors.New("certificate or key is missing")
	}
	cert, err := readRoot(certBlock.Bytes)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the key is not the certificate's")
	}
	t := &Things{cert: cert, key: key, pool: x509.NewCertPool()}
	t.pool.AddCert(cert)
	return t, nil
}

// Thing is where a device's files are.
type Thing struct {
	Name     string
	CertFile string
	KeyFile  string
}

// Issue makes key and certificate of a device and writes them below dir, for their owner alone. The
// files of an earlier certificate of that name are replaced; the certificate itself stays good.
func (t *Things) Issue(dir, name string) (Thing, error) {
	if !thingPattern.MatchString(name) {
		return Thing{}, errors.New("a thing's name has 1 to 128 characters of [a-zA-Z0-9:_-]")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Thing{}, fmt.Errorf("make device key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-clockSlack),
		NotAfter:     t.cert.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, t.cert, &key.PublicKey, t.key)
	if err != nil {
		return Thing{}, fmt.Errorf("sign device certificate: %w", err)
	}
	keyText, err := encodeKey(key)
	if err != nil {
		return Thing{}, fmt.Errorf("encode device key: %w", err)
	}
	folder := filepath.Join(dir, thingsDir, "things", name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return Thing{}, fmt.Errorf("make the thing's folder: %w", err)
	}
	made := Thing{Name: name, CertFile: filepath.Join(folder, "certificate.pem"), KeyFile: filepath.Join(folder, "private.key")}
	for path, text := range map[string][]byte{made.KeyFile: keyText, made.CertFile: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return Thing{}, fmt.Errorf("write device certificate: %w", err)
		}
	}
	return made, nil
}

// thingOf returns the name in a certificate of ours. TLS has proved that the client has its key.
func (t *Things) thingOf(chain []*x509.Certificate, at time.Time) (name string, ok bool) {
	if len(chain) == 0 {
		return "", false
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: t.pool, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return chain[0].Subject.CommonName, err == nil && thingPattern.MatchString(chain[0].Subject.CommonName)
}
