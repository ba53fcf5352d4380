package api

// What storage sessions have left (kvs-protocol.md 4), for the page and for people:
//
//	GET /recordings[?channel=NAME]                        the streams that have a recording
//	GET /recordings/STREAM[?from=T&to=T]                  its segments, and why something is missing before one
//	GET /recordings/STREAM/span.mkv|span.mp4[?from=T&to=T] a span as a file, whole or in ranges (RFC 9110 14)
//
// T is a time of RFC 3339; without one the recording's beginning or end. The names are ours, not AWS's, whose
// archived media API is another. Whoever may watch by WHEP may ask. A service answers for what it has on its
// own disk.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/messages"
)

// Recording is what a stream has recorded.
type Recording struct {
	Stream  string    `json:"stream"`
	Channel string    `json:"channel,omitempty"` // whose media is stored there
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
}

// RecordedSegments are the segments of a recording in the order of their times.
type RecordedSegments struct {
	Stream   string            `json:"stream"`
	Segments []RecordedSegment `json:"segments"`
	More     bool              `json:"more"` // ask again from the end of the last one
}

// RecordedSegment is one file of a recording.
type RecordedSegment struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	Bytes int64     `json:"bytes"`
	Gap   string    `json:"gap,omitempty"` // why something is missing before it: start, loss, disk, time
}

// Span is a span of a recording as a file. The door closes it.
type Span struct {
	io.ReadSeekCloser
	Start, End time.Time // of what is in it; Start is the file's time zero
	MediaType  string
	Tag        string // differs whenever the bytes do
}

// recordings are the questions of this file.
type recordings interface {
	// Recordings lists the streams that have a recording; with a channel, the one where its media is stored.
	Recordings(ctx context.Context, channel string) ([]Recording, error)
	// Segments lists what is recorded of a stream between two times, of which zero is no bound.
	Segments(ctx context.Context, stream string, from, to time.Time) (*RecordedSegments, error)
	// OpenSpan opens what is recorded of a stream between two times. The format is "mkv" or "mp4".
	OpenSpan(ctx context.Context, stream string, from, to time.Time, format string) (*Span, error)
}

// The doors' own refusals of a recording, besides AWS's exceptions.
const (
	RefusedNothing = "NothingRecorded"
	RefusedSpan    = "SpanRefused"      // too long, or no one file holds it; the message says so
	refusedBusy    = "TooManyDownloads" // at once
)

const (
	pathRecordings  = "/recordings"
	downloadsMax    = 16               // at once on a listener: each holds a cluster in memory, and a file open
	downloadWait    = 30 * time.Second // for a client that takes nothing
	retryDownloadsS = "5"
)

func (d *doors) recorded(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "recordings are only read", http.StatusMethodNotAllowed)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), backendWait)
	defer cancel()
	stream, file, named := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, pathRecordings), "/"), "/")
	if stream == "" && !named {
		channel := r.URL.Query().Get("channel")
		if channel != "" && checkName(channel) != nil {
			http.Error(w, "there is no such channel", http.StatusNotFound)
			return
		}
		found, err := d.Backend.Recordings(ctx, channel)
		d.tell(w, map[string]any{"recordings": found}, err)
		return
	}
	from, to, err := parseSpan(r.URL.Query())
	switch {
	case (&streamName{StreamName: stream}).validate() != nil:
		http.Error(w, "there is no such stream", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case !named:
		found, err := d.Backend.Segments(ctx, stream, from, to)
		d.tell(w, found, err)
	case file == "span.mkv" || file == "span.mp4":
		d.download(w, r.WithContext(ctx), stream, from, to, strings.TrimPrefix(file, "span."))
	default:
		http.Error(w, "a recording is span.mkv or span.mp4", http.StatusNotFound)
	}
}

// parseSpan reads a span of time from a query.
func parseSpan(q url.Values) (from, to time.Time, err error) {
	for name, at := range map[string]*time.Time{"from": &from, "to": &to} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		if *at, err = time.Parse(time.RFC3339Nano, text); err != nil || at.Year() < 1970 || at.Year() > 2200 {
			return from, to, fmt.Errorf("%q is no time such as 2026-11-27T12:00:00Z (a + in a query is %%2B)", name)
		}
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return from, to, errors.New("from must be before to")
	}
	return from, to, nil
}

// download serves a span; http.ServeContent does ranges and conditions.
func (d *doors) download(w http.ResponseWriter, r *http.Request, stream string, from, to time.Time, format string) {
	select {
	case d.downloads <- struct{}{}:
		defer func() { <-d.downloads }()
	default:
		d.refuseRecording(w, &messages.Refused{Type: refusedBusy})
		return
	}
	span, err := d.Backend.OpenSpan(r.Context(), stream, from, to, format)
	if err != nil {
		d.refuseRecording(w, err)
		return
	}
	defer span.Close()
	h := w.Header()
	h.Set("Content-Type", span.MediaType)
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%s.%s"`, stream, span.Start.UTC().Format("20060102T150405Z"), format))
	h.Set("ETag", `"`+span.Tag+`"`)
	h.Set("Cache-Control", "private, no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Span-Start", span.Start.UTC().Format(time.RFC3339Nano))
	h.Set("Span-End", span.End.UTC().Format(time.RFC3339Nano))
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // the request is read; what follows has a time of its own
	http.ServeContent(w, r, "", time.Time{}, &paced{span, func() { _ = control.SetWriteDeadline(time.Now().Add(downloadWait)) }})
	_ = control.SetWriteDeadline(time.Time{})
}

// paced puts the deadline off with each read: a download may take long, but must not stand still.
type paced struct {
	*Span
	putOff func()
}

func (p *paced) Read(b []byte) (int, error) {
	p.putOff()
	return p.Span.Read(b)
}

// tell answers in JSON.
func (d *doors) tell(w http.ResponseWriter, answer any, err error) {
	if err != nil {
		d.refuseRecording(w, err)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		d.refuseRecording(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentTypeJSON)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(body)
}

// refuseRecording answers in plain text.
func (d *doors) refuseRecording(w http.ResponseWriter, err error) {
	kind, _, text := refusal(err)
	d.Refused(kind)
	switch kind {
	case "ResourceNotFoundException":
		http.Error(w, "there is no such channel or stream", http.StatusNotFound)
	case RefusedNothing:
		http.Error(w, "nothing is recorded in this span", http.StatusNotFound)
	case RefusedSpan:
		http.Error(w, text, http.StatusBadRequest)
	case refusedBusy:
		w.Header().Set("Retry-After", retryDownloadsS)
		http.Error(w, "too many downloads are under way", http.StatusServiceUnavailable)
	default:
		d.Log.Warn("recording not given", zap.Error(err))
		http.Error(w, "the service cannot answer right now", http.StatusServiceUnavailable)
	}
}
