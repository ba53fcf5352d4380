package api

// The service's own certificate authority. In order of execution: OpenAuthority reads ca.pem and
// ca-key.pem or makes them at first start; Issue signs the server's certificate at each start.
// Owner: Start of the service.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	authorityFile    = "ca.pem"
	authorityKeyFile = "ca-key.pem"
	authorityDraft   = ".new"
	authorityLife    = 10 * 365 * 24 * time.Hour
	serverLife       = 397 * 24 * time.Hour // what browsers accept at most
	clockSlack       = 24 * time.Hour       // cameras begin with a wrong clock
)

// The addresses that the authority may vouch for besides public ones that were configured:
// loopback, private (RFC 1918, RFC 4193) and link-local ones.
var privateRanges = []string{"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10"}

// Identity is what the server is reached by.
type Identity struct {
	Names     []string
	Addresses []netip.Addr
}

// Authority signs the server's certificate.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// OpenAuthority reads the authority in dir, or makes one that is bound to the identity and to
// private addresses. An empty dir keeps it in memory.
func OpenAuthority(dir string, id Identity) (*Authority, error) {
	if dir != "" {
		a, err := readAuthority(dir)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return a, err
		}
	}
	a, err := newAuthority(id)
	if err != nil {
		return nil, fmt.Errorf("make certificate authority: %w", err)
	}
	if dir == "" {
		return a, nil
	}
	return a, a.write(dir)
}

func newAuthority(id Identity) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Heliograph local CA (" + host + ")"},
		NotBefore:             time.Now().Add(-clockSlack),
		NotAfter:              time.Now().Add(authorityLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomains:   domains(id.Names),
		// RFC 5280 4.2.1.10 wants the constraints critical; mbedTLS, which cameras use, then refuses
		// to read the certificate. Who knows the extension heeds it either way.
		PermittedDNSDomainsCritical: false,
	}
	for _, text := range privateRanges {
		_, n, err := net.ParseCIDR(text)
		if err != nil {
			return nil, err
		}
		template.PermittedIPRanges = append(template.PermittedIPRanges, n)
	}
	for _, a := range id.Addresses {
		if !withinPrivate(a) {
			ip := a.AsSlice()
			template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(len(ip)*8, len(ip)*8)})
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// domains are the constraints that cover the names: a domain covers the wildcards below it (RFC 5280
// 4.2.1.10), and itself stands among the names.
func domains(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return strings.HasPrefix(name, "*.") })
}

func withinPrivate(a netip.Addr) bool {
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()
}

// write puts the certificate in place last: a crash before that leaves its draft, and the next start
// begins anew.
func (a *Authority) write(dir string) error {
	der, err := x509.MarshalECPrivateKey(a.key)
	if err != nil {
		return fmt.Errorf("encode ca key: %w", err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	path := filepath.Join(dir, authorityFile)
	if err := os.WriteFile(path+authorityDraft, a.pem, 0o644); err != nil {
		return fmt.Errorf("write ca certificate: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, authorityKeyFile), key, 0o600); err != nil {
		return fmt.Errorf("write ca key: %w", err)
	}
	if err := os.Rename(path+authorityDraft, path); err != nil {
		return fmt.Errorf("write ca certificate: %w", err)
	}
	return nil
}

// lost says that there was a certificate beside the key.
func lost(dir string) bool {
	_, key := os.Stat(filepath.Join(dir, authorityKeyFile))
	_, draft := os.Stat(filepath.Join(dir, authorityFile+authorityDraft))
	return key == nil && draft != nil
}

func readAuthority(dir string) (*Authority, error) {
	damaged := func(what string) error {
		return fmt.Errorf("%s in %s is damaged: restore it from a backup, or remove %s and %s, a new authority is made at the next start and clients must trust it anew", what, dir, authorityFile, authorityKeyFile)
	}
	text, err := os.ReadFile(filepath.Join(dir, authorityFile))
	if errors.Is(err, fs.ErrNotExist) && lost(dir) {
		return nil, damaged(authorityFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read ca certificate: %w", err)
	}
	keyText, err := os.ReadFile(filepath.Join(dir, authorityKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damaged(authorityKeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read ca key: %w", err)
	}
	certBlock, _ := pem.Decode(text)
	if certBlock == nil {
		return nil, damaged(authorityFile)
	}
	cert, err := readRoot(certBlock.Bytes)
	if err != nil {
		return nil, damaged(authorityFile)
	}
	keyBlock, _ := pem.Decode(keyText)
	if keyBlock == nil {
		return nil, damaged(authorityKeyFile)
	}
	key, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	if err != nil || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, damaged(authorityKeyFile)
	}
	if time.Now().After(cert.NotAfter) {
		return nil, fmt.Errorf("the certificate authority in %s has expired: remove %s and %s", dir, authorityFile, authorityKeyFile)
	}
	return &Authority{cert: cert, key: key, pem: text}, nil
}

// readRoot reads a certificate that signed itself. Whoever trusts a root does not look at its
// signature; here it is the checksum.
func readRoot(der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return cert, cert.CheckSignatureFrom(cert)
}

// PEM returns the authority's certificate, for clients to trust.
func (a *Authority) PEM() []byte { return a.pem }

// Pool returns a pool that trusts the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Issue signs a server certificate. An identity that the authority is not allowed to vouch for is
// an error that names the remedy.
func (a *Authority) Issue(id Identity) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make server key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "Heliograph server"},
		NotBefore:    time.Now().Add(-clockSlack),
		NotAfter:     time.Now().Add(serverLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     id.Names,
	}
	for _, addr := range id.Addresses {
		template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sign server certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("sign server certificate: %w", err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: a.Pool()}); err != nil {
		return tls.Certificate{}, fmt.Errorf("the certificate authority was made for other names (%w): remove %s and %s from the data directory, clients must then trust the new one", err, authorityFile, authorityKeyFile)
	}
	return tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func serial() *big.Int {
	n, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // rand.Reader never fails
	return n
}
