package service

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// Ten thousand malformed frames and handshakes over real TLS, while others talk. The seed is in the
// failure, so that a run can be repeated.

const (
	hostileHandshakes = 2_000
	hostileFrames     = 8_000
	hostileSockets    = 8 // attackers at the same time
	heapGrowthMax     = 4 << 20
	besieged          = 4 * time.Minute // at most
)

func TestTenThousandMalformedInputsHarmNobody(t *testing.T) {
	r := start(t, Config{Limits: Limits{Unlimited: true}})
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithTimeout(t.Context(), besieged)
	defer cancel()
	arn := r.channel("besieged")
	good := r.converse(arn)
	r.attack(arn, 1, 100, 100) // what is allocated once shall not count
	r.quiet()
	heap, goroutines := settledHeap(), runtime.NumGoroutine()

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r.attack(arn, seed, hostileHandshakes, hostileFrames)

	good.stop(t)
	r.quiet()
	for _, m := range r.Mailboxes() {
		if m.Panics > 0 {
			t.Errorf("%d panics in %s", m.Panics, m.Kind)
		}
	}
	r.until("goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines })
	if now := settledHeap(); now > heap+heapGrowthMax {
		t.Errorf("heap grew from %d to %d bytes", heap, now)
	}
}

func settledHeap() uint64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// quiet waits until none but the conversation is connected.
func (r *rig) quiet() {
	r.Helper()
	r.until("connections of attackers to end", func() bool {
		for _, m := range r.Mailboxes() {
			if m.Kind == "connection" {
				return m.Actors <= 2
			}
		}
		return false
	})
}

// conversation is a master and a viewer that talk to each other all the time. Both must stay
// connected, and every message must arrive in order.
type conversation struct {
	halt   chan struct{}
	done   sync.WaitGroup
	fault  error
	rounds int
}

func (r *rig) converse(arn string) *conversation {
	master, viewer := r.connect(arn, ""), r.connect(arn, "good")
	c := &conversation{halt: make(chan struct{})}
	c.done.Go(func() {
		for {
			select {
			case <-c.halt:
				return
			default:
			}
			payload := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"n":%d}`, c.rounds))
			if c.fault = exchange(r.ctx, viewer, master, signaling.Outbound{Action: signaling.SDPOffer, Payload: payload}); c.fault != nil {
				return
			}
			answer := signaling.Outbound{Action: signaling.SDPAnswer, RecipientClientID: "good", Payload: payload}
			if c.fault = exchange(r.ctx, master, viewer, answer); c.fault != nil {
				return
			}
			c.rounds++
		}
	})
	return c
}

func exchange(ctx context.Context, from, to *signaling.Client, m signaling.Outbound) error {
	if err := from.Write(ctx, m); err != nil {
		return err
	}
	got, err := to.Read(ctx)
	for err == nil && got.SenderClientID != "" && got.SenderClientID != "good" {
		got, err = to.Read(ctx) // an attacker's frame may have been well-formed after all
	}
	if err == nil && (got.MessageType != m.Action || got.Payload != m.Payload) {
		err = fmt.Errorf("got %+v, want %+v", got, m)
	}
	return err
}

func (c *conversation) stop(t *testing.T) {
	t.Helper()
	close(c.halt)
	c.done.Wait()
	if c.fault != nil || c.rounds < 2 {
		t.Errorf("the conversation was disturbed after %d rounds: %v", c.rounds, c.fault)
	}
}

func (r *rig) attack(arn string, seed uint64, handshakes, frames int) {
	r.Helper()
	var attackers sync.WaitGroup
	for i := range hostileSockets {
		dice := rand.New(rand.NewPCG(seed, uint64(i)))
		attackers.Go(func() {
			for range handshakes / hostileSockets {
				r.spoilHandshake(dice, arn)
			}
			for sent := 0; sent < frames/hostileSockets; {
				sent += r.spoilFrames(dice, arn, fmt.Sprintf("hostile-%d", i), frames/hostileSockets-sent)
			}
		})
	}
	attackers.Wait()
}

// spoilHandshake sends bytes that begin like a handshake, TLS's or HTTP's, and go wrong somewhere.
func (r *rig) spoilHandshake(dice *rand.Rand, arn string) {
	address := strings.TrimPrefix(r.PublicURL, "https://")
	raw, err := net.DialTimeout("tcp", address, testWait)
	if err != nil {
		r.Error(err)
		return
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(testWait))
	if dice.IntN(4) == 0 { // no TLS at all
		_, _ = raw.Write(spoiled(dice, []byte{22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9}))
		return
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: r.CA, ServerName: "localhost"})
	if err := conn.Handshake(); err != nil {
		r.Error(err)
		return
	}
	client := fmt.Sprintf("spoiler-%d", dice.Uint32())
	query := strings.SplitN(r.presign(arn, client, time.Now()), "/?", 2)[1]
	request := fmt.Sprintf("GET /?%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", query, address)
	_, _ = conn.Write(spoiled(dice, []byte(request)))
	if dice.IntN(8) > 0 { // some leave at once, most look at the answer, which must come
		_ = conn.CloseWrite()
		if _, err := io.ReadAll(conn); err != nil && strings.Contains(err.Error(), "timeout") {
			r.Errorf("no answer to a malformed handshake: %v", err)
		}
	}
}

// spoilFrames opens a socket and sends up to n spoiled frames, until the service has had enough.
func (r *rig) spoilFrames(dice *rand.Rand, arn, client string, n int) (sent int) {
	dialer := ws.Dialer{TLSConfig: &tls.Config{RootCAs: r.CA}}
	conn, _, _, err := dialer.Dial(r.ctx, r.presign(arn, client, time.Now()))
	if err != nil {
		r.Errorf("an attacker's own address was not taken any more: %v", err)
		return n
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testWait))
	var answers sync.WaitGroup
	defer answers.Wait()
	defer conn.Close()
	answers.Go(func() { _, _ = io.Copy(io.Discard, conn) })
	for sent < n {
		sent++
		if _, err := conn.Write(hostileFrame(dice)); err != nil {
			break
		}
		if dice.IntN(64) == 0 {
			break // leaves in the middle of something
		}
	}
	return sent
}

// hostileFrame is one frame with something wrong: its text, its header, or any of its bytes.
func hostileFrame(dice *rand.Rand) []byte {
	text := []byte(`{"action":"SDP_OFFER","recipientClientId":"good","messagePayload":"` +
		base64.StdEncoding.EncodeToString([]byte(`{"type":"offer","sdp":"v=0"}`)) + `","correlationId":"1"}`)
	var frame ws.Frame
	switch dice.IntN(12) { // what is wrong inside of a text does not end the socket, the rest mostly does
	default:
		return compiled(ws.MaskFrame(ws.NewTextFrame(spoiled(dice, text)))) // the text
	case 0:
		return spoiled(dice, compiled(ws.MaskFrame(ws.NewTextFrame(text)))) // any byte
	case 1:
		frame = ws.NewFrame(ws.OpCode(dice.IntN(16)), dice.IntN(2) == 0, text[:dice.IntN(126)])
		frame.Header.Rsv = byte(dice.IntN(8))
	case 2:
		frame = ws.NewFrame(ws.OpContinuation, dice.IntN(2) == 0, text)
	case 3:
		noise := make([]byte, 1+dice.IntN(300))
		for i := range noise {
			noise[i] = byte(dice.Uint32())
		}
		return noise
	}
	if dice.IntN(3) > 0 {
		frame = ws.MaskFrame(frame)
	}
	return compiled(frame)
}

func compiled(f ws.Frame) []byte {
	b, err := ws.CompileFrame(f)
	if err != nil {
		panic(err) // only a header that does not fit is an error, and headers have room for every length
	}
	return b
}

// spoiled is a copy with bytes changed, cut out, doubled or cut off.
func spoiled(dice *rand.Rand, text []byte) []byte {
	b := append([]byte(nil), text...)
	for range 1 + dice.IntN(4) {
		at := dice.IntN(len(b))
		switch dice.IntN(4) {
		case 0:
			b[at] = byte(dice.Uint32())
		case 1:
			b = append(b[:at], b[min(len(b), at+1+dice.IntN(8)):]...)
		case 2:
			b = append(b[:at:at], append([]byte(strings.Repeat(string(b[at]), 1+dice.IntN(64))), b[at:]...)...)
		case 3:
			b = b[:at]
		}
		if len(b) == 0 {
			return []byte{0}
		}
	}
	return b
}
