package device

import (
	"fmt"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

func answerTo(viewer string) signaling.Outbound {
	return signaling.Outbound{Action: signaling.SDPAnswer, RecipientClientID: viewer}
}

func candidateTo(viewer string) signaling.Outbound {
	return signaling.Outbound{Action: signaling.ICECandidate, RecipientClientID: viewer}
}

// drain sends all there is over virtual time and returns when each message went.
func drain(o *outbox, now time.Time) (order []*outgoing, at []time.Duration) {
	began := now
	for {
		out, wait := o.next(now)
		switch {
		case out != nil:
			o.sent(out)
			order, at = append(order, out), append(at, now.Sub(began))
		case wait > 0:
			now = now.Add(wait)
		default:
			return order, at
		}
	}
}

func TestOutboxKeepsToTheLimits(t *testing.T) {
	o := newOutbox(true)
	for i := range 10 {
		viewer := fmt.Sprint("v", i)
		o.put(answerTo(viewer))
		for range 8 {
			o.put(candidateTo(viewer))
		}
	}
	order, at := drain(o, time.Unix(0, 0))
	if len(order) != 90 {
		t.Fatalf("sent %d of 90", len(order))
	}
	answered := map[string]bool{}
	perSecond := map[string]map[time.Duration]int{signaling.SDPAnswer: {}, signaling.ICECandidate: {}}
	for i, out := range order {
		if out.Action == signaling.SDPAnswer {
			answered[out.RecipientClientID] = true
		} else if !answered[out.RecipientClientID] {
			t.Fatalf("candidate for %s before its answer", out.RecipientClientID)
		}
		perSecond[out.Action][at[i]/time.Second]++
	}
	for second, n := range perSecond[signaling.SDPAnswer] {
		if limit := answersBurst + 5; n > limit {
			t.Fatalf("%d answers in second %d", n, second)
		}
	}
	if last := at[len(at)-1]; last > 5*time.Second {
		t.Fatalf("took %v", last)
	}
}

func TestOutboxUnpacedSendsAtOnce(t *testing.T) {
	o := newOutbox(false)
	for i := range 50 {
		o.put(answerTo(fmt.Sprint("v", i)))
	}
	if order, at := drain(o, time.Unix(0, 0)); len(order) != 50 || at[49] != 0 {
		t.Fatalf("sent %d, the last after %v", len(order), at[len(at)-1])
	}
}

func TestOutboxSendsARefusedMessageAgain(t *testing.T) {
	o := newOutbox(false)
	o.put(answerTo("v"))
	order, _ := drain(o, time.Unix(0, 0))
	id := order[0].CorrelationID
	for range outboxTriesMax - 1 {
		if !o.again(id) {
			t.Fatal("refused message was given up too early")
		}
		if again, _ := drain(o, time.Unix(0, 0)); len(again) != 1 || again[0].CorrelationID != id {
			t.Fatalf("sent %v again", again)
		}
	}
	if o.again(id) || o.again("unknown") {
		t.Fatal("a message was tried for ever, or an unknown one was")
	}
}

func TestOutboxRecallsWhatWasBeingWritten(t *testing.T) {
	o := newOutbox(false)
	o.put(answerTo("a"))
	o.put(answerTo("b"))
	first, _ := o.next(time.Unix(0, 0))
	o.recall()
	if order, _ := drain(o, time.Unix(0, 0)); len(order) != 2 || order[0] != first {
		t.Fatalf("after the recall: %v", order)
	}
}

func TestOutboxIsBounded(t *testing.T) {
	o := newOutbox(true)
	for range outboxCandidatesMax {
		if !o.put(candidateTo("v")) {
			t.Fatal("refused below the bound")
		}
	}
	if o.put(candidateTo("v")) {
		t.Fatal("accepted above the bound")
	}
}
