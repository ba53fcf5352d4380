package api

import (
	"net/http"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// alexaWait is longer than any message lives.
const alexaWait = messageTTLMaxS*time.Second + backendWait

type alexaInput struct {
	ChannelARN     string
	MessagePayload string
	SenderClientId string
}

func (in *alexaInput) validate() error {
	if !signalingID(in.SenderClientId) {
		return invalid("SenderClientId must have 1 to 256 characters of [a-zA-Z0-9_.-]")
	}
	if _, err := signaling.EncodeOutbound(signaling.Outbound{Action: signaling.SDPOffer, Payload: in.MessagePayload}); err != nil {
		return invalid("MessagePayload must have 1 to %d characters of base64", signaling.PayloadCharsMax)
	}
	return checkARN(in.ChannelARN)
}

// alexaOffer blocks until the master has answered or the offer has expired. What AWS says then is not
// published (kvs-protocol.md 2.2); here the answer is absent.
func (d *doors) alexaOffer(r *http.Request, in *alexaInput) (any, error) {
	answered, err := d.Backend.AlexaOffer(r.Context(), &messages.AlexaOfferWanted{
		ChannelARN: in.ChannelARN, ClientID: in.SenderClientId, Payload: in.MessagePayload,
	})
	if err != nil {
		return nil, err
	}
	return struct {
		Answer string `json:",omitempty"`
	}{answered.Payload}, nil
}
