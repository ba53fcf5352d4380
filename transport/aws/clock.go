package aws

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
)

// clockOffMin is how far off the machine's clock must be before it is corrected. AWS takes a signature
// that is 5 minutes off; an answer's Date tells seconds, and may have been long on its way.
const clockOffMin = time.Minute

// Clock is the service's clock, as its answers tell it: a camera without a battery comes up in the past,
// and everything it signs would be refused (kvs-protocol.md 1.1). It is safe for concurrent use.
type Clock struct{ offset atomic.Int64 }

// Now is the service's time.
func (c *Clock) Now() time.Time { return time.Now().Add(c.Offset()) }

// Offset is the service's time less the machine's; 0 when they differ by less than a minute.
func (c *Clock) Offset() time.Duration { return time.Duration(c.offset.Load()) }

// Heard learns from the Date of an answer that has just come; a zero date tells nothing.
func (c *Clock) Heard(date time.Time) {
	if date.IsZero() {
		return
	}
	offset := time.Until(date)
	if offset.Abs() < clockOffMin {
		offset = 0
	}
	c.offset.Store(int64(offset))
}

// clockRefused tells an answer that finds the signature's time wrong; its Date has set the clock right.
func clockRefused(err error) aws.Ternary {
	var answer *Error
	var said smithy.APIError
	var kind, message string
	switch {
	case errors.As(err, &answer):
		kind, message = answer.Type, answer.Message
	case errors.As(err, &said):
		kind, message = bareType(said.ErrorCode()), said.ErrorMessage()
	}
	if WrongTime(kind, message) {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

// WrongTime tells a refusal for the time of the signature, by the error's type and text
// (kvs-protocol.md 1.5).
func WrongTime(kind, message string) bool {
	return kind == "RequestTimeTooSkewed" || kind == "RequestExpired" ||
		strings.Contains(message, "Signature expired") || strings.Contains(message, "Signature not yet current")
}

// Listen returns a RoundTripper that learns from every answer.
func (c *Clock) Listen(next http.RoundTripper) http.RoundTripper { return listening{c, next} }

type listening struct {
	clock *Clock
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (l listening) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err == nil {
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			l.clock.Heard(date)
		}
	}
	return resp, err
}

// CloseIdleConnections lets http.Client.CloseIdleConnections through.
func (l listening) CloseIdleConnections() {
	if c, ok := l.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
