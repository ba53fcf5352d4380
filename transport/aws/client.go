package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/heliograph-rtc/heliograph/messages"
)

// A call tries twice at most and waits a second at most in between: the caller has a back-off of
// its own, in which it can be told to stop.
const (
	attemptsMax   = 2
	retryDelayMax = time.Second
	callTimeout   = 30 * time.Second // one attempt, where the caller brings no HTTP client
)

// ClientConfig says where the calls go.
type ClientConfig struct {
	Region       string
	ControlPlane string       // URL; empty: AWS's own for the region
	DualStack    bool         // AWS's own that IPv6 reaches too, which names such endpoints and TURN servers (kvs-protocol.md 1.1)
	HTTP         *http.Client // nil: one of the client's own, 30 s for a request
	Clock        *Clock       // to sign with; it learns from every answer; nil: one of the client's own
	UserAgent    string       // added to what the SDK says of itself; empty: nothing
}

// Client calls the control plane and the signaling REST endpoints of KVS. It is safe for concurrent
// use. Every call takes its credentials, is bound by its context, and fails with an error that
// unwraps to *Error when the endpoint answered.
type Client struct {
	cfg     ClientConfig
	http    *http.Client
	control *kinesisvideo.Client
	retryer *retry.Standard
}

// NewClient returns a client; nothing is dialed yet.
func NewClient(cfg ClientConfig) *Client {
	if cfg.Clock == nil {
		cfg.Clock = &Clock{}
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Timeout: callTimeout, Transport: http.DefaultTransport.(*http.Transport).Clone()}
	}
	heard := *cfg.HTTP
	heard.Transport = cfg.Clock.Listen(orDefaultTransport(heard.Transport))
	c := &Client{cfg: cfg, http: &heard}
	c.retryer = retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = attemptsMax, retryDelayMax
		o.Retryables = append(o.Retryables, retry.IsErrorRetryableFunc(clockRefused))
	})
	opt := kinesisvideo.Options{
		Region: cfg.Region, HTTPClient: c.http, Retryer: c.retryer, HTTPSignerV4: freshSigner{now: cfg.Clock.Now},
	}
	if cfg.DualStack && cfg.ControlPlane == "" {
		opt.EndpointOptions.UseDualStackEndpoint = aws.DualStackEndpointStateEnabled
	}
	if cfg.ControlPlane != "" {
		opt.BaseEndpoint = aws.String(strings.TrimSuffix(cfg.ControlPlane, "/"))
	}
	if cfg.UserAgent != "" {
		opt.APIOptions = append(opt.APIOptions, awsmiddleware.AddUserAgentKey(cfg.UserAgent))
	}
	c.control = kinesisvideo.New(opt)
	return c
}

func orDefaultTransport(t http.RoundTripper) http.RoundTripper {
	if t == nil {
		return http.DefaultTransport
	}
	return t
}

// Clock is what the client signs with.
func (c *Client) Clock() *Clock { return c.cfg.Clock }

// CloseIdle closes the connections that no call is using.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// Channel is what the control plane tells of a signaling channel.
type Channel struct {
	ARN, Name, Status, Version string
	MessageTTL                 time.Duration // how long an undelivered message is kept
	Created                    time.Time
}

// DescribeChannel returns the channel of that name, or ResourceNotFoundException.
func (c *Client) DescribeChannel(ctx context.Context, creds messages.Credentials, name string) (Channel, error) {
	out, err := c.control.DescribeSignalingChannel(ctx, &kinesisvideo.DescribeSignalingChannelInput{ChannelName: &name}, as(creds))
	if err != nil {
		return Channel{}, callError(ctx, "describe channel", err)
	}
	info := out.ChannelInfo
	if info == nil || aws.ToString(info.ChannelARN) == "" {
		return Channel{}, errors.New("describe channel: the answer holds no channel")
	}
	ch := Channel{
		ARN: *info.ChannelARN, Name: aws.ToString(info.ChannelName), Status: string(info.ChannelStatus),
		Version: aws.ToString(info.Version), Created: aws.ToTime(info.CreationTime),
	}
	if m := info.SingleMasterConfiguration; m != nil {
		ch.MessageTTL = time.Duration(aws.ToInt32(m.MessageTtlSeconds)) * time.Second
	}
	return ch, nil
}

// CreateChannel makes a SINGLE_MASTER channel, or fails with ResourceInUseException where there is one.
func (c *Client) CreateChannel(ctx context.Context, creds messages.Credentials, name string) (arn string, err error) {
	out, err := c.control.CreateSignalingChannel(ctx, &kinesisvideo.CreateSignalingChannelInput{
		ChannelName: &name, ChannelType: types.ChannelTypeSingleMaster,
	}, as(creds))
	if err != nil {
		return "", callError(ctx, "create channel", err)
	}
	return aws.ToString(out.ChannelARN), nil
}

// DeleteChannel deletes the channel, whatever its version.
func (c *Client) DeleteChannel(ctx context.Context, creds messages.Credentials, arn string) error {
	_, err := c.control.DeleteSignalingChannel(ctx, &kinesisvideo.DeleteSignalingChannelInput{ChannelARN: &arn}, as(creds))
	if err != nil {
		return callError(ctx, "delete channel", err)
	}
	return nil
}

// Endpoints returns the channel's addresses by protocol ("WSS", "HTTPS", "WEBRTC") for a role
// ("MASTER", "VIEWER"). It fails when one that was asked for is missing.
func (c *Client) Endpoints(ctx context.Context, creds messages.Credentials, arn, role string, protocols ...string) (map[string]string, error) {
	want := &types.SingleMasterChannelEndpointConfiguration{Role: types.ChannelRole(role)}
	for _, p := range protocols {
		want.Protocols = append(want.Protocols, types.ChannelProtocol(p))
	}
	out, err := c.control.GetSignalingChannelEndpoint(ctx, &kinesisvideo.GetSignalingChannelEndpointInput{
		ChannelARN: &arn, SingleMasterChannelEndpointConfiguration: want,
	}, as(creds))
	if err != nil {
		return nil, callError(ctx, "get endpoints", err)
	}
	found := make(map[string]string, len(out.ResourceEndpointList))
	for _, e := range out.ResourceEndpointList {
		found[string(e.Protocol)] = aws.ToString(e.ResourceEndpoint)
	}
	for _, p := range protocols {
		if found[p] == "" {
			return nil, fmt.Errorf("get endpoints: the answer holds none for %s", p)
		}
	}
	return found, nil
}

// as makes one call with the given credentials.
func as(c messages.Credentials) func(*kinesisvideo.Options) {
	return func(o *kinesisvideo.Options) {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return sdkCredentials(c), nil })
	}
}

// callError turns the SDK's error into ours: the context's where the call was cut short, an *Error
// where the endpoint answered, and what happened on the way otherwise.
func callError(ctx context.Context, verb string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", verb, ctx.Err())
	}
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.HTTPStatusCode() == 0 { // the SDK makes up a response of status 0 where there was none
		return fmt.Errorf("%s: %w", verb, err)
	}
	e := errorFrom(answer.HTTPStatusCode(), answer.HTTPResponse().Header, nil)
	var said smithy.APIError
	if errors.As(err, &said) {
		e.Type, e.Message = bareType(said.ErrorCode()), firstOf(said.ErrorMessage(), e.Message)
	}
	return fmt.Errorf("%s: %w", verb, e)
}
