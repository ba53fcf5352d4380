package api

// Where a test may make a request fail: behind its signature, in front of everything that it asks for.

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// Disturb says what a request is answered with instead; nil: it is served. about costs something and
// is called only when somebody wants to know.
type Disturb func(key *aws.Key, about func() Attempt) error

// Attempt is a request whose signature is good.
type Attempt struct {
	Operation string // DescribeSignalingChannel, ConnectAsViewer, as IAM has them
	Channel   string // ARN or name; empty: it is about none
	ClientID  string // as the request tells it
	Connect   bool   // the handshake of a websocket
}

func attemptOf(r *http.Request, body []byte) Attempt {
	var n struct {
		named
		ClientID       string
		SenderClientID string
	}
	_ = json.Unmarshal(body, &n) // what does not decode is about nothing; the operation says so later
	return Attempt{
		Operation: operationOf(r.URL.Path), Channel: cmp.Or(n.ChannelARN, n.ChannelName, n.ResourceARN),
		ClientID: cmp.Or(n.ClientID, n.SenderClientID),
	}
}

func attemptToConnect(want *messages.ConnectWanted) Attempt {
	action := actionViewer
	if want.ClientID == "" {
		action = actionMaster
	}
	return Attempt{Operation: bare(action), Channel: want.ChannelARN, ClientID: want.ClientID, Connect: true}
}

func operationOf(path string) string { return bare(actionOf(path)) }

func bare(action string) string { return strings.TrimPrefix(action, aws.ServiceName+":") }
