package device

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// limit asks how many viewers the device admits, until somebody answers.
func limit(t *testing.T, d *Device) int {
	t.Helper()
	for ctx := t.Context(); ; {
		asking, cancel := context.WithTimeout(ctx, time.Second)
		census, err := d.Census(asking)
		cancel()
		if err == nil {
			return census.Limit
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestReload(t *testing.T) {
	defer goleak.VerifyNone(t)
	source, err := media.NewSample()
	if err != nil {
		t.Fatal(err)
	}
	d, err := Start(Config{
		Channel: "door", Region: "us-west-2", ControlPlane: "http://127.0.0.1:9", Credentials: aws.Static("id", "secret", ""),
		Source: source, ListenUDP: "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	reload := func(s *messages.Settings, err error) error {
		return d.Reload(t.Context(), func() (*messages.Settings, error) { return s, err })
	}
	if err := reload(&messages.Settings{ViewersMax: 3}, nil); err != nil || limit(t, d) != 3 {
		t.Fatalf("%v; %d viewers are admitted, want 3", err, limit(t, d))
	}
	// Who is spawned again has the newest settings, not those of the start.
	d.sys.Tell(pathViewers, (*messages.Offer)(nil))
	if got := limit(t, d); got != 3 {
		t.Errorf("after a fault %d viewers are admitted, want 3", got)
	}
	var panics uint64
	for _, box := range d.Mailboxes() {
		panics += box.Panics
	}
	if panics != 1 {
		t.Errorf("%d actors have panicked, want 1", panics)
	}
	for name, s := range map[string]*messages.Settings{
		"grant of nothing": {ViewersMax: 4, Grants: map[string][]string{"a": {"exec:none"}}},
		"floor over roof":  {ViewersMax: 4, BitrateMin: 2, BitrateMax: 1},
	} {
		if err := reload(s, nil); err == nil || limit(t, d) != 3 {
			t.Errorf("%s: %v, %d viewers are admitted", name, err, limit(t, d))
		}
	}
	if unreadable := errors.New("unreadable"); !errors.Is(reload(nil, unreadable), unreadable) || limit(t, d) != 3 {
		t.Error("settings that cannot be read are taken")
	}
}
