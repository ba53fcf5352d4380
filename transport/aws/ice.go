package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// answerBytesMax bounds what is read of an answer; GetIceServerConfig's is about 1 KB (kvs-protocol.md 2.1).
const answerBytesMax = 64 << 10

// noServersTTL is how long it counts that there are no servers: AWS's time for credentials (kvs-protocol.md 2.1).
const noServersTTL = 5 * time.Minute

// StunURL returns the region's STUN server (kvs-protocol.md 5): UDP port 443, not 3478.
func StunURL(region string, dualStack bool) string {
	return "stun:stun." + controlPlaneHost(region, dualStack) + ":443"
}

// ControlPlaneURL returns AWS's own of the region (kvs-protocol.md 1.1).
func ControlPlaneURL(region string, dualStack bool) string {
	return "https://" + controlPlaneHost(region, dualStack)
}

func controlPlaneHost(region string, dualStack bool) string {
	suffix := "amazonaws.com"
	switch china := strings.HasPrefix(region, "cn-"); {
	case dualStack && china:
		suffix = "api.amazonwebservices.com.cn"
	case dualStack:
		suffix = "api.aws"
	case china:
		suffix += ".cn"
	}
	return "kinesisvideo." + region + "." + suffix
}

// IceServers fetches the channel's TURN servers from its HTTPS endpoint, by hand because the SDK's
// module for the signaling API cannot be had (design.md 5). ttl is the shortest of the servers';
// clientID may be empty. A service without a relay gives no servers and no error.
func (c *Client) IceServers(ctx context.Context, creds messages.Credentials, httpsEndpoint, arn, clientID string) ([]messages.IceServer, time.Duration, error) {
	in := struct {
		ChannelARN string
		ClientID   string `json:"ClientId,omitempty"`
		Service    string
	}{arn, clientID, "TURN"}
	var out struct {
		IceServerList []struct {
			Password, Username string
			TTL                int `json:"Ttl"`
			Uris               []string
		}
	}
	url := strings.TrimSuffix(httpsEndpoint, "/") + "/v1/get-ice-server-config"
	if err := c.post(ctx, creds, url, in, &out); err != nil {
		return nil, 0, fmt.Errorf("get ice servers: %w", err)
	}
	var servers []messages.IceServer
	var ttl time.Duration
	for _, s := range out.IceServerList {
		servers = append(servers, messages.IceServer{URLs: s.Uris, Username: s.Username, Password: s.Password})
		if d := time.Duration(s.TTL) * time.Second; ttl == 0 || d < ttl {
			ttl = d
		}
	}
	switch {
	case out.IceServerList != nil && len(servers) == 0: // a compatible service without a relay
		return nil, noServersTTL, nil
	case ttl <= 0:
		return nil, 0, errors.New("get ice servers: the answer holds no server with a time to live")
	}
	return servers, ttl, nil
}

// post makes a signed call and tries again, within bounds, what the SDK's retryer thinks worth it.
func (c *Client) post(ctx context.Context, creds messages.Credentials, url string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		err := c.postOnce(ctx, creds, url, body, out)
		if err == nil || ctx.Err() != nil || attempt == attemptsMax || !c.retryer.IsErrorRetryable(err) {
			return err
		}
		delay, delayErr := c.retryer.RetryDelay(attempt, err)
		if delayErr != nil {
			return err
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *Client) postOnce(ctx context.Context, creds messages.Credentials, url string, body []byte, out any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if c.cfg.UserAgent != "" {
		r.Header.Set("User-Agent", c.cfg.UserAgent)
	}
	if err := Sign(ctx, r, body, creds, c.cfg.Region, c.cfg.Clock.Now()); err != nil {
		return err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return errorFrom(resp.StatusCode, resp.Header, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}
