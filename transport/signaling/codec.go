package signaling

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Outbound is a message from a client to the service.
type Outbound struct {
	Action            string // SDPOffer, SDPAnswer or ICECandidate
	RecipientClientID string // the viewer a master means; empty: to the master, or to the storage session
	CorrelationID     string // comes back in a Status when the message is refused; empty: nothing comes back
	Payload           string // base64, as on the wire
}

// Inbound is a message from the service to a client.
type Inbound struct {
	MessageType    string
	SenderClientID string  // the viewer it is from; empty: the master or the storage session
	Payload        string  // base64, as on the wire; may be empty for GoAway and ReconnectICEServer
	Status         *Status // with StatusResponse
}

// Status says that a message with a correlation id was refused.
type Status struct {
	CorrelationID, ErrorType, StatusCode, Description string

	Failed bool // "success":false, which a storage session writes besides (kvs-protocol.md 3.5)
}

// FormatError says why a message cannot be encoded or decoded. CorrelationID is the message's own
// when it could be read: whoever sent the message can be told.
type FormatError struct {
	CorrelationID string
	Reason        string
}

// Error returns the reason.
func (e *FormatError) Error() string { return "malformed signaling message: " + e.Reason }

func malformed(format string, args ...any) error {
	return &FormatError{Reason: fmt.Sprintf(format, args...)}
}

// The wire forms. Order of the fields is the order of the keys. encoding/json matches keys without
// regard to case, as AWS does: the C SDK writes them in PascalCase (kvs-protocol.md 3.4).
type (
	outboundWire struct {
		Action            string `json:"action"`
		MessagePayload    string `json:"messagePayload"`
		RecipientClientID string `json:"recipientClientId,omitempty"`
		CorrelationID     string `json:"correlationId,omitempty"`
	}
	// Two C parsers depend on the order and on what is left out (kvs-protocol.md 3.5, 7.4):
	// no senderClientId towards viewers, statusResponse never null, no empty messagePayload, which
	// base64 decoders take for an error.
	inboundWire struct {
		MessagePayload string      `json:"messagePayload,omitempty"`
		MessageType    string      `json:"messageType"`
		SenderClientID string      `json:"senderClientId,omitempty"`
		StatusResponse *statusWire `json:"statusResponse,omitempty"`
	}
	// statusCode is always there: the Linux reference reads it unasked (kvs-protocol.md 3.5).
	statusWire struct {
		CorrelationID string `json:"correlationId"`
		ErrorType     string `json:"errorType"`
		StatusCode    string `json:"statusCode"`
		Description   string `json:"description"`
		Success       *bool  `json:"success,omitempty"`
	}
)

func wireStatus(s *Status) *statusWire {
	if s == nil {
		return nil
	}
	w := &statusWire{CorrelationID: s.CorrelationID, ErrorType: s.ErrorType, StatusCode: s.StatusCode, Description: s.Description}
	if s.Failed {
		w.Success = new(bool)
	}
	return w
}

func (w *statusWire) status() *Status {
	if w == nil {
		return nil
	}
	return &Status{w.CorrelationID, w.ErrorType, w.StatusCode, w.Description, w.Success != nil && !*w.Success}
}

// EncodeOutbound returns the text frame of m, or a *FormatError where AWS would refuse it.
func EncodeOutbound(m Outbound) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	return marshal(outboundWire{m.Action, m.Payload, m.RecipientClientID, m.CorrelationID})
}

// DecodeOutbound reads a client's text frame. Keys match without regard to case, unknown ones are
// passed over, an empty recipient counts as absent. It fails with a *FormatError.
func DecodeOutbound(frame []byte) (Outbound, error) {
	var w outboundWire
	err := unmarshal(frame, &w)
	m := Outbound{Action: w.Action, RecipientClientID: w.RecipientClientID, CorrelationID: w.CorrelationID, Payload: w.MessagePayload}
	if err == nil {
		err = m.check()
	}
	if fault, ok := err.(*FormatError); ok {
		if validID(m.CorrelationID) {
			fault.CorrelationID = m.CorrelationID
		}
		return Outbound{}, fault
	}
	return m, nil
}

