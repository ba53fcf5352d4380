package api

// The fault socket: how a test tells the service what shall go wrong. It is a Unix socket that only
// its owner may use, and speaks HTTP with JSON, so that every language, and curl --unix-socket, does:
//
//	POST   /faults       messages.Fault            sets one    -> {"faults":[the one]}
//	GET    /faults                                 those that stand
//	DELETE /faults       or /faults/{id}           ends all, or one; answers with what it ended
//
// A fault without "for_s" stands until it is cleared; go-away, reconnect-ice and cut without it happen
// at once and do not stand. What is refused is 400 and {"error":"..."}. In order of execution:
// ListenFaults binds, a route decodes within bounds, complete checks and fills in (faultcheck.go), the
// backend is asked.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	faultBytesMax   = 16 << 10
	faultAnswerMax  = 1 << 20
	faultWait       = 5 * time.Second
	faultSocketMode = 0o600
)

// FaultBackend is what the fault socket asks.
type FaultBackend interface {
	SetFault(ctx context.Context, m *messages.FaultWanted) (*messages.Faults, error)
	StandingFaults(ctx context.Context) (*messages.Faults, error)
	ClearFaults(ctx context.Context, m *messages.ClearFaults) (*messages.Faults, error)
}

// ListenFaults binds the socket. One that a killed service has left behind is replaced.
func ListenFaults(path string, b FaultBackend, log *zap.Logger) (*Listener, error) {
	inner, err := listenPrivately(path)
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		Handler: faultRoutes(b), ReadTimeout: faultWait, WriteTimeout: 2 * faultWait, IdleTimeout: faultWait,
		MaxHeaderBytes: faultBytesMax, ErrorLog: zap.NewStdLog(log),
	}
	return &Listener{net: inner, http: server}, nil
}

// privateSocket removes its file when it is closed.
type privateSocket struct {
	net.Listener
	path string
}

func (s *privateSocket) Close() error {
	err := s.Listener.Close()
	if err == nil {
		_ = os.Remove(s.path)
	}
	return err
}

// listenPrivately binds a Unix socket that nobody else could open at any time: it is made in a folder
// that others cannot enter, and put in its place when its mode is right.
func listenPrivately(path string) (net.Listener, error) {
	if err := vacant(path); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".f")
	if err != nil {
		return nil, fmt.Errorf("make fault socket: %w", err)
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	inner, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make fault socket (its path may have about 90 bytes): %w", err)
	}
	inner.SetUnlinkOnClose(false)
	err = os.Chmod(made, faultSocketMode)
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make fault socket: %w", err), inner.Close())
	}
	return &privateSocket{inner, path}, nil
}

// vacant keeps a file that is no socket, and a socket that somebody serves.
func vacant(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("make fault socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("make fault socket: %s is a file of another kind", path)
	}
	if c, err := net.DialTimeout("unix", path, faultWait); err == nil {
		_ = c.Close()
		return fmt.Errorf("make fault socket: another server answers at %s", path)
	}
	return nil
}

func faultRoutes(b FaultBackend) http.Handler {
	mux := http.NewServeMux()
	route := func(pattern string, serve func(r *http.Request) (*messages.Faults, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), faultWait)
			defer cancel()
			r.Body = http.MaxBytesReader(w, r.Body, faultBytesMax)
			out, err := serve(r.WithContext(ctx))
			answerFaults(w, out, err)
		})
	}
	route("POST /faults", func(r *http.Request) (*messages.Faults, error) {
		in := json.NewDecoder(r.Body)
		in.DisallowUnknownFields()
		var f messages.Fault
		if err := in.Decode(&f); err != nil {
			return nil, fmt.Errorf("read fault: %w", err)
		}
		f, err := complete(f)
		if err != nil {
			return nil, err
		}
		return b.SetFault(r.Context(), &messages.FaultWanted{Fault: f})
	})
	route("GET /faults", func(r *http.Request) (*messages.Faults, error) { return b.StandingFaults(r.Context()) })
	route("DELETE /faults", func(r *http.Request) (*messages.Faults, error) {
		return b.ClearFaults(r.Context(), &messages.ClearFaults{})
	})
	route("DELETE /faults/{id}", func(r *http.Request) (*messages.Faults, error) {
		id, err := strconv.Atoi(r.PathValue("id"))
		if err != nil || id < 1 {
			return nil, fmt.Errorf("there is no fault %q", r.PathValue("id"))
		}
		return b.ClearFaults(r.Context(), &messages.ClearFaults{ID: id})
	})
	return mux
}

func answerFaults(w http.ResponseWriter, out *messages.Faults, err error) {
	status, body := http.StatusOK, any(out)
	if err != nil {
		text := err.Error()
		if refused, ok := errors.AsType[*messages.Refused](err); ok {
			text = refused.Message
		}
		status, body = http.StatusBadRequest, faultRefusal{text}
	}
	w.Header().Set("Content-Type", contentTypeJSON)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

type faultRefusal struct {
	Error string `json:"error"`
}

// FaultClient speaks to the fault socket at a path.
type FaultClient string

// Set sets a fault and returns it as it stands.
func (c FaultClient) Set(ctx context.Context, f messages.Fault) (messages.Fault, error) {
	body, err := json.Marshal(f)
	if err != nil {
		return f, fmt.Errorf("set fault: %w", err)
	}
	all, err := c.call(ctx, http.MethodPost, "/faults", body)
	if err == nil && len(all) != 1 {
		err = errors.New("set fault: the service answers with none")
	}
	if err != nil {
		return f, err
	}
	return all[0], nil
}

// List returns the faults that stand.
func (c FaultClient) List(ctx context.Context) ([]messages.Fault, error) {
	return c.call(ctx, http.MethodGet, "/faults", nil)
}

// Clear ends the fault of that id, or all of them for 0, and returns what it ended.
func (c FaultClient) Clear(ctx context.Context, id int) ([]messages.Fault, error) {
	path := "/faults"
	if id != 0 {
		path += "/" + strconv.Itoa(id)
	}
	return c.call(ctx, http.MethodDelete, path, nil)
}

func (c FaultClient) call(ctx context.Context, method, path string, body []byte) ([]messages.Fault, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*faultWait)
	defer cancel()
	var dialer net.Dialer
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", string(c))
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://faults"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the fault socket: %w", err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ask the fault socket (is the server running, with --faults?): %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, faultAnswerMax))
	if err != nil {
		return nil, fmt.Errorf("ask the fault socket: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var said faultRefusal
		if json.Unmarshal(text, &said) != nil || said.Error == "" {
			said.Error = resp.Status
		}
		return nil, errors.New(said.Error)
	}
	var out messages.Faults
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("read the fault socket's answer: %w", err)
	}
	return out.Faults, nil
}
