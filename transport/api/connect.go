package api

// The websocket door: presigned query, admission, 101, and the socket goes to its connection.

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/heliograph-rtc/heliograph/messages"
)

const upgradeWriteWait = 5 * time.Second

func upgradeWanted(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// connect answers ConnectAsMaster and ConnectAsViewer. There is no role parameter: a viewer is who
// gives a client id (kvs-protocol.md 3.1).
func (d *doors) connect(w http.ResponseWriter, r *http.Request) {
	want, err := d.presigned(r)
	if err != nil {
		d.refuse(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), backendWait)
	defer cancel()
	seat, err := d.Backend.Connect(ctx, want)
	if err != nil {
		d.refuse(w, err)
		return
	}
	// The C clients offer "wss" and take either answer; who offers none must get none (3.2).
	upgrader := ws.HTTPUpgrader{Timeout: upgradeWriteWait, Protocol: func(p string) bool { return p == "wss" }}
	conn, rw, _, err := upgrader.Upgrade(r, w)
	if err != nil {
		seat.Abandon()
		if conn != nil {
			_ = conn.Close()
		}
		return
	}
	s := newSocket(conn, rw.Reader)
	if seat.Take(s) != nil {
		s.Close(int(ws.StatusGoingAway), "connection ended")
	}
}

// presigned verifies the query and reads who connects where. The signature comes first: whoever
// cannot sign learns nothing of the rest.
func (d *doors) presigned(r *http.Request) (*messages.ConnectWanted, error) {
	key, err := d.Verifier.VerifyQuery(r)
	if err != nil {
		return nil, err
	}
	query := r.URL.Query()
	// Copies: both live as long as the connection, and would keep the whole request line with them.
	want := &messages.ConnectWanted{
		ChannelARN: strings.Clone(query.Get("X-Amz-ChannelARN")), ClientID: strings.Clone(query.Get("X-Amz-ClientId")),
	}
	if err := checkARN(want.ChannelARN); err != nil {
		return nil, err
	}
	if err := d.Names.checkRole(r.Host, query.Has("X-Amz-ClientId")); err != nil {
		return nil, err
	}
	if query.Has("X-Amz-ClientId") {
		if err := checkClientID(want.ClientID); err != nil {
			return nil, err
		}
	}
	if err := d.Disturb(key, func() Attempt { return attemptToConnect(want) }); err != nil {
		return nil, err
	}
	return want, authorizeConnect(key, want)
}