// check applies the rules of kvs-protocol.md 3.4.
func (m Outbound) check() error {
	switch m.Action {
	case SDPOffer, SDPAnswer, ICECandidate:
	default:
		return malformed("action must be %s, %s or %s", SDPOffer, SDPAnswer, ICECandidate)
	}
	switch {
	case m.Payload == "":
		return malformed("messagePayload is missing")
	case len(m.Payload) > PayloadCharsMax:
		return malformed("messagePayload has %d characters, %d are allowed", len(m.Payload), PayloadCharsMax)
	case !validBase64(m.Payload):
		return malformed("messagePayload is not padded standard base64")
	case m.RecipientClientID != "" && !validID(m.RecipientClientID):
		return malformed("recipientClientId must be 1 to %d of a-z A-Z 0-9 _ . -", ClientIDCharsMax)
	case m.CorrelationID != "" && !validID(m.CorrelationID):
		return malformed("correlationId must be 1 to %d of a-z A-Z 0-9 _ . -", ClientIDCharsMax)
	}
	return nil
}

// EncodeInbound returns the text frame of m, or a *FormatError.
func EncodeInbound(m Inbound) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if len(m.Payload) > PayloadCharsMax {
		return nil, malformed("messagePayload has %d characters, %d are allowed", len(m.Payload), PayloadCharsMax)
	}
	if m.Status != nil && len(m.Status.Description) > DescriptionBytesMax {
		return nil, malformed("description has %d bytes, %d are allowed", len(m.Status.Description), DescriptionBytesMax)
	}
	return marshal(inboundWire{m.Payload, m.MessageType, m.SenderClientID, wireStatus(m.Status)})
}

// DecodeInbound reads the service's text frame. A type that it does not know passes, for the caller
// to ignore. It fails with a *FormatError.
func DecodeInbound(frame []byte) (Inbound, error) {
	var w inboundWire
	if err := unmarshal(frame, &w); err != nil {
		return Inbound{}, err
	}
	m := Inbound{MessageType: w.MessageType, SenderClientID: w.SenderClientID, Payload: w.MessagePayload, Status: w.StatusResponse.status()}
	if err := m.check(); err != nil {
		return Inbound{}, err
	}
	return m, nil
}

// check applies the rules of kvs-protocol.md 3.5. AWS's own limit of the payload is the sender's to keep.
func (m Inbound) check() error {
	switch m.MessageType {
	case "":
		return malformed("messageType is missing")
	case SDPOffer, SDPAnswer, ICECandidate:
		if m.Payload == "" {
			return malformed("messagePayload is missing")
		}
	case StatusResponse:
		if m.Status == nil {
			return malformed("statusResponse is missing")
		}
	}
	switch {
	case m.MessageType != StatusResponse && len(m.MessageType) > ClientIDCharsMax:
		return malformed("messageType is longer than %d", ClientIDCharsMax)
	case !validBase64(m.Payload):
		return malformed("messagePayload is not padded standard base64")
	case m.SenderClientID != "" && !validID(m.SenderClientID):
		return malformed("senderClientId must be 1 to %d of a-z A-Z 0-9 _ . -", ClientIDCharsMax)
	}
	return nil
}

// ValidClientID reports whether a viewer may connect under this id (kvs-protocol.md 3.1): 1 to 256
// of a-z A-Z 0-9 _ . - and not beginning with AWS_ in any case.
func ValidClientID(s string) bool {
	return validID(s) && !(len(s) >= 4 && strings.EqualFold(s[:4], "AWS_"))
}

func validID(s string) bool {
	for _, b := range []byte(s) {
		if !alphanumeric(b) && b != '_' && b != '.' && b != '-' {
			return false
		}
	}
	return s != "" && len(s) <= ClientIDCharsMax
}

// validBase64 accepts the standard alphabet with padding and nothing else; encoding/base64 would
// let line ends pass. The empty string is valid.
func validBase64(s string) bool {
	if len(s)%4 != 0 {
		return false
	}
	digits := strings.TrimSuffix(strings.TrimSuffix(s, "="), "=")
	for _, b := range []byte(digits) {
		if !alphanumeric(b) && b != '+' && b != '/' {
			return false
		}
	}
	return true
}

func alphanumeric(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

// marshal writes JSON on one line without HTML's escapes, which the C parsers do not undo.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, malformed("not encodable: %v", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// unmarshal reads one JSON object and nothing after it. Fields of the wrong type do not keep the
// others from being read. The decoder's own words stay out of the error: they may quote the input.
func unmarshal(frame []byte, v any) error {
	switch {
	case len(frame) > MessageBytesMax:
		return malformed("%d bytes, %d are allowed", len(frame), MessageBytesMax)
	case !utf8.Valid(frame):
		return malformed("not UTF-8")
	case !json.Valid(frame):
		return malformed("not one JSON value")
	case bytes.TrimLeft(frame, " \t\r\n")[0] != '{':
		return malformed("not a JSON object")
	}
	if err := json.Unmarshal(frame, v); err != nil {
		return malformed("a member has the wrong type")
	}
	return nil
}
