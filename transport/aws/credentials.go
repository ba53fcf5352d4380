package aws

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/heliograph-rtc/heliograph/messages"
)

// Provider is a source of credentials. It keeps nothing: every Retrieve goes to the source, and the
// caller holds on to the set until shortly before it expires.
type Provider interface {
	Retrieve(ctx context.Context) (messages.Credentials, error)
}

// Static returns a provider of one set of keys that does not expire; token may be empty.
func Static(accessKeyID, secret, token string) Provider {
	return static{AccessKeyID: accessKeyID, SecretAccessKey: secret, SessionToken: token, Source: "static keys"}
}

type static messages.Credentials

func (s static) Retrieve(context.Context) (messages.Credentials, error) {
	if s.AccessKeyID == "" || s.SecretAccessKey == "" {
		return messages.Credentials{}, errors.New("retrieve credentials: the access key id or the secret is empty (set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)")
	}
	return messages.Credentials(s), nil
}

// String keeps the secret out of logs.
func (s static) String() string { return "static credentials " + s.AccessKeyID }

// GoString keeps the secret out of logs.
func (s static) GoString() string { return s.String() }

// DefaultChain returns the AWS SDK's chain: environment, shared configuration and credentials
// files, web identity, SSO, container and instance roles. profile may be empty. Environment and
// files are read again at every Retrieve, so that keys changed on disk are seen.
func DefaultChain(ctx context.Context, region, profile string) (Provider, error) {
	c := chain{region: region, profile: profile}
	if _, err := c.load(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

type chain struct{ region, profile string }

func (c chain) load(ctx context.Context) (aws.Config, error) {
	opts := []func(*config.LoadOptions) error{config.WithRegion(c.region)}
	if c.profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(c.profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("load aws configuration: %w", err)
	}
	return cfg, nil
}

func (c chain) Retrieve(ctx context.Context) (messages.Credentials, error) {
	cfg, err := c.load(ctx)
	if err != nil {
		return messages.Credentials{}, err
	}
	got, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return messages.Credentials{}, fmt.Errorf("retrieve credentials (set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE): %w", err)
	}
	out := messages.Credentials{AccessKeyID: got.AccessKeyID, SecretAccessKey: got.SecretAccessKey, SessionToken: got.SessionToken, Source: got.Source}
	if got.CanExpire {
		out.Expires = got.Expires
	}
	return out, nil
}

func sdkCredentials(c messages.Credentials) aws.Credentials {
	return aws.Credentials{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
		CanExpire: !c.Expires.IsZero(), Expires: c.Expires,
	}
}
