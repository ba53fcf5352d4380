package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// What a hostile viewer may send, all the way through the service to the device, while others watch.

// rawSocket is a viewer's websocket without the client's manners.
func rawSocket(t *testing.T, ctx context.Context, w *World, clientID string) net.Conn {
	t.Helper()
	creds := w.Service.Credentials
	httpTransport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.Service.CA}}
	defer httpTransport.CloseIdleConnections()
	calls := aws.NewClient(aws.ClientConfig{Region: w.Service.Region, ControlPlane: w.Service.PublicURL, HTTP: &http.Client{Transport: httpTransport}})
	channel, err := calls.DescribeChannel(ctx, creds, w.Channel)
	if err != nil {
		t.Fatal(err)
	}
	url, err := aws.PresignWebSocket(ctx, strings.Replace(w.Service.PublicURL, "https", "wss", 1), channel.ARN, clientID, creds, w.Service.Region, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dialer := ws.Dialer{TLSConfig: &tls.Config{RootCAs: w.Service.CA}}
	conn, _, _, err := dialer.Dial(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func text(payload string) string { return base64.StdEncoding.EncodeToString([]byte(payload)) }

// refusal sends a frame and returns the error type that the service answers it with.
func refusal(t *testing.T, conn net.Conn, frame string) string {
	t.Helper()
	if err := wsutil.WriteClientText(conn, []byte(frame)); err != nil {
		t.Fatal(err)
	}
	answer, err := wsutil.ReadServerText(conn)
	if err != nil {
		t.Fatal(err)
	}
	var status struct {
		StatusResponse struct{ CorrelationID, ErrorType, StatusCode string }
	}
	if err := json.Unmarshal(answer, &status); err != nil {
		t.Fatalf("%v in %s", err, answer)
	}
	if got := status.StatusResponse; got.StatusCode != "400" || got.CorrelationID != "c1" {
		t.Errorf("answer %+v", got)
	}
	return status.StatusResponse.ErrorType
}

func TestMalformedInputHarmsNobody(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	w := startWorld(t, ctx, WorldConfig{})
	watching := newAudience(t, ctx, w, 3)
	hostile := rawSocket(t, ctx, w, "hostile")

	for name, frame := range map[string]string{
		"unknown action":    `{"action":"MAKE_COFFEE","messagePayload":"` + text("{}") + `","correlationId":"c1"}`,
		"wrong base64":      `{"action":"SDP_OFFER","messagePayload":"***","correlationId":"c1"}`,
		"payload too long":  `{"action":"SDP_OFFER","messagePayload":"` + text(strings.Repeat("x", 9000)) + `","correlationId":"c1"}`,
		"payload missing":   `{"action":"SDP_OFFER","correlationId":"c1"}`,
		"recipient invalid": `{"action":"SDP_OFFER","recipientClientId":"a b","messagePayload":"` + text("{}") + `","correlationId":"c1"}`,
	} {
		if got := refusal(t, hostile, frame); got != "InvalidArgumentException" {
			t.Errorf("%s: %q", name, got)
		}
	}

	before, err := w.Device.Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{"not JSON", `{"type":"offer"}`, `{"type":"answer","sdp":"v=0"}`, `[1,2,3]`, `"offer"`}
	for _, payload := range bad {
		send(t, hostile, "SDP_OFFER", payload)
		send(t, hostile, "ICE_CANDIDATE", payload)
	}
	// Well-formed messages whose contents are nonsense: the device counts them where they fail.
	for i := range 20 {
		send(t, hostile, "SDP_OFFER", fmt.Sprintf(`{"type":"offer","sdp":"v=%d\r\nnonsense"}`, i))
		send(t, hostile, "ICE_CANDIDATE", `{"candidate":"candidate:nonsense","sdpMid":"0","sdpMLineIndex":0}`)
	}
	if err := wsutil.WriteClientText(hostile, []byte(`{"action":`)); err != nil { // cut off, and no correlation id to answer to
		t.Fatal(err)
	}
	await(t, ctx, func() bool {
		now, err := w.Device.Session(ctx)
		return err == nil && now.MessagesBad >= before.MessagesBad+uint64(2*len(bad))
	}, "count of the malformed messages on the device")

	oversized(t, hostile)
	watching.playOn(t, ctx, 15)
	watching.undisturbed(t)
	after := newAudience(t, ctx, w, 1) // and the device still takes viewers
	after.undisturbed(t)
}

func send(t *testing.T, conn net.Conn, action, payload string) {
	t.Helper()
	frame := fmt.Sprintf(`{"action":%q,"messagePayload":%q}`, action, text(payload))
	if err := wsutil.WriteClientText(conn, []byte(frame)); err != nil {
		t.Fatal(err)
	}
}

// oversized sends a frame of 1 MB: the socket ends, with a close frame when it can still be read.
func oversized(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = wsutil.WriteClientText(conn, bytes.Repeat([]byte("x"), 1<<20)) // the service may have closed in the middle of it
	for {
		_, err := wsutil.ReadServerText(conn)
		var closed wsutil.ClosedError
		switch {
		case err == nil:
		case errors.As(err, &closed):
			if closed.Code != ws.StatusMessageTooBig {
				t.Errorf("closed with %d", closed.Code)
			}
			return
		case errors.Is(err, io.EOF) || strings.Contains(err.Error(), "reset"):
			return
		default:
			t.Fatalf("a frame of 1 MB: %v", err)
		}
	}
}
