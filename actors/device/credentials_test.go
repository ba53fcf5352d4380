package device

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/heliograph-rtc/heliograph/messages"
)

// hourly gives sets that live an hour, after failing a number of times.
type hourly struct {
	failures int
	calls    int
}

func (h *hourly) Retrieve(context.Context) (messages.Credentials, error) {
	h.calls++
	if h.calls <= h.failures {
		return messages.Credentials{}, errors.New("not reachable")
	}
	return messages.Credentials{
		AccessKeyID: fmt.Sprint("key", h.calls), SecretAccessKey: "secret", SessionToken: "token", Expires: time.Now().Add(time.Hour),
	}, nil
}

func stageCredentials(t *testing.T, provider *hourly) *stage {
	return newStage(t, Config{Credentials: provider}, "credentials", func(p *parts) actor.Actor { return newCredentials(p) }, "session", "gatherer")
}

func TestCredentialsAreRefreshedAheadOfExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stageCredentials(t, &hourly{})
		defer s.stop(t)
		for i := range 24 {
			set := told[*messages.Credentials](t, s, "session")
			if want := fmt.Sprint("key", i+1); set.AccessKeyID != want {
				t.Fatalf("got %v, want %s", set, want)
			}
			if left := time.Until(set.Expires); left != time.Hour {
				t.Fatalf("published with %v left", left)
			}
			if told[*messages.Credentials](t, s, "gatherer").AccessKeyID != set.AccessKeyID {
				t.Fatal("gatherer was told another set")
			}
			time.Sleep(time.Hour - 30*time.Second) // virtual: the refresh is due now
		}
	})
}

func TestCredentialsNeverGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider := &hourly{failures: 20}
		s := stageCredentials(t, provider)
		defer s.stop(t)
		began := time.Now()
		time.Sleep(5 * time.Minute)
		if set := told[*messages.Credentials](t, s, "session"); set.AccessKeyID != "key21" {
			t.Fatalf("got %v after %v", set, time.Since(began))
		}
	})
}

func TestRejectedSessionCredentialsAreFetchedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stageCredentials(t, &hourly{})
		defer s.stop(t)
		told[*messages.Credentials](t, s, "session")
		s.sys.Tell(pathCredentials, &messages.CredentialsWanted{Rejected: "key1"})
		if set := told[*messages.Credentials](t, s, "session"); set.AccessKeyID != "key2" {
			t.Fatalf("got %v", set)
		}
	})
}

func TestBackOffIsCappedAndJittered(t *testing.T) {
	random := &parts{}
	for failures := 1; failures < 100; failures++ {
		d := random.backOff(failures)
		if d < backOffMin/2 || d > backOffMax {
			t.Fatalf("after %d failures: %v", failures, d)
		}
	}
	if random.backOff(50) < backOffMax/2 {
		t.Fatal("the cap is not reached")
	}
}

func TestRefreshIsAheadOfExpiryAndJittered(t *testing.T) {
	most := func(d time.Duration) time.Duration { return d }
	least := func(time.Duration) time.Duration { return 0 }
	for life, want := range map[time.Duration][2]time.Duration{
		time.Hour:        {58*time.Minute + 30*time.Second, 59*time.Minute + 30*time.Second},
		5 * time.Minute:  {4 * time.Minute, 4*time.Minute + 30*time.Second},
		40 * time.Second: {20 * time.Second, 20 * time.Second},
		-time.Hour:       {time.Second, time.Second},
	} {
		early, late := (&parts{cfg: Config{jitter: most}}).refreshIn(life), (&parts{cfg: Config{jitter: least}}).refreshIn(life)
		if early != want[0] || late != want[1] {
			t.Errorf("a life of %v: between %v and %v, want %v", life, early, late, want)
		}
	}
}
