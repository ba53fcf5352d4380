package api

// The IoT credentials provider (kvs-protocol.md 6): a device shows its certificate and gets the
// credentials of a role. One door on a listener of its own; nothing is signed, TLS is the proof.

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	thingHeader      = "x-amzn-iot-thingname"
	expirationLayout = "2006-01-02T15:04:05Z" // 20 characters, no more: the Linux reference counts them
)

// IoTConfig says how the door answers.
type IoTConfig struct {
	Things *Things
	// Assume gives the credentials of the role behind an alias to the device of that name. asThing
	// says that it asked by its thing name, so that a policy's variable has a value. A refusal is a
	// *messages.Refused.
	Assume  func(alias, name string, asThing bool, at time.Time) (messages.Credentials, error)
	Refused func(name string) // counts refusals; nil: not counted
	Now     func() time.Time  // nil: time.Now
	Log     *zap.Logger       // nil: none
}

// issued is the answer. The order of its keys is part of the contract: a C parser wants "credentials"
// first (kvs-protocol.md 6).
type issued struct {
	Credentials struct {
		AccessKeyID     string `json:"accessKeyId"`
		SecretAccessKey string `json:"secretAccessKey"`
		SessionToken    string `json:"sessionToken"`
		Expiration      string `json:"expiration"`
	} `json:"credentials"`
}

// IoT returns the handler of the listener that ListenMutualTLS opens.
func IoT(c IoTConfig) http.Handler {
	d := open(Config{Refused: c.Refused, Now: c.Now, Log: c.Log})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /role-aliases/{alias}/credentials", func(w http.ResponseWriter, r *http.Request) {
		out, err := c.issue(r, d.Now())
		if err != nil {
			d.refuseDevice(w, err)
			return
		}
		d.answer(w, out)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.refuseDevice(w, &messages.Refused{Type: "ResourceNotFoundException", Message: "There is GET /role-aliases/{alias}/credentials and nothing else"})
	})
	return mux
}

func (c IoTConfig) issue(r *http.Request, now time.Time) (*issued, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, &messages.Refused{Type: "AccessDeniedException", Message: "Access Denied"}
	}
	name, ok := c.Things.thingOf(r.TLS.PeerCertificates, now)
	if !ok {
		return nil, &messages.Refused{Type: "AccessDeniedException", Message: "Certificate is invalid on this endpoint"}
	}
	claimed := r.Header.Values(thingHeader)
	if len(claimed) > 0 && strings.Join(claimed, ",") != name {
		return nil, &messages.Refused{Type: "AccessDeniedException", Message: "Invalid thing name passed"}
	}
	credentials, err := c.Assume(r.PathValue("alias"), name, len(claimed) > 0, now)
	if err != nil {
		return nil, err
	}
	out := &issued{}
	out.Credentials.AccessKeyID = credentials.AccessKeyID
	out.Credentials.SecretAccessKey = credentials.SecretAccessKey
	out.Credentials.SessionToken = credentials.SessionToken
	out.Credentials.Expiration = credentials.Expires.UTC().Format(expirationLayout)
	return out, nil
}

// refuseDevice writes an error as AWS IoT does: "message" in lower case.
func (d *doors) refuseDevice(w http.ResponseWriter, err error) {
	kind, status, text := refusal(err)
	if _, ok := errors.AsType[*messages.Refused](err); !ok {
		d.Log.Warn("credentials request failed", zap.Error(err))
	}
	d.Refused(kind)
	body, _ := json.Marshal(struct {
		Message string `json:"message"`
	}{text})
	w.Header()["x-amzn-ErrorType"] = []string{kind}
	d.reply(w, status, body)
}
