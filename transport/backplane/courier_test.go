package backplane

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func send(t *testing.T, b *Backplane, kind, text string, ttl time.Duration) {
	t.Helper()
	if err := b.Send(Envelope{Channel: "ch", From: "v.1", Kind: kind, TTL: ttl, Data: []byte(text)}); err != nil {
		t.Fatal(err)
	}
}

func settled(t *testing.T, b *Backplane) {
	t.Helper()
	eventually(t, "nothing is under way", func() bool { return b.Stats().Backlog == 0 })
}

func TestUndeliveredComeFirstInOrderAndNewestOfferWins(t *testing.T) {
	b := openTest(t, Config{})
	send(t, b, kindOffer, "offer 1", 0)
	send(t, b, "ICE_CANDIDATE", "candidate 1", 0)
	send(t, b, kindOffer, "offer 2", 0)
	send(t, b, "ICE_CANDIDATE", "candidate 2", 0)
	settled(t, b)
	box, detach := sit(t, b, masterSeat("ch", "m"))
	send(t, b, "ICE_CANDIDATE", "candidate 3", 0)
	want := []string{"candidate 1", "offer 2", "candidate 2", "candidate 3"}
	eventually(t, "all arrive", func() bool { return len(box.texts()) >= len(want) })
	if !slices.Equal(box.texts(), want) {
		t.Fatalf("got %q, want %q", box.texts(), want)
	}
	if e := box.all()[0]; e.From != "v.1" || e.To != "" || e.Channel != "ch" || e.Kind != "ICE_CANDIDATE" {
		t.Fatalf("envelope %+v", e)
	}
	detach()
	send(t, b, "ICE_CANDIDATE", "candidate 4", 0)
	settled(t, b)
	if !slices.Equal(box.texts(), want) {
		t.Fatalf("delivered after detach: %q", box.texts())
	}
	if s := b.Stats(); s.Stored != 5 || s.Collected != 3 || s.Delivered != 1 || s.Dropped != 0 {
		t.Fatalf("stats %+v", s)
	}
}

func TestUndeliveredExpire(t *testing.T) {
	b := openTest(t, Config{})
	send(t, b, kindOffer, "short", time.Second)
	send(t, b, kindAnswer, "long", time.Minute)
	settled(t, b)
	eventually(t, "the short one expires", func() bool {
		info, err := b.boxes.stream.Info(t.Context())
		return err == nil && info.State.Msgs == 1
	})
	box, _ := sit(t, b, masterSeat("ch", "m"))
	if !slices.Equal(box.texts(), []string{"long"}) {
		t.Fatalf("got %q", box.texts())
	}
}

func TestUndeliveredCandidatesAreBounded(t *testing.T) {
	b := openTest(t, Config{})
	for i := range slotsMax + 5 {
		send(t, b, "ICE_CANDIDATE", fmt.Sprint(i), 0)
	}
	settled(t, b)
	if s := b.Stats(); s.Dropped != 5 || s.Stored != slotsMax {
		t.Fatalf("stats %+v", s)
	}
	box, detach := sit(t, b, masterSeat("ch", "m"))
	if got := box.texts(); len(got) != slotsMax || got[0] != "0" || got[slotsMax-1] != fmt.Sprint(slotsMax-1) {
		t.Fatalf("got %q", got)
	}
	detach()
	send(t, b, "ICE_CANDIDATE", "again", 0) // the slots are free again
	settled(t, b)
	if s := b.Stats(); s.Stored != slotsMax+1 {
		t.Fatalf("stats %+v", s)
	}
}

func TestBacklogIsBounded(t *testing.T) {
	b := openTest(t, Config{})
	frozen, err := b.nc.SubscribeSync(liveSubject("ch", "")) // holds the head of the flow for ackWait
	if err != nil {
		t.Fatal(err)
	}
	for i := range flowMax {
		send(t, b, kindOffer, fmt.Sprint(i), 0)
	}
	err = b.Send(Envelope{Channel: "ch", From: "v.1", Kind: kindOffer})
	if s := b.Stats(); !errors.Is(err, ErrFull) || s.Dropped != 1 || s.Backlog != flowMax {
		t.Fatalf("%v, stats %+v", err, s)
	}
	if err := b.Send(Envelope{Channel: "ch", From: "v.2", Kind: kindOffer}); err != nil {
		t.Fatalf("another sender is not affected: %v", err)
	}
	if err := frozen.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	settled(t, b)
}

