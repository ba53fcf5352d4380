package bench

// Delivery at a fixed rate. The load is an open loop: message k is due at begin + k/rate whatever
// became of those before, and its latency counts from then, so that a server which stalls cannot hide
// it by slowing the load down (coordinated omission). A message carries its round and number.

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/bench/subject"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

const (
	messageBytes = 2100            // of an offer's payload before base64: a browser's with audio and video
	arrivalWait  = 5 * time.Second // after the last message was sent
	labelBytes   = 12              // "rrrrkkkkkkkk": round and number, 16 characters in base64
	labelText    = 16
)

// delivered is what the rounds of one subject gave together.
type delivered struct {
	latency report.Latency
	sent    int
	lost    int
	spent   time.Duration // wall time in which those were sent
	cpu     time.Duration // of the server, warm-up included
	handled int           // messages, warm-up included
}

func (d *delivered) perSecond() float64 { return float64(d.sent-d.lost) / d.spent.Seconds() }

func deliverRow(f *signalingFound) (report.Row, float64) {
	d := &f.deliver
	perMessage := float64(d.cpu.Microseconds()) / float64(d.handled)
	return report.Row{
		{Name: "phase", Value: "deliver"},
		{Name: "messages", Value: d.sent}, {Name: "lost", Value: d.lost}, {Name: "messages_per_s", Value: d.perSecond()},
		{Name: "p50_s", Value: d.latency.Quantile(0.5)}, {Name: "p90_s", Value: d.latency.Quantile(0.9)},
		{Name: "p99_s", Value: d.latency.Quantile(0.99)}, {Name: "max_s", Value: d.latency.Quantile(1)},
		{Name: "cpu_us_per_message", Value: perMessage},
	}, perMessage
}

// round is one stretch of messages. Recipients note arrivals in it while the sender sends.
type round struct {
	number  int
	begin   time.Time
	spacing time.Duration
	arrived []atomic.Int64 // latency by message in ns, +1; 0: not there yet
	left    atomic.Int64
	done    chan struct{}
}

func (r *round) due(k int) time.Time { return r.begin.Add(time.Duration(k) * r.spacing) }

func (r *round) arrive(k int, at time.Time) {
	latency := max(at.Sub(r.due(k)), 0)
	if r.arrived[k].CompareAndSwap(0, int64(latency)+1) && r.left.Add(-1) == 0 {
		close(r.done)
	}
}

// pair is a sender's socket and its recipient's; a server that echoes has one for both.
type pair struct{ from, to *wire }

// pairUp opens the sockets between which messages go, and keeps reading from them.
func (h *hall) pairUp(ctx context.Context, n int) error {
	for i := range n {
		to, err := h.dial(ctx, i, "")
		if err != nil {
			return err
		}
		h.keep(to, h.onText)
		from := to
		if h.kind == subject.Heliograph {
			if from, err = h.dial(ctx, i, fmt.Sprintf("sender-%d", i)); err != nil {
				return err
			}
			h.keep(from, func([]byte, time.Time) {})
		}
		h.pairs = append(h.pairs, pair{from, to})
	}
	return nil
}

var payloadKey = []byte(`"messagePayload":"`)

// onText notes an arrival. What is not of the round under way is late and counted as lost there.
func (h *hall) onText(text []byte, at time.Time) {
	r := h.round.Load()
	start := bytes.Index(text, payloadKey)
	if r == nil || start < 0 || len(text) < start+len(payloadKey)+labelText {
		return
	}
	label, err := base64.StdEncoding.AppendDecode(nil, text[start+len(payloadKey):][:labelText])
	var number, k int
	if err != nil {
		return
	}
	if _, err := fmt.Sscanf(string(label), "%4d%8d", &number, &k); err == nil && number == r.number && k < len(r.arrived) {
		r.arrive(k, at)
	}
}

// exchange runs a round: a warm-up, which is not counted, and then the messages that are.
func (h *hall) exchange(ctx context.Context, p signalingPlan, into *delivered) error {
	before, err := h.Cost()
	if err != nil {
		return err
	}
	warm, count := p.messages(p.deliverWarm), p.messages(p.deliver)
	h.rounds++
	r := &round{number: h.rounds, spacing: time.Second / time.Duration(p.rate), arrived: make([]atomic.Int64, warm+count), done: make(chan struct{})}
	r.left.Store(int64(len(r.arrived)))
	r.begin = time.Now().Add(10 * time.Millisecond)
	h.round.Store(r)
	if err := h.sendAll(ctx, r); err != nil {
		return err
	}
	into.spent += max(time.Since(r.due(warm)), p.deliver)
	limit := time.NewTimer(arrivalWait)
	defer limit.Stop()
	select {
	case <-r.done:
	case <-limit.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	h.round.Store(nil)
	after, err := h.Cost()
	if err != nil {
		return err
	}
	into.cpu += after.CPU - before.CPU
	into.handled += len(r.arrived)
	into.sent += count
	for k := warm; k < len(r.arrived); k++ {
		latency := r.arrived[k].Load()
		if latency == 0 {
			into.lost++
			latency = int64(arrivalWait) // and so it counts in the quantiles
		}
		into.latency.Record(time.Duration(latency))
	}
	return nil
}

func (p signalingPlan) messages(d time.Duration) int { return int(d.Seconds() * float64(p.rate)) }

func (h *hall) sendAll(ctx context.Context, r *round) error {
	filler := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("a=rtpmap:96 H264/90000\r\n", messageBytes/24)))
	for k := range r.arrived {
		label := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%04d%08d", r.number, k))
		text, err := signaling.EncodeOutbound(signaling.Outbound{Action: signaling.SDPOffer, Payload: label + filler})
		if err != nil {
			return err
		}
		rest(time.Until(r.due(k)))
		if err := h.pairs[k%len(h.pairs)].from.write(ws.OpText, text); err != nil {
			return errors.Join(fmt.Errorf("send message %d", k), err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}
