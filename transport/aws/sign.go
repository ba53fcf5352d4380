package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/heliograph-rtc/heliograph/messages"
)

// presignSeconds is what the JavaScript SDK uses (kvs-protocol.md 3.2): long enough to connect,
// short enough that a leaked address is soon worthless.
const presignSeconds = 299

// emptyHash is the SHA-256 of no bytes: the payload of a GET.
var emptyHash = hashHex(nil)

func hashHex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// freshSigner is the SDK's signer without its cache of derived keys: that cache goes by access key
// id alone, so that a secret changed under the same id would go on signing with the old one.
type freshSigner struct {
	now func() time.Time // nil: sign with the time the SDK believes in
}

// SignHTTP implements the SDK's HTTPSignerV4.
func (s freshSigner) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, payloadHash, service, region string,
	at time.Time, opts ...func(*v4.SignerOptions)) error {
	if s.now != nil {
		at = s.now()
	}
	return v4.NewSigner().SignHTTP(ctx, c, r, payloadHash, service, region, at, opts...)
}

// Sign adds the SigV4 headers to r, whose body must be body.
func Sign(ctx context.Context, r *http.Request, body []byte, c messages.Credentials, region string, now time.Time) error {
	if err := (freshSigner{}).SignHTTP(ctx, sdkCredentials(c), r, hashHex(body), ServiceName, region, now); err != nil {
		return fmt.Errorf("sign request: %w", err)
	}
	return nil
}

// PresignWebSocket returns the address that ConnectAsMaster (clientID empty) or ConnectAsViewer is
// dialed at: endpoint with the signed query of kvs-protocol.md 3.1. It is valid for 299 s from now
// and is a secret for that long. The host is signed as it stands in endpoint, port included.
func PresignWebSocket(ctx context.Context, endpoint, channelARN, clientID string, c messages.Credentials, region string, now time.Time) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", fmt.Errorf("presign websocket: %w", err)
	}
	if (u.Scheme != "wss" && u.Scheme != "ws") || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return "", errors.New("presign websocket: the endpoint must be wss://host[:port] without a query")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	q := url.Values{"X-Amz-ChannelARN": {channelARN}, "X-Amz-Expires": {strconv.Itoa(presignSeconds)}}
	if clientID != "" {
		q.Set("X-Amz-ClientId", clientID)
	}
	u.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", fmt.Errorf("presign websocket: %w", err)
	}
	signed, _, err := v4.NewSigner().PresignHTTP(ctx, sdkCredentials(c), r, emptyHash, ServiceName, region, now)
	if err != nil {
		return "", fmt.Errorf("presign websocket: %w", err)
	}
	return signed, nil
}
