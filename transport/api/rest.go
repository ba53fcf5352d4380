package api

// The envelope of a signed request. In order of execution: anyOrigin answers the preflight and
// opens the door to every origin; signed reads the body within its bound, verifies the signature,
// decodes and validates, asks the key's policy (authorize.go); the operation asks the Backend; answer
// or refuse writes once.

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// input is the body of an operation, checked against the published patterns.
type input interface{ validate() error }

// signed is the handler of one operation. In is the body's type.
func signed[In any, P interface {
	*In
	input
}](d *doors, run func(r *http.Request, in P) (any, error)) http.Handler {
	return signedFor(d, backendWait, d.refuse, run)
}

// signedFor is signed for an operation that takes its time, or writes its errors in a form of its own.
func signedFor[In any, P interface {
	*In
	input
}](d *doors, wait time.Duration, refuse func(http.ResponseWriter, error), run func(r *http.Request, in P) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			refuse(w, &messages.Refused{Type: operationUnknown, Message: "The operation is a POST"})
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, requestBytesMax))
		if err != nil {
			refuse(w, &aws.Error{Type: "RequestEntityTooLargeException", Status: http.StatusRequestEntityTooLarge, Message: "The request body is too large"})
			return
		}
		key, err := d.Verifier.VerifyHeader(r, body)
		if err != nil {
			refuse(w, err)
			return
		}
		if err := d.Disturb(key, func() Attempt { return attemptOf(r, body) }); err != nil {
			refuse(w, err)
			return
		}
		in := P(new(In))
		if err := decode(body, in); err != nil {
			refuse(w, err)
			return
		}
		// The body is read; its deadline would end the request while it waits.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(wait + requestWait))
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		r = r.WithContext(ctx)
		if err := d.authorize(r, key, body); err != nil {
			refuse(w, err)
			return
		}
		out, err := run(r, in)
		if err != nil {
			refuse(w, err)
			return
		}
		d.answer(w, out)
	})
}

// decode reads one JSON object; an empty body is an empty object, as for an operation whose
// members are all optional.
func decode(body []byte, in input) error {
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, in); err != nil {
			return &messages.Refused{Type: "SerializationException", Message: "The request body is not the JSON object that the operation takes"}
		}
	}
	return in.validate()
}

// answer writes a success: status 200 exactly, Content-Length, headers and body in one write
// (kvs-protocol.md 7.4). A small body stays within net/http's buffer, so that it does all of it.
// Without an output the body is empty.
func (d *doors) answer(w http.ResponseWriter, out any) {
	if out == nil {
		d.reply(w, http.StatusOK, nil)
		return
	}
	body, err := json.Marshal(out)
	if err != nil {
		d.refuse(w, err)
		return
	}
	d.reply(w, http.StatusOK, body)
}

// refuse writes an error in AWS's form (kvs-protocol.md 1.5).
func (d *doors) refuse(w http.ResponseWriter, err error) { d.refuseWith(w, "Message", err) }

// refuseStorage writes an error of the storage session's API, which spells the member otherwise.
func (d *doors) refuseStorage(w http.ResponseWriter, err error) { d.refuseWith(w, "message", err) }

func (d *doors) refuseWith(w http.ResponseWriter, member string, err error) {
	kind, status, text := refusal(err)
	if status >= 500 && !errors.Is(err, context.Canceled) {
		d.Log.Warn("request failed", zap.Error(err))
	}
	d.Refused(kind)
	body, _ := json.Marshal(map[string]string{member: text})
	w.Header()["x-amzn-ErrorType"] = []string{kind} // in AWS's spelling
	d.reply(w, status, body)
}

// reply tells the time, by which a client corrects its clock (kvs-protocol.md 1.1).
func (d *doors) reply(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Date", d.Now().UTC().Format(http.TimeFormat))
	h.Set("Content-Type", contentTypeJSON)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h["x-amzn-RequestId"] = []string{requestID()}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// refusal gives an error its name, HTTP status and text.
func refusal(err error) (kind string, status int, text string) {
	var signature *aws.Error
	var refused *messages.Refused
	switch {
	case errors.As(err, &signature):
		return signature.Type, signature.Status, signature.Message
	case errors.As(err, &refused):
		return refused.Type, refusedStatus(refused.Type), refused.Message
	}
	return "ServiceUnavailableException", http.StatusServiceUnavailable, "The service cannot answer right now"
}

func refusedStatus(kind string) int {
	switch kind {
	case "ResourceNotFoundException", operationUnknown:
		return http.StatusNotFound
	case "NotAuthorizedException":
		return http.StatusUnauthorized
	case "AccessDeniedException":
		return http.StatusForbidden
	case "ServiceUnavailableException":
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// anyOrigin lets pages of every origin call a signed door: the signature is the protection, and no
// cookie exists. Preflight as in kvs-protocol.md 7.1.
func anyOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "x-amzn-ErrorType, x-amzn-RequestId, Date")
		if r.Method == http.MethodOptions {
			preflight(h, r, "POST")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// preflight allows the methods given and whatever headers were asked for: a signed request may
// carry any, and "*" does not cover authorization.
func preflight(h http.Header, r *http.Request, methods string) {
	h.Set("Access-Control-Allow-Methods", methods)
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" && len(asked) < 1024 && !strings.ContainsAny(asked, "\r\n") {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Access-Control-Max-Age", "600")
}

func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
