package backplane

import (
	"errors"
	"testing"
)

// A question reaches a seat of another node and is answered or declined; without a seat it is neither kept
// nor waited for.
func TestQuestionsAreAnsweredAcrossNodes(t *testing.T) {
	url := cluster(t)
	here, there := openTest(t, Config{URL: url}), openTest(t, Config{URL: url})
	question := Envelope{Channel: "c", To: "~storage", From: "alice", Kind: "JOIN", Data: []byte("may I?")}
	away := func(when string) {
		t.Helper()
		if _, err := there.Ask(t.Context(), question); !errors.Is(err, ErrAway) {
			t.Errorf("%s: %v", when, err)
		}
	}
	away("before there is a seat")
	seat := Seat{Channel: "c", Role: RoleStorage, ClientID: "~storage", Connection: "1"}
	if err := here.Join(t.Context(), seat, 1); err != nil {
		t.Fatal(err)
	}
	away("before the seat is attached")
	declines := false
	detach, err := here.Attach(t.Context(), seat, func(e Envelope) {
		var err error
		switch {
		case e.From != "alice" || e.Kind != "JOIN" || string(e.Data) != "may I?" || e.Reply == "":
			t.Errorf("asked %+v", e)
		case declines:
			err = here.Decline(e.Reply)
		default:
			err = here.Answer(e.Reply, []byte("yes"))
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if answer, err := there.Ask(t.Context(), question); err != nil || string(answer) != "yes" {
			t.Fatalf("answered %q, %v", answer, err)
		}
	}
	if answer, err := here.Ask(t.Context(), question); err != nil || string(answer) != "yes" {
		t.Errorf("at its own node %q, %v", answer, err)
	}
	declines = true
	away("when it is declined")
	detach()
	away("when the seat is given back")
	if got := there.Stats().Stored + here.Stats().Stored; got != 0 {
		t.Errorf("%d questions were stored", got)
	}
}