// A recipient that comes and goes, on changing nodes, while a sender sends: nothing is lost, nothing
// comes twice, and the order holds.
func TestNothingIsLostOrDoubledWhileTheRecipientComesAndGoes(t *testing.T) {
	for _, where := range []string{"embedded", "cluster"} {
		t.Run(where, func(t *testing.T) {
			sender := openTest(t, Config{})
			recipients := []*Backplane{sender}
			if where == "cluster" {
				url := cluster(t)
				sender = openTest(t, Config{URL: url})
				recipients = []*Backplane{openTest(t, Config{URL: url}), openTest(t, Config{URL: url})}
			}
			const messages = 2000
			box := &mailbox{}
			sent := make(chan error, 1)
			go func() { sent <- sendPaced(sender, box, messages) }()
			end := time.Now().Add(6 * patience)
			for turn := 0; len(box.texts()) < messages && time.Now().Before(end); turn++ {
				b, seat := recipients[turn%len(recipients)], masterSeat("ch", fmt.Sprint("conn-", turn))
				if err := b.Join(t.Context(), seat, 10); err != nil {
					t.Fatal(err)
				}
				before := len(box.texts())
				detach, err := b.Attach(t.Context(), seat, box.deliver)
				if err != nil {
					t.Fatal(err)
				}
				eventually(t, "something arrives", func() bool { n := len(box.texts()); return n > before+turn%40 || n >= messages })
				detach()
				if turn%2 == 0 {
					if err := b.Leave(t.Context(), seat); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			for i, text := range box.texts() {
				if text != fmt.Sprint(i) {
					t.Fatalf("message %d is %q", i, text)
				}
			}
			if n := len(box.texts()); n != messages {
				t.Fatalf("%d of %d messages: sender %+v", n, messages, sender.Stats())
			}
			if s := sender.Stats(); s.Stored == 0 || s.Delivered == 0 {
				t.Fatalf("both ways must have been taken: %+v", s)
			}
		})
	}
}

// sendPaced keeps fewer messages open than the slots hold, because those beyond are dropped by rule.
func sendPaced(b *Backplane, box *mailbox, messages int) error {
	end := time.Now().Add(6 * patience)
	for i := 0; i < messages; {
		if i-len(box.texts()) >= slotsMax/2 {
			if time.Now().After(end) {
				return fmt.Errorf("stuck at message %d", i)
			}
			time.Sleep(100 * time.Microsecond)
			continue
		}
		if err := b.Send(Envelope{Channel: "ch", From: "v", Kind: "ICE_CANDIDATE", Data: []byte(fmt.Sprint(i))}); err != nil {
			return err
		}
		i++
	}
	return nil
}

// A recipient that acknowledges too late: the sender stores a copy, which must not be delivered.
func TestLateAcknowledgementDoesNotDouble(t *testing.T) {
	b := openTest(t, Config{})
	if err := b.Join(t.Context(), masterSeat("ch", "m"), 10); err != nil {
		t.Fatal(err)
	}
	box := &mailbox{}
	detach, err := b.Attach(t.Context(), masterSeat("ch", "m"), func(e Envelope) {
		if string(e.Data) == "0" {
			eventually(t, "the sender gives up waiting", func() bool { return b.Stats().Stored > 0 })
		}
		box.deliver(e)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer detach()
	for i := range 3 {
		send(t, b, "ICE_CANDIDATE", fmt.Sprint(i), 0)
	}
	settled(t, b)
	eventually(t, "the copy is recognised", func() bool { return b.Stats().Duplicates > 0 })
	if want := []string{"0", "1", "2"}; !slices.Equal(box.texts(), want) {
		t.Fatalf("got %q", box.texts())
	}
}

// A subscriber that never answers, as a frozen node is: the message waits for the next connection.
func TestSilentSubscriberDoesNotSwallow(t *testing.T) {
	b := openTest(t, Config{})
	frozen, err := b.nc.SubscribeSync(liveSubject("ch", ""))
	if err != nil {
		t.Fatal(err)
	}
	send(t, b, kindOffer, "offer", 0)
	settled(t, b)
	if err := frozen.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	box, _ := sit(t, b, masterSeat("ch", "m"))
	if !slices.Equal(box.texts(), []string{"offer"}) {
		t.Fatalf("got %q", box.texts())
	}
}
