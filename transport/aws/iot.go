package aws

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// IoTConfig says how a device gets credentials for its certificate (kvs-protocol.md 6).
type IoTConfig struct {
	Endpoint  string // host[:port] or https URL of the IoT credentials provider
	RoleAlias string
	ThingName string // sent along when set: policies may name it
	CertFile  string // PEM of the device's certificate, with its chain
	KeyFile   string // PEM of its private key

	RootCAs *x509.CertPool // nil: the system's
	Clock   *Clock         // learns from the answers; nil: nothing does
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// RoleAliasPattern is what a role alias may be called (kvs-protocol.md 6).
var RoleAliasPattern = regexp.MustCompile(`^[\w=,@-]{1,128}$`)

const iotTimeout = 15 * time.Second

// IoT returns a provider that asks the IoT credentials provider over mutual TLS. It fails when a part is
// missing or the certificate cannot be read. The files are read again at each Retrieve, so that a renewed
// certificate is seen.
func IoT(cfg IoTConfig) (Provider, error) {
	for _, part := range []struct{ value, name string }{
		{cfg.Endpoint, "endpoint"}, {cfg.RoleAlias, "role alias"}, {cfg.CertFile, "certificate file"}, {cfg.KeyFile, "private key file"},
	} {
		if part.value == "" {
			return nil, fmt.Errorf("IoT credentials: no %s is set", part.name)
		}
	}
	if !RoleAliasPattern.MatchString(cfg.RoleAlias) {
		return nil, fmt.Errorf("IoT credentials: %q is no role alias, which has 1 to 128 of letters, digits and _=,@-", cfg.RoleAlias)
	}
	address := cfg.Endpoint
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("IoT credentials: the endpoint %q must be host[:port] or https://host[:port]", cfg.Endpoint)
	}
	p := &iot{cfg: cfg, url: "https://" + u.Host + "/role-aliases/" + url.PathEscape(cfg.RoleAlias) + "/credentials"}
	if _, err := p.certificate(); err != nil {
		return nil, err
	}
	return p, nil
}

type iot struct {
	cfg IoTConfig
	url string
}

func (p *iot) certificate() (tls.Certificate, error) {
	certificate, err := tls.LoadX509KeyPair(p.cfg.CertFile, p.cfg.KeyFile)
	if err != nil {
		return certificate, fmt.Errorf("IoT credentials: read certificate %s and key %s: %w", p.cfg.CertFile, p.cfg.KeyFile, err)
	}
	return certificate, nil
}

// Retrieve implements Provider.
func (p *iot) Retrieve(ctx context.Context) (messages.Credentials, error) {
	certificate, err := p.certificate()
	if err != nil {
		return messages.Credentials{}, err
	}
	// One connection for one question an hour, with the certificate of now.
	transport := &http.Transport{DisableKeepAlives: true, DialContext: p.cfg.Dial, TLSHandshakeTimeout: iotTimeout, TLSClientConfig: &tls.Config{
		RootCAs: p.cfg.RootCAs, Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
	}}
	client := &http.Client{Timeout: iotTimeout, Transport: transport}
	if p.cfg.Clock != nil {
		client.Transport = p.cfg.Clock.Listen(transport)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return messages.Credentials{}, fmt.Errorf("IoT credentials: %w", err)
	}
	if p.cfg.ThingName != "" {
		r.Header.Set("x-amzn-iot-thingname", p.cfg.ThingName)
	}
	resp, err := client.Do(r)
	if err != nil {
		return messages.Credentials{}, fmt.Errorf("IoT credentials: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		return messages.Credentials{}, fmt.Errorf("IoT credentials: read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return messages.Credentials{}, fmt.Errorf("IoT credentials for role alias %s and thing %q%s: %w",
			p.cfg.RoleAlias, p.cfg.ThingName, iotRemedy(resp.StatusCode), errorFrom(resp.StatusCode, resp.Header, body))
	}
	set, err := decodeIoT(body)
	set.Source = "role alias " + p.cfg.RoleAlias
	return set, err
}

// iotRemedy says what an answer's status means for whoever set the device up.
func iotRemedy(status int) string {
	switch status {
	case http.StatusForbidden:
		return " (the certificate must be active, attached to the thing, and have a policy with iot:AssumeRoleWithCertificate on the alias)"
	case http.StatusNotFound:
		return " (no such role alias in this account and region)"
	case http.StatusBadRequest:
		return " (the alias's role must trust credentials.iot.amazonaws.com and allow the duration)"
	}
	return ""
}

func decodeIoT(body []byte) (messages.Credentials, error) {
	var out struct {
		Credentials struct {
			AccessKeyID     string    `json:"accessKeyId"`
			SecretAccessKey string    `json:"secretAccessKey"`
			SessionToken    string    `json:"sessionToken"`
			Expiration      time.Time `json:"expiration"`
		} `json:"credentials"`
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return messages.Credentials{}, errors.New("IoT credentials: the answer is no JSON of credentials") // an error of json's might quote it
	}
	c := out.Credentials
	if c.AccessKeyID == "" || c.SecretAccessKey == "" || c.SessionToken == "" || c.Expiration.IsZero() {
		return messages.Credentials{}, errors.New("IoT credentials: the answer lacks a key, a token or the expiration")
	}
	return messages.Credentials{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken, Expires: c.Expiration,
	}, nil
}
