package device

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// The JSON form of data-channel requests, described for users in deploy/data-channel.md.

const (
	requestBytesMax   = 4 << 10
	requestIDBytesMax = 64
	requestBpsMax     = 1_000_000_000
)

// requestNames are those that viewer.onRequest meets.
var requestNames = []string{"ping", "stats", "keyframe", "snapshot", "bitrate", "exec"}

// request is what a viewer asks by its data channel.
type request struct {
	ID      json.RawMessage `json:"id"` // a string or a number, given back as it is
	Name    string          `json:"request"`
	Bps     *int            `json:"bps"`     // of bitrate
	Command string          `json:"command"` // of exec
}

// response is the answer to a request.
type response struct {
	ID     json.RawMessage `json:"id"` // null: it could not be read
	OK     bool            `json:"ok"`
	Result any             `json:"result,omitempty"`
	Error  *refusal        `json:"error,omitempty"`
}

// refusal is why a request was not met: a code for programs, a message for people.
type refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// The codes of refusals.
const (
	codeBadRequest  = "bad_request"
	codeTooLarge    = "too_large"
	codeTooMany     = "too_many_requests"
	codeUnknown     = "unknown_request"
	codeNotAllowed  = "not_allowed"
	codeUnavailable = "unavailable"
	codeFailed      = "failed"
)

// isRequest tells a request from plain text, which is what does not begin as a JSON object, and an
// object without the member "request": KVS's samples send such.
func isRequest(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	if len(text) == 0 || text[0] != '{' {
		return false
	}
	var object map[string]json.RawMessage
	if len(text) > requestBytesMax || json.Unmarshal(text, &object) != nil {
		return true // and a bad one
	}
	_, named := object["request"]
	return named
}

// decodeRequest reads a request. A bad one still gives its id where that can be read.
func decodeRequest(text []byte) (request, *refusal) {
	if len(text) > requestBytesMax {
		return request{}, &refusal{codeTooLarge, "a request has 4096 bytes at most"}
	}
	var id struct {
		ID json.RawMessage `json:"id"`
	}
	if err := json.Unmarshal(text, &id); err != nil {
		return request{}, &refusal{codeBadRequest, "the text begins as a JSON object and is none"}
	}
	if !validID(id.ID) {
		return request{}, &refusal{codeBadRequest, "id must be a string or a number of 64 bytes at most"}
	}
	r := request{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return request{ID: id.ID}, &refusal{codeBadRequest, explain(err)}
	}
	return r, nil
}

// validID: none, a string or a number.
func validID(id json.RawMessage) bool {
	return len(id) == 0 || len(id) <= requestIDBytesMax && id[0] != '{' && id[0] != '[' && id[0] != 't' && id[0] != 'f'
}

// explain tells what is wrong in words that hold nothing of Go's.
func explain(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return "the member " + wrong.Field + " is of the wrong type: a " + wrong.Value
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// encode gives the text of a response.
func (r response) encode() []byte {
	if len(r.ID) == 0 {
		r.ID = json.RawMessage("null")
	}
	text, err := json.Marshal(r)
	if err != nil { // no result of ours does that
		text = []byte(`{"id":null,"ok":false,"error":{"code":"failed","message":"the answer could not be written"}}`)
	}
	return text
}
