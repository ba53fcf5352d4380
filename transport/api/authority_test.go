package api

import (
	"bytes"
	"crypto/x509"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func loopbackIdentity(names ...string) Identity {
	return Identity{Names: append([]string{"localhost"}, names...), Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}}
}

func TestAuthorityIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := OpenAuthority(dir, loopbackIdentity())
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenAuthority(dir, loopbackIdentity())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.PEM(), again.PEM()) {
		t.Error("another authority was made")
	}
	if info, err := os.Stat(filepath.Join(dir, authorityKeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v %v", info.Mode(), err)
	}
	cert, err := again.Issue(loopbackIdentity())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: first.Pool(), DNSName: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestAuthorityIsConstrained(t *testing.T) {
	a, err := OpenAuthority("", loopbackIdentity("camera-host"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"camera-host"} {
		if _, err := a.Issue(loopbackIdentity(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	outside := loopbackIdentity()
	outside.Addresses = append(outside.Addresses, netip.MustParseAddr("203.0.113.7"))
	for what, id := range map[string]Identity{"a foreign name": loopbackIdentity("example.com"), "a public address": outside} {
		if _, err := a.Issue(id); err == nil || !strings.Contains(err.Error(), "remove ca.pem") {
			t.Errorf("%s: %v, want an error that names the remedy", what, err)
		}
	}
	if b, err := OpenAuthority("", outside); err != nil {
		t.Error(err)
	} else if _, err := b.Issue(outside); err != nil {
		t.Errorf("a configured public address: %v", err)
	}
}

func TestDamagedAuthority(t *testing.T) {
	for _, name := range []string{authorityFile, authorityKeyFile} {
		dir := t.TempDir()
		if _, err := OpenAuthority(dir, loopbackIdentity()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAuthority(dir, loopbackIdentity()); err == nil || !strings.Contains(err.Error(), "remove ca.pem and ca-key.pem") {
			t.Errorf("damaged %s: %v", name, err)
		}
	}
}

// A crash at the first start, before the certificate is in place, leaves nothing to trust: the next
// start begins anew. A certificate that was in place and is gone is missed.
func TestAuthorityInterruptedAndLost(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenAuthority(dir, loopbackIdentity()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, authorityFile)
	if err := os.Rename(path, path+authorityDraft); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(dir, loopbackIdentity()); err != nil {
		t.Errorf("interrupted: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(dir, loopbackIdentity()); err == nil || !strings.Contains(err.Error(), "ca.pem") {
		t.Errorf("lost: %v", err)
	}
}
