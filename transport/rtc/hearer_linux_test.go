package rtc

import (
	"testing"
	"time"
)

func TestFeedbackIsHeardWhereItComesIn(t *testing.T) {
	e := newEngine(t, EngineConfig{TWCC: true})
	f := largeFrame(4)
	heardOf := func(d *device) uint64 {
		before := e.out.hearers.heard.Load()
		eventually(t, "feedback", func() bool {
			_, _, err := d.WriteFrame(f, 0, len(f.Payloads), 0, false, time.Now())
			must(t, err)
			return e.out.hearers.heard.Load() > before
		})
		return e.out.hearers.heard.Load() - before
	}
	_, one := connect(t, e, wish{video: true, feedback: true}, PeerConfig{})
	_, two := connect(t, e, wish{video: true, feedback: true}, PeerConfig{})
	for _, d := range []*device{one, two} {
		heardOf(d)
		eventually(t, "a round trip", func() bool { return d.Estimate().RoundTrip > 0 })
	}
	if got := e.out.hearers.len(); got != 2 {
		t.Fatalf("%d viewers are heard, want 2", got)
	}
	one.out.batch.lose()
	heardOf(one) // again
	must(t, one.Close())
	must(t, two.Close())
	if got := e.out.hearers.len(); got != 0 {
		t.Fatalf("%d viewers are heard that have left", got)
	}
}
