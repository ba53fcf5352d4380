package aws

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// deviceFiles makes a certificate for the thing "door" and returns its files and itself.
func deviceFiles(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "door"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(certificate)
	return certFile, keyFile, pool
}

// iotEndpoint answers as AWS does, to clients with a certificate of pool.
func iotEndpoint(t *testing.T, pool *x509.CertPool, status int, body string) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/role-aliases/cameras/credentials" || r.Header.Get("x-amzn-iot-thingname") != "door" {
			t.Errorf("asked for %s %s as %q", r.Method, r.URL, r.Header.Get("x-amzn-iot-thingname"))
		}
		w.Header().Set("X-Amzn-ErrorType", "SomeException")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func iotConfig(s *httptest.Server, certFile, keyFile string) IoTConfig {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return IoTConfig{
		Endpoint: strings.TrimPrefix(s.URL, "https://"), RoleAlias: "cameras", ThingName: "door", CertFile: certFile, KeyFile: keyFile, RootCAs: roots, Clock: &Clock{},
	}
}

func TestIoTCredentials(t *testing.T) {
	certFile, keyFile, pool := deviceFiles(t)
	s := iotEndpoint(t, pool, 200, `{"credentials":{"accessKeyId":"ASIA1","secretAccessKey":"sesame","sessionToken":"token","expiration":"2033-02-06T05:54:46Z"}}`)
	p, err := IoT(iotConfig(s, certFile, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.AccessKeyID != "ASIA1" || got.SecretAccessKey != "sesame" || got.SessionToken != "token" ||
		!got.Expires.Equal(time.Date(2033, 2, 6, 5, 54, 46, 0, time.UTC)) {
		t.Fatalf("%#v until %v", got, got.Expires)
	}
}

func TestIoTRefusals(t *testing.T) {
	certFile, keyFile, pool := deviceFiles(t)
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"forbidden": {403, `{"message":"Access Denied"}`, "iot:AssumeRoleWithCertificate"},
		"alias":     {404, `{"message":"Role alias does not exist"}`, "no such role alias"},
		"trust":     {400, `{"message":"Unable to assume the role"}`, "must trust credentials.iot.amazonaws.com"},
		"garbage":   {200, `<html>sesame</html>`, "no JSON"},
		"lacks":     {200, `{"credentials":{"accessKeyId":"ASIA1","secretAccessKey":"sesame"}}`, "lacks"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := IoT(iotConfig(iotEndpoint(t, pool, c.status, c.body), certFile, keyFile))
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.Retrieve(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "sesame") {
				t.Fatalf("got %v, want a text with %q", err, c.want)
			}
			if c.status != 200 && !IsType(err, "SomeException") {
				t.Errorf("%v does not unwrap to the answer", err)
			}
		})
	}
}

func TestIoTConfigIsChecked(t *testing.T) {
	certFile, keyFile, _ := deviceFiles(t)
	good := IoTConfig{Endpoint: "c1.credentials.iot.us-west-2.amazonaws.com", RoleAlias: "cameras", CertFile: certFile, KeyFile: keyFile}
	if _, err := IoT(good); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*IoTConfig){
		"no endpoint":      func(c *IoTConfig) { c.Endpoint = "" },
		"no role alias":    func(c *IoTConfig) { c.RoleAlias = "" },
		"is no role alias": func(c *IoTConfig) { c.RoleAlias = "a/b" },
		"must be host":     func(c *IoTConfig) { c.Endpoint = "http://x" },
		"read certificate": func(c *IoTConfig) { c.CertFile = keyFile },
		"no private key":   func(c *IoTConfig) { c.KeyFile = "" },
	} {
		c := good
		spoil(&c)
		if _, err := IoT(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
