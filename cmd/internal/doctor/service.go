package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
	"github.com/heliograph-rtc/heliograph/transport/probe"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

const (
	callMax   = 15 * time.Second
	lookupMax = 5 * time.Second

	// skewMax is how far off a signature's time may be (kvs-protocol.md 1.1); skewSeen is what the Date
	// of an answer, which tells seconds, can show for sure.
	skewMax  = 5 * time.Minute
	skewSeen = 10 * time.Second

	// expiresSoon is when a set of credentials is worth a word.
	expiresSoon = 10 * time.Minute
)

// service checks the way to the signaling socket.
func (e *examination) service(ctx context.Context) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: e.cfg.RootCAs, MinVersion: tls.VersionTLS12}, Proxy: http.ProxyFromEnvironment}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	e.lookUp(ctx, e.cfg.ControlPlane)
	e.check(ctx, "clock", "", callMax, func(ctx context.Context) finding { return e.clock(ctx, client) })
	e.check(ctx, "credentials", "", callMax, e.credentials)
	e.client = aws.NewClient(aws.ClientConfig{Region: e.cfg.Region, ControlPlane: controlPlaneOf(e.cfg), HTTP: client, Clock: e.cfg.Clock})
	e.call(ctx, "describe channel", "DescribeSignalingChannel", e.creds != nil, e.describe)
	e.call(ctx, "get endpoints", "GetSignalingChannelEndpoint", e.arn != "", e.getEndpoints)
	for _, protocol := range []string{"HTTPS", "WSS"} {
		if endpoint := e.endpoints[protocol]; endpoint != "" {
			e.lookUp(ctx, endpoint)
		}
	}
	e.call(ctx, "get ICE servers", "GetIceServerConfig", e.endpoints != nil, e.getIceServers)
	if e.cfg.Connect {
		e.call(ctx, "connect websocket", "ConnectAsMaster", e.endpoints != nil, e.connect)
	}
}

func controlPlaneOf(c Config) string {
	if c.Custom {
		return c.ControlPlane
	}
	return "" // the SDK's own choice
}

// call checks one API call, or skips it.
func (e *examination) call(ctx context.Context, name, action string, possible bool, make func(context.Context) error) {
	action = "kinesisvideo:" + action
	if !possible {
		e.skip(name, action, "an earlier call has failed")
		return
	}
	e.check(ctx, name, action, callMax, func(ctx context.Context) finding {
		detail, err := "done", make(ctx)
		var done success
		switch {
		case errors.As(err, &done):
			detail = string(done)
		case err != nil:
			return failed(err, e.remedy(err, action))
		}
		return finding{detail: detail}
	})
}

// success is what a call has to tell when it went well.
type success string

func (s success) Error() string { return string(s) }

// remedy says what to do about a call's error.
func (e *examination) remedy(err error, action string) string {
	status, kind, message := 0, "", ""
	var rest *aws.Error
	var handshake *signaling.HandshakeError
	switch {
	case errors.As(err, &rest):
		status, kind, message = rest.Status, rest.Type, rest.Message
	case errors.As(err, &handshake):
		status, kind, message = handshake.Status, handshake.Type, handshake.Message
	}
	allow := fmt.Sprintf("allow %s on arn:aws:kinesisvideo:%s:*:channel/%s/* in the policy of these credentials", action, e.cfg.Region, e.cfg.Channel)
	switch {
	case status == 0:
		return connectRemedy(err)
	case aws.WrongTime(kind, message):
		return "set this machine's clock (timedatectl set-ntp true)"
	case kind == "ExpiredTokenException":
		return "the session token has expired: get new credentials"
	case kind == "InvalidSignatureException", kind == "UnrecognizedClientException", kind == "MissingAuthenticationTokenException":
		return "check access key, secret and region; then " + allow
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return allow
	case status == http.StatusNotFound:
		return "the channel does not exist: check --channel and --region, or set --create-channel"
	case strings.Contains(kind, "Limit") || status == http.StatusTooManyRequests:
		return "too many calls for this channel or account: wait, and try again"
	}
	return "the service has a fault: try again"
}

// connectRemedy says what to do where no answer came.
func connectRemedy(err error) string {
	var certificate *tls.CertificateVerificationError
	switch text := err.Error(); {
	case errors.As(err, &certificate):
		return "set --ca-file (AWS_KVS_CACERT_PATH) to the service's root; check the endpoint's name and this machine's date"
	case strings.Contains(text, "connection refused"):
		return "nothing listens there: check --endpoint, and that the service runs"
	case strings.Contains(text, "no such host"), strings.Contains(text, "lookup "):
		return "check --region or --endpoint, and this machine's name server"
	}
	return "check the way out to TCP port 443: firewall, proxy (HTTPS_PROXY)"
}

// lookUp checks the name of an endpoint.
func (e *examination) lookUp(ctx context.Context, endpoint string) {
	host := endpoint
	if u, err := url.Parse(endpoint); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	for _, known := range e.checks {
		if known.Name == "dns "+host {
			return
		}
	}
	e.check(ctx, "dns "+host, "", lookupMax, func(ctx context.Context) finding {
		found, err := probe.Resolve(ctx, host)
		if err != nil {
			return failed(err, "check --region or --endpoint, and this machine's name server (/etc/resolv.conf)")
		}
		four := 0
		for _, addr := range found {
			if addr.Is4() {
				four++
			}
		}
		return finding{detail: fmt.Sprintf("%d IPv4, %d IPv6", four, len(found)-four)}
	})
}

