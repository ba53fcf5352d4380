package api

// WHEP (draft-ietf-wish-whep): a player posts an offer to /whep/<channel>, gets the device's answer
// and keeps its session, /whep/<channel>/<session>, alive with HEAD until it deletes it. There is
// no PATCH: the answer holds all candidates, because the offer loses its trickle option (offer.go).

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	retryFullS    = "5" // seconds, Retry-After
	retryOfflineS = "2"
)

func (d *doors) whep(w http.ResponseWriter, r *http.Request) {
	channel, session, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, pathWhep), "/")
	if checkName(channel) != nil {
		http.Error(w, "the path is "+pathWhep+"<channel>", http.StatusNotFound)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), backendWait)
	defer cancel()
	r = r.WithContext(ctx)
	switch {
	case session == "" && r.Method == http.MethodPost:
		d.play(w, r, channel)
	case session == "" && r.Method == http.MethodOptions:
		d.whepOptions(w, r, channel)
	case session != "" && r.Method == http.MethodHead:
		d.whepSession(w, session, d.Backend.Touch(ctx, session))
	case session != "" && r.Method == http.MethodDelete:
		d.whepSession(w, session, d.Backend.End(ctx, session))
	case session == "":
		w.Header().Set("Allow", "POST, OPTIONS")
		http.Error(w, "post an SDP offer here", http.StatusMethodNotAllowed)
	default:
		w.Header().Set("Allow", "HEAD, DELETE")
		http.Error(w, "a session takes HEAD to stay and DELETE to end", http.StatusMethodNotAllowed)
	}
}

func (d *doors) play(w http.ResponseWriter, r *http.Request, channel string) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != contentTypeSDP {
		w.Header().Set("Accept-Post", contentTypeSDP)
		http.Error(w, "the body must be "+contentTypeSDP, http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, requestBytesMax))
	if err != nil {
		http.Error(w, "the offer is too large", http.StatusRequestEntityTooLarge)
		return
	}
	offer, err := fitOffer(string(body))
	if err != nil {
		http.Error(w, "the offer cannot be used: "+err.Error(), http.StatusBadRequest)
		return
	}
	answered, err := d.Backend.Play(r.Context(), &messages.WhepWanted{ChannelName: channel, SDP: offer})
	if err != nil {
		d.refusePlayer(w, err)
		return
	}
	h := w.Header()
	h.Set("Location", pathWhep+channel+"/"+answered.Session)
	h.Set("ETag", entityTag(answered.Session))
	h.Set("Content-Type", contentTypeSDP)
	d.iceLinks(w, r, channel)
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answered.SDP)
}

// whepOptions tells a player the ICE servers before it makes its offer (draft-ietf-wish-whep 4.6).
func (d *doors) whepOptions(w http.ResponseWriter, r *http.Request, channel string) {
	if err := d.iceLinks(w, r, channel); err != nil {
		d.refusePlayer(w, err)
		return
	}
	w.Header().Set("Accept-Post", contentTypeSDP)
	w.Header().Set("Allow", "POST, OPTIONS")
	w.WriteHeader(http.StatusNoContent)
}

func (d *doors) iceLinks(w http.ResponseWriter, r *http.Request, channel string) error {
	servers, err := d.Backend.TurnServers(r.Context(), &messages.TurnWanted{ChannelName: channel, ClientID: "whep"})
	if err != nil {
		return err
	}
	h := w.Header()
	if servers.StunURL != "" {
		h.Add("Link", fmt.Sprintf(`<%s>; rel="ice-server"`, servers.StunURL))
	}
	for _, url := range servers.Direct.URLs {
		h.Add("Link", fmt.Sprintf(`<%s>; rel="ice-server"; username="%s"; credential="%s"; credential-type="password"`,
			url, servers.Direct.Username, servers.Direct.Password))
	}
	return nil
}

func (d *doors) whepSession(w http.ResponseWriter, session string, err error) {
	if err != nil {
		d.refusePlayer(w, err)
		return
	}
	w.Header().Set("ETag", entityTag(session))
	w.WriteHeader(http.StatusOK)
}

// entityTag names the ICE session (draft-ietf-wish-whep 4.3); it must not give the session's name away.
func entityTag(session string) string {
	sum := sha256.Sum256([]byte(session))
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}

// refusePlayer answers in plain text, which players show.
func (d *doors) refusePlayer(w http.ResponseWriter, err error) {
	kind := "ServiceUnavailableException"
	if refused, ok := errors.AsType[*messages.Refused](err); ok {
		kind = refused.Type
	}
	d.Refused(kind)
	h := w.Header()
	switch kind {
	case "ResourceNotFoundException":
		http.Error(w, "there is no such channel or session", http.StatusNotFound)
	case "ClientLimitExceededException":
		h.Set("Retry-After", retryFullS)
		http.Error(w, "the channel is full", http.StatusServiceUnavailable)
	case RefusedOffline: // draft-ietf-wish-whep 4.2: 409 while nobody publishes
		h.Set("Retry-After", retryOfflineS)
		http.Error(w, "no device is connected to the channel", http.StatusConflict)
	case RefusedStored:
		http.Error(w, "the channel's media is stored: disable its media storage to watch it by WHEP", http.StatusConflict)
	case RefusedNoAnswer:
		http.Error(w, "the device did not answer in time", http.StatusGatewayTimeout)
	default:
		d.Log.Warn("whep request failed", zap.Error(err))
		h.Set("Retry-After", retryOfflineS)
		http.Error(w, "the service cannot answer right now", http.StatusServiceUnavailable)
	}
}
