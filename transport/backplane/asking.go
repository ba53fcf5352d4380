// Asking: a question of any node to whoever has a seat, and the answer. Neither is ever stored.
//
// Flow: Ask publishes on the seat's live subject and waits; the seat's attachment hands the question over as
// an Envelope with a Reply; its owner calls Answer or Decline, at once or later. Whatever comes in
// the way of that (no subscription, an attachment that gives way) is ErrAway to the one who asks.
//
// Owner: nobody, the connection does the book-keeping.

package backplane

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrAway says that nobody has the seat at the moment, or somebody who is about to leave it.
var ErrAway = errors.New("nobody has the seat")

// askWait bounds a question. Who has the seat answers at once; longer means that its node is stuck.
const askWait = 2 * time.Second

// headerAsks marks a question, headerAnswers its answer.
const (
	headerAsks    = "Hg-Asks"
	headerAnswers = "Hg-Answers"
)

// Ask puts a question to the client e.To of e.Channel. Without an answer in time nobody knows whether it was taken.
func (b *Backplane) Ask(ctx context.Context, e Envelope) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	m := nats.NewMsg(liveSubject(e.Channel, e.To))
	m.Data = e.Data
	m.Header.Set(headerKind, e.Kind)
	m.Header.Set(headerFrom, e.From)
	m.Header.Set(headerAsks, "1")
	reply, err := b.nc.RequestMsgWithContext(ctx, m)
	if errors.Is(err, nats.ErrNoResponders) || err == nil && reply.Header.Get(headerAnswers) == "" {
		err = ErrAway
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", strconv.Quote(e.To), err)
	}
	return reply.Data, nil
}

// Answer answers the question whose Reply that is.
func (b *Backplane) Answer(reply string, data []byte) error {
	m := nats.NewMsg(reply)
	m.Data = data
	m.Header.Set(headerAnswers, "1")
	if err := b.nc.PublishMsg(m); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// Decline says that the seat is about to be given back: ErrAway to the one who asks.
func (b *Backplane) Decline(reply string) error {
	if err := b.nc.Publish(reply, []byte(refusedBody)); err != nil {
		return fmt.Errorf("decline: %w", err)
	}
	return nil
}
