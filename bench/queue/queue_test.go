package queue

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A crowd at once: whoever waits or takes everything loses nothing, and every message is accounted for.
func TestKindsAccountForEveryMessage(t *testing.T) {
	load := Load{Senders: 10, Each: 34, Service: 50 * time.Microsecond}
	for _, kind := range Kinds() {
		got, err := kind.Exchange(t.Context(), load)
		if errors.Is(err, ErrMissing) {
			t.Logf("%s: %v", kind.Name, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got.Sent != 340 || got.Delivered+got.Dropped != got.Sent {
			t.Errorf("%s, %s: %+v", kind.Name, kind.Policy, got)
		}
		if lossy := kind.Policy == Refuse; !lossy && got.Dropped > 0 || got.Delivered == 0 {
			t.Errorf("%s, %s: dropped %d", kind.Name, kind.Policy, got.Dropped)
		}
		if least := time.Duration(got.Delivered) * load.Service; got.Took < least {
			t.Errorf("%s, %s: took %v for %v of work", kind.Name, kind.Policy, got.Took, least)
		}
	}
}

// While the receiver is held back a queue takes what it holds, and the one that the receiver has.
func TestRefusingKindsLoseWhatFindsNoRoom(t *testing.T) {
	for _, kind := range Kinds() {
		if kind.Policy != Refuse {
			continue
		}
		tray := newTray(Load{Senders: 1, Each: 100})
		released := make(chan struct{})
		tray.busy = func() { <-released }
		end, err := kind.open(kind.Depth, tray, []sender{{each: 100, tray: tray}})
		if errors.Is(err, ErrMissing) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		close(tray.start)
		for tray.refused.Load() < int64(99-kind.Depth) {
			runtime.Gosched()
		}
		close(released)
		<-tray.done
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if got := tray.delivered.Load(); got < int64(kind.Depth) || got > int64(kind.Depth)+1 {
			t.Errorf("%s: delivered %d of a queue of %d", kind.Name, got, kind.Depth)
		}
	}
}
