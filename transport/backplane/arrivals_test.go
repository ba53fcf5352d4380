package backplane

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// attachSlow attaches a viewer whose deliver stops at "stored" until the gate opens.
func attachSlow(t *testing.T, b *Backplane, gate chan struct{}) (*mailbox, *attachment) {
	t.Helper()
	seat, box := viewerSeat("ch", "slow", "s"), &mailbox{}
	if err := b.Join(t.Context(), seat, 10); err != nil {
		t.Fatal(err)
	}
	detach, err := b.Attach(t.Context(), seat, func(e Envelope) {
		box.deliver(e)
		if string(e.Data) == "stored" {
			select {
			case <-gate:
			case <-t.Context().Done(): // the test has failed
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(detach)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.attachments {
		return box, a
	}
	t.Fatal("there is no attachment")
	return nil, nil
}

// A poke makes the one recipient read the store; what comes for it meanwhile waits, and what comes
// for others does not.
func TestReadingOfOneRecipientHoldsUpNoOther(t *testing.T) {
	b, gate := openTest(t, Config{}), make(chan struct{})
	slow, _ := attachSlow(t, b, gate)
	other, _ := sit(t, b, masterSeat("ch", "m"))
	e := Envelope{Channel: "ch", To: "slow", Kind: kindOffer, Data: []byte("stored")}
	m := nats.NewMsg(boxSubject(e))
	m.Data = e.Data
	m.Header.Set(headerKind, e.Kind)
	m.Header.Set(headerID, "an id")
	if _, err := b.js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	b.courier.poke(&letter{Envelope: e})
	eventually(t, "the slow one reads the store", func() bool { return len(slow.texts()) == 1 })
	for i := range 2 {
		if err := b.Send(Envelope{Channel: "ch", To: "slow", Kind: kindAnswer, Data: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	send(t, b, kindOffer, "hello", 0)
	eventually(t, "the other gets its message", func() bool { return slices.Equal(other.texts(), []string{"hello"}) })
	if got := slow.texts(); len(got) != 1 {
		t.Fatalf("handed over during a reading: %q", got)
	}
	close(gate)
	settled(t, b)
	eventually(t, "the slow one gets the rest", func() bool { return slices.Equal(slow.texts(), []string{"stored", "0", "1"}) })
}

// What finds no room in a tray is refused at once, so that its sender stores it; the rest comes in order.
func TestFullTrayRefuses(t *testing.T) {
	b := openTest(t, Config{})
	box, a := attachSlow(t, b, nil)
	replies, err := b.nc.SubscribeSync("replies")
	if err != nil {
		t.Fatal(err)
	}
	a.tray.mu.Lock()
	a.tray.busy = true // as while the store is read
	a.tray.mu.Unlock()
	var want []string
	for i := range trayMessagesMax + 1 {
		m := nats.NewMsg(liveSubject("ch", "slow"))
		m.Reply, m.Data, m.Sub = "replies", fmt.Append(nil, i), a.sub
		m.Header.Set(headerKind, kindOffer)
		m.Header.Set(headerID, fmt.Sprint(i))
		b.carry(m)
		want = append(want, fmt.Sprint(i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if m, err := replies.NextMsgWithContext(ctx); err != nil || string(m.Data) != refusedBody {
		t.Fatalf("answer to the one too many: %v, %v", m, err)
	}
	if s := b.Stats(); s.ServerSlow != 1 {
		t.Errorf("stats %+v", s)
	}
	a.goOn()
	eventually(t, "all that found room arrive", func() bool { return len(box.texts()) == trayMessagesMax })
	if !slices.Equal(box.texts(), want[:trayMessagesMax]) {
		t.Error("they did not come in order")
	}
}

// A reading begins cut when the attachment has left; one under way ends.
func TestCutEndsReadings(t *testing.T) {
	var c cut
	under, end := c.reading(t.Context())
	defer end()
	c.make()
	select {
	case <-under.Done():
	case <-time.After(patience):
		t.Fatal("the reading under way goes on")
	}
	later, end := c.reading(t.Context())
	defer end()
	if later.Err() == nil || !c.is() {
		t.Error("a reading began after the cut")
	}
}
