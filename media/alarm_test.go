package media

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// alarms are all that this system has.
var alarms = map[string]func(context.Context) (Alarm, error){"system": NewAlarm, "timer": NewTimerAlarm}

func TestAlarmKeepsTime(t *testing.T) {
	for name, open := range alarms {
		t.Run(name, func(t *testing.T) {
			alarm, err := open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer alarm.Close()
			for _, rest := range []time.Duration{-time.Hour, 0, time.Nanosecond, 3 * time.Millisecond, time.Millisecond} {
				at := time.Now().Add(rest)
				if err := alarm.Wait(at); err != nil {
					t.Fatalf("wait of %v: %v", rest, err)
				}
				if early := time.Until(at); early > 0 {
					t.Fatalf("wait of %v returned %v early", rest, early)
				}
			}
		})
	}
}

func TestAlarmEndsWithItsContext(t *testing.T) {
	for name, open := range alarms {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			alarm, err := open(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer alarm.Close()
			go cancel()
			for range 2 {
				if err := alarm.Wait(time.Now().Add(time.Hour)); !errors.Is(err, context.Canceled) {
					t.Fatalf("wait ended with %v", err)
				}
			}
		})
	}
}

func TestTimerAlarmInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alarm, _ := NewTimerAlarm(t.Context())
		defer alarm.Close()
		at := time.Now().Add(24 * time.Hour)
		if err := alarm.Wait(at); err != nil || !time.Now().Equal(at) {
			t.Fatalf("woke up at %v with %v, want %v", time.Now(), err, at)
		}
	})
}
