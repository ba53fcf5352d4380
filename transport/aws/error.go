package aws

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Error is what a KVS endpoint answers instead of a result, and what the Verifier returns for its
// caller to answer. Date is the endpoint's clock, zero when it did not tell: a client whose own
// clock is wrong corrects its signatures by it (kvs-protocol.md 1.1).
type Error struct {
	Type    string // "ResourceNotFoundException"
	Status  int    // HTTP status
	Message string // text for humans; holds no secret
	Date    time.Time
}

// Error returns type, status and message.
func (e *Error) Error() string {
	return fmt.Sprintf("%s (%d): %s", e.Type, e.Status, e.Message)
}

// HTTPStatusCode lets the SDK's retryer judge the error by its status.
func (e *Error) HTTPStatusCode() int { return e.Status }

// IsType reports whether err is or wraps an *Error of the given type, such as "ResourceNotFoundException".
func IsType(err error, kind string) bool {
	var e *Error
	return errors.As(err, &e) && e.Type == kind
}

// errorFrom reads an error answer: the type from the header, else from the body, the message in
// either spelling (kvs-protocol.md 1.5). encoding/json matches keys without regard to case.
func errorFrom(status int, header http.Header, body []byte) *Error {
	var said struct {
		Type    string `json:"__type"`
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(body, &said) // a proxy's page of HTML: the status must do
	e := &Error{
		Type:    bareType(firstOf(header.Get("X-Amzn-ErrorType"), said.Type, said.Code, "UnknownError")),
		Status:  status,
		Message: firstOf(said.Message, http.StatusText(status)),
	}
	e.Date, _ = http.ParseTime(header.Get("Date"))
	return e
}

// bareType takes the name out of "Name:uri" and "namespace#Name".
func bareType(s string) string {
	s, _, _ = strings.Cut(s, ":")
	return s[strings.LastIndexByte(s, '#')+1:]
}

func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}
