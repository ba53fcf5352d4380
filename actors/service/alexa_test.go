package service

import (
	"errors"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

func TestAlexaOffer(t *testing.T) {
	r := start(t, Config{})
	arn := r.channel("cam")
	master := r.connect(arn, "")
	offer, _ := signaling.EncodeDescription("offer", "v=0\r\n")
	answer, _ := signaling.EncodeDescription("answer", "v=0\r\n")
	ask := func() (*messages.AlexaAnswered, error) {
		return r.door.AlexaOffer(r.ctx, &messages.AlexaOfferWanted{ChannelARN: arn, ClientID: "alexa", Payload: offer})
	}
	type outcome struct {
		answered *messages.AlexaAnswered
		err      error
	}
	done := make(chan outcome, 1)
	go func() {
		answered, err := ask()
		done <- outcome{answered, err}
	}()
	r.expect(master, signaling.Inbound{MessageType: signaling.SDPOffer, SenderClientID: "alexa", Payload: offer})
	r.send(master, signaling.Outbound{Action: signaling.ICECandidate, RecipientClientID: "alexa", Payload: offer})
	r.send(master, signaling.Outbound{Action: signaling.SDPAnswer, RecipientClientID: "alexa", Payload: answer})
	if got := <-done; got.err != nil || got.answered.Payload != answer {
		t.Fatalf("answered %+v, %v", got.answered, got.err)
	}
	r.until("the sender's seat is free", func() bool { return r.overview().Viewers == 0 })

	go func() {
		answered, err := ask()
		done <- outcome{answered, err}
	}()
	r.expect(master, signaling.Inbound{MessageType: signaling.SDPOffer, SenderClientID: "alexa", Payload: offer})
	if err := r.back.DeleteChannel(r.ctx, "cam", ""); err != nil {
		t.Fatal(err)
	}
	if got := <-done; !refusedAs(got.err, "ResourceNotFoundException") {
		t.Fatalf("after the channel was deleted: %+v, %v", got.answered, got.err)
	}
	if _, err := ask(); !refusedAs(err, "ResourceNotFoundException") {
		t.Fatalf("no channel: %v", err)
	}
	for _, m := range r.Mailboxes() {
		if m.Panics > 0 {
			t.Errorf("%d panics of %s", m.Panics, m.Kind)
		}
	}
}

// An offer that nobody answers ends when it expires. The channel's record is made by hand: no client
// may ask for so short a life.
func TestAlexaOfferExpires(t *testing.T) {
	r := start(t, Config{})
	arn := r.channel("cam")
	_, err := r.back.UpdateChannel(r.ctx, "cam", arn, func(c *backplane.Channel) error {
		c.MessageTTL = 50 * time.Millisecond
		return nil
	})
	answered, asked := r.door.AlexaOffer(r.ctx, &messages.AlexaOfferWanted{ChannelARN: arn, ClientID: "alexa", Payload: "e30="})
	if err := errors.Join(err, asked); err != nil || answered.Payload != "" {
		t.Fatalf("answered %+v, %v", answered, err)
	}
}
