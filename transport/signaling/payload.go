package signaling

import (
	"encoding/base64"
	"unicode/utf8"

	"github.com/heliograph-rtc/heliograph/messages"
)

// The kinds of session descriptions (RTCSdpType).
const (
	kindOffer  = "offer"
	kindAnswer = "answer"
)

// descriptionWire has type before sdp: the Linux reference looks it up first (kvs-protocol.md 3.6).
type descriptionWire struct {
	Type string `json:"type"`
	SDP  string `json:"sdp"`
}

// candidateWire tells an empty candidate from one that is not there.
type candidateWire struct {
	Candidate        *string `json:"candidate"`
	SDPMid           *string `json:"sdpMid"`
	SDPMLineIndex    *uint16 `json:"sdpMLineIndex"`
	UsernameFragment *string `json:"usernameFragment"`
}

// EncodeDescription returns the payload of an "offer" or an "answer", or a *FormatError where it
// would pass PayloadCharsMax. Line ends travel as \r\n escapes.
func EncodeDescription(kind, sdp string) (payload string, err error) {
	d := descriptionWire{kind, sdp}
	if err := d.check(); err != nil {
		return "", err
	}
	return encode(d)
}

// DecodeDescription reads what EncodeDescription and the browsers write.
func DecodeDescription(payload string) (kind, sdp string, err error) {
	var d descriptionWire
	if err := decode(payload, &d); err != nil {
		return "", "", err
	}
	if err := d.check(); err != nil {
		return "", "", err
	}
	return d.Type, d.SDP, nil
}

func (d descriptionWire) check() error {
	switch {
	case d.Type != kindOffer && d.Type != kindAnswer:
		return malformed("type of the session description must be %s or %s", kindOffer, kindAnswer)
	case d.SDP == "":
		return malformed("sdp is missing")
	case !utf8.ValidString(d.SDP):
		return malformed("sdp is not UTF-8")
	}
	return nil
}

// EncodeCandidate returns the payload of an ICE candidate.
func EncodeCandidate(c messages.Candidate) (payload string, err error) {
	return encode(c)
}

// DecodeCandidate reads an RTCIceCandidateInit. An empty candidate, the browsers' end of
// candidates, passes; one without the member does not.
func DecodeCandidate(payload string) (messages.Candidate, error) {
	var w candidateWire
	if err := decode(payload, &w); err != nil {
		return messages.Candidate{}, err
	}
	if w.Candidate == nil {
		return messages.Candidate{}, malformed("candidate is missing")
	}
	return messages.Candidate{
		Candidate: *w.Candidate, SDPMid: w.SDPMid, SDPMLineIndex: w.SDPMLineIndex, UsernameFragment: w.UsernameFragment,
	}, nil
}

func encode(v any) (string, error) {
	text, err := marshal(v)
	if err != nil {
		return "", err
	}
	if n := base64.StdEncoding.EncodedLen(len(text)); n > PayloadCharsMax {
		return "", malformed("payload has %d characters, %d are allowed (offer fewer codecs or let candidates trickle)", n, PayloadCharsMax)
	}
	return base64.StdEncoding.EncodeToString(text), nil
}

func decode(payload string, v any) error {
	if len(payload) > MessageBytesMax || !validBase64(payload) {
		return malformed("payload is not padded standard base64 of at most %d characters", MessageBytesMax)
	}
	text, err := base64.StdEncoding.DecodeString(payload)
	if err != nil {
		return malformed("payload is not padded standard base64")
	}
	return unmarshal(text, v)
}