// clock compares this machine's with the Date of any answer; the request is not signed.
func (e *examination) clock(ctx context.Context, client *http.Client) finding {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(e.cfg.ControlPlane, "/")+"/describeSignalingChannel", strings.NewReader("{}"))
	if err != nil {
		return failed(err, "check --endpoint: it must be https://host[:port]")
	}
	began := time.Now()
	resp, err := client.Do(r)
	if err != nil {
		return failed(err, connectRemedy(err))
	}
	resp.Body.Close()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return finding{Warn, "the service tells no date", ""}
	}
	e.cfg.Clock.Heard(date)
	half := time.Since(began) / 2
	skew := time.Until(date.Add(half)).Round(time.Second)
	switch {
	case skew.Abs() > skewMax:
		return finding{Warn, fmt.Sprintf("this machine is off by %v, more than the %v that a signature may be", -skew, skewMax),
			"the device signs by the service's clock, other programs will be refused: set the clock (timedatectl set-ntp true)"}
	case skew.Abs() > skewSeen:
		return finding{Warn, fmt.Sprintf("this machine is off by %v; a signature may be by %v", -skew, skewMax), "set the clock (timedatectl set-ntp true)"}
	}
	return finding{detail: fmt.Sprintf("within %v of the service's", skewSeen)}
}

func (e *examination) credentials(ctx context.Context) finding {
	provider, err := e.cfg.Credentials(ctx)
	if err != nil {
		return failed(err, "check the settings of the credentials")
	}
	set, err := provider.Retrieve(ctx)
	if err != nil {
		return failed(err, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or --iot-endpoint with a certificate")
	}
	e.creds = &set
	found := finding{detail: fmt.Sprintf("key ...%s from %s, no end", set.AccessKeyID[max(0, len(set.AccessKeyID)-4):], set.Source)}
	if set.Expires.IsZero() {
		return found
	}
	left := set.Expires.Sub(e.cfg.Clock.Now()).Round(time.Second)
	found.detail = strings.TrimSuffix(found.detail, "no end") + "expires in " + left.String()
	switch {
	case left <= 0:
		return finding{Fail, found.detail, "they have expired: get new ones"}
	case left < expiresSoon:
		found.status, found.remedy = Warn, "the source must give newer ones before that"
	}
	return found
}

func (e *examination) describe(ctx context.Context) error {
	channel, err := e.client.DescribeChannel(ctx, *e.creds, e.cfg.Channel)
	created := ""
	if aws.IsType(err, "ResourceNotFoundException") && e.cfg.Create {
		if _, err = e.client.CreateChannel(ctx, *e.creds, e.cfg.Channel); err != nil {
			return fmt.Errorf("%w (this call needs kinesisvideo:CreateSignalingChannel)", err)
		}
		created = ", created just now"
		channel, err = e.client.DescribeChannel(ctx, *e.creds, e.cfg.Channel)
	}
	if err != nil {
		return err
	}
	e.arn = channel.ARN
	return success(fmt.Sprintf("channel %s is %s%s", channel.Name, channel.Status, created))
}

func (e *examination) getEndpoints(ctx context.Context) (err error) {
	e.endpoints, err = e.client.Endpoints(ctx, *e.creds, e.arn, string(signaling.Master), "WSS", "HTTPS")
	if err != nil {
		return err
	}
	return success(e.endpoints["WSS"] + ", " + e.endpoints["HTTPS"])
}

func (e *examination) getIceServers(ctx context.Context) error {
	servers, ttl, err := e.client.IceServers(ctx, *e.creds, e.endpoints["HTTPS"], e.arn, "")
	if err != nil {
		return err
	}
	e.servers = servers
	return success(fmt.Sprintf("%d servers, good for %v", len(servers), ttl))
}

// connect opens the signaling socket. A channel has one master: a device that runs there loses its
// socket for a moment, and no viewer.
func (e *examination) connect(ctx context.Context) error {
	address, err := aws.PresignWebSocket(ctx, e.endpoints["WSS"], e.arn, "", *e.creds, e.cfg.Region, e.cfg.Clock.Now())
	if err != nil {
		return err
	}
	client, err := signaling.Dial(ctx, address, signaling.DialOptions{TLS: &tls.Config{RootCAs: e.cfg.RootCAs, MinVersion: tls.VersionTLS12}, Timeout: callMax})
	if err != nil {
		return err
	}
	_ = client.Close()
	return success("opened as the master, and closed")
}

// stunServers are the device's and those that the user named, as URLs.
func (e *examination) stunServers() []string {
	var urls []string
	for _, s := range append(e.cfg.StunOf(e.servers), messages.IceServer{URLs: e.cfg.StunServers}) {
		for _, u := range s.URLs {
			if !strings.HasPrefix(u, "stun:") {
				u = "stun:" + u
			}
			urls = append(urls, u)
		}
	}
	return urls
}
