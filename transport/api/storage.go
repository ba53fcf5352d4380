package api

// The signed operations of the storage session's API (kvs-protocol.md 4.2). Its members and its
// errors begin in lower case.

import (
	"net/http"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

func (d *doors) storageOperations() map[string]http.Handler {
	return map[string]http.Handler{
		"/joinStorageSession":         signedFor(d, backendWait, d.refuseStorage, d.joinStorage),
		"/joinStorageSessionAsViewer": signedFor(d, backendWait, d.refuseStorage, d.joinStorageAsViewer),
	}
}

// joinInput is that of both operations: the C clients call the master's for a viewer too, with its id
// in the body.
type joinInput struct {
	ChannelArn string `json:"channelArn"`
	ClientId   string `json:"clientId"`
}

func (in *joinInput) validate() error {
	if in.ClientId != "" && !signaling.ValidClientID(in.ClientId) {
		return invalid("clientId must have 1 to 256 characters of [a-zA-Z0-9_.-] and not begin with AWS_")
	}
	return checkText("channelArn", in.ChannelArn, arnCharsMax, arnPattern)
}

func (d *doors) joinStorage(r *http.Request, in *joinInput) (any, error) {
	return nil, d.Backend.JoinStorage(r.Context(), &messages.JoinStorageWanted{ChannelARN: in.ChannelArn, ClientID: in.ClientId})
}

type joinViewerInput struct{ joinInput }

func (in *joinViewerInput) validate() error {
	if in.ClientId == "" {
		return invalid("clientId is missing")
	}
	return in.joinInput.validate()
}

func (d *doors) joinStorageAsViewer(r *http.Request, in *joinViewerInput) (any, error) {
	return d.joinStorage(r, &in.joinInput)
}
