package aws

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"net/url"
	"os"
)

// What a client needs to know of an endpoint that is not AWS's own.

// ReadRoots reads a PEM file of the roots to trust; nil, the system's, when there is no file.
func ReadRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read CA file %s: no PEM certificate in it", file)
	}
	return pool, nil
}

// OnLoopback tells whether an endpoint is on this machine, and so its peers may be.
func OnLoopback(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
}
