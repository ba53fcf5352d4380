package api

// May the key do this? In order of execution: actionOf names the action by the path of the request,
// resourcesOf reads from the body which resources it is about, authorize puts both to the key's
// policy. It stands before every signed operation, whatever it is called: what is added later is
// covered from the first day.

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

const (
	anyResource = "*" // of operations on no resource in particular

	actionMaster = aws.ServiceName + ":ConnectAsMaster"
	actionViewer = aws.ServiceName + ":ConnectAsViewer"
)

// actionOf is the IAM action of an operation: /listSignalingChannels and /v1/get-ice-server-config
// are ListSignalingChannels and GetIceServerConfig.
func actionOf(path string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(path[strings.LastIndexByte(path, '/')+1:], "-") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return aws.ServiceName + ":" + b.String()
}

// named are the members by which the operations name resources (kvs-protocol.md 1.4). Like that of
// the operations, the decoder takes every spelling of case.
type named struct {
	ChannelARN  string
	ChannelName string
	ResourceARN string
	StreamARN   string
	StreamName  string

	MediaStorageConfiguration struct{ StreamARN string }
}

// authorize refuses a request whose key may not do the operation on each resource that the body
// names. All of them count, also those that this operation does not look at.
func (d *doors) authorize(r *http.Request, key *aws.Key, body []byte) error {
	if key.Unbounded() {
		return nil
	}
	action := actionOf(r.URL.Path)
	resources, err := d.resourcesOf(r.Context(), body)
	if err != nil {
		return err
	}
	for _, resource := range resources {
		if text := key.Refusal(action, resource); text != "" {
			return denied(r.URL.Path, text)
		}
	}
	return nil
}

func (d *doors) resourcesOf(ctx context.Context, body []byte) ([]string, error) {
	var n named
	_ = json.Unmarshal(body, &n) // the operation has decoded the body; a member of another form is not its own
	var resources []string
	for _, arn := range []string{n.ChannelARN, n.ResourceARN, n.StreamARN, n.MediaStorageConfiguration.StreamARN} {
		if arn != "" {
			resources = append(resources, arn)
		}
	}
	for kind, name := range map[string]string{"channel": n.ChannelName, "stream": n.StreamName} {
		if name == "" {
			continue
		}
		arn, err := d.Backend.ARN(ctx, kind, name)
		if err != nil {
			return nil, err
		}
		resources = append(resources, arn)
	}
	if len(resources) == 0 {
		resources = []string{anyResource}
	}
	return resources, nil
}

// These, and all of signaling, document NotAuthorizedException in place of AccessDeniedException.
var notAuthorized = map[string]bool{
	"/describeStream": true, "/updateStream": true, "/deleteStream": true, "/getDataEndpoint": true,
	"/updateDataRetention": true, "/tagStream": true, "/untagStream": true, "/listTagsForStream": true,
}

// denied has a type and status for each API (kvs-protocol.md 1.5).
func denied(path, text string) error {
	switch {
	case strings.HasPrefix(path, "/v1/"), notAuthorized[path]:
		return &aws.Error{Type: "NotAuthorizedException", Status: http.StatusUnauthorized, Message: text}
	case strings.HasPrefix(path, "/joinStorageSession"):
		return &aws.Error{Type: "AccessDeniedException", Status: http.StatusForbidden, Message: text}
	}
	return &aws.Error{Type: "AccessDeniedException", Status: http.StatusUnauthorized, Message: text}
}

// authorizeConnect refuses a socket: a viewer's key cannot act as the master (kvs-protocol.md 3.3).
func authorizeConnect(key *aws.Key, want *messages.ConnectWanted) error {
	action := actionViewer
	if want.ClientID == "" {
		action = actionMaster
	}
	if text := key.Refusal(action, want.ChannelARN); text != "" {
		return &aws.Error{Type: "AccessDeniedException", Status: http.StatusForbidden, Message: text}
	}
	return nil
}
