package aws

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo"
	"github.com/aws/aws-sdk-go-v2/service/kinesisvideo/types"

	"github.com/heliograph-rtc/heliograph/messages"
)

// MediaStorage tells the ARN of the stream that a channel's media is stored in; empty: it is not stored.
func (c *Client) MediaStorage(ctx context.Context, creds messages.Credentials, arn string) (stream string, err error) {
	out, err := c.control.DescribeMediaStorageConfiguration(ctx, &kinesisvideo.DescribeMediaStorageConfigurationInput{ChannelARN: &arn}, as(creds))
	if err != nil {
		return "", callError(ctx, "describe media storage", err)
	}
	about := out.MediaStorageConfiguration
	if about == nil {
		return "", errors.New("describe media storage: the answer holds no configuration")
	}
	if about.Status != types.MediaStorageConfigurationStatusEnabled {
		return "", nil
	}
	return aws.ToString(about.StreamARN), nil
}

// JoinStorageSession makes the service offer a storage session over the master's websocket, by the
// channel's WEBRTC endpoint (kvs-protocol.md 4.2): by hand, like IceServers.
func (c *Client) JoinStorageSession(ctx context.Context, creds messages.Credentials, endpoint, arn string) error {
	in := struct {
		ChannelARN string `json:"channelArn"`
	}{arn}
	if err := c.post(ctx, creds, strings.TrimSuffix(endpoint, "/")+"/joinStorageSession", in, nil); err != nil {
		return fmt.Errorf("join storage session: %w", err)
	}
	return nil
}
