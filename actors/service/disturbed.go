package service

// What faults do to one connection (faults.go). Owner: the connection.

import (
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
	"github.com/heliograph-rtc/heliograph/transport/signaling"
)

// heldMax bounds the messages of one client that a fault delays; further ones are lost.
const heldMax = 64

// held are messages on their late way, in the order in which they came.
type held struct {
	due           time.Time
	envelope      backplane.Envelope
	correlationID string
}

// heldDue is the timer's message: the first of the held may go.
type heldDue struct{}

func (c *connection) onDisturb(msg *messages.Disturb) {
	if msg.Strikes(c.admit.Channel.Name, c.admit.ClientID) {
		c.suffer(msg.Kind)
	}
}

// meet looks for faults that strike who connects while they stand.
func (c *connection) meet(set *faultset) {
	e := event{channel: c.admit.Channel.Name, client: c.admit.ClientID, master: c.admit.ClientID == ""}
	if f := set.strike(e, func(f *standing) bool { return atOnce(f.Kind) }); f != nil {
		c.suffer(f.Kind)
	}
}

func (c *connection) suffer(kind string) {
	switch kind {
	case messages.FaultGoAway:
		c.edges.After(c.limits.GoAwayGrace, &lifetimeEnd{})
		c.tell(signaling.Inbound{MessageType: signaling.GoAway})
	case messages.FaultReconnectICE:
		c.tell(signaling.Inbound{MessageType: signaling.ReconnectICEServer})
	case messages.FaultCut:
		c.end(0, "cut")
	}
}

// withheld tells whether a fault has taken the message out of its way. Either end of a message is a
// viewer: that one's id finds it.
func (c *connection) withheld(set *faultset, e backplane.Envelope, correlationID string) bool {
	viewer := e.From
	if viewer == "" {
		viewer = e.To
	}
	f := set.strike(event{channel: c.admit.Channel.Name, client: viewer, master: e.From == "", what: e.Kind}, oneOf(messages.FaultDrop, messages.FaultDelay))
	if f == nil {
		return false
	}
	if f.Kind == messages.FaultDelay {
		c.hold(held{time.Now().Add(seconds(f.ByS)), e, correlationID})
	}
	return true
}

func (c *connection) hold(h held) {
	if len(c.late) >= heldMax {
		c.metrics.limited.WithLabelValues("held").Inc()
		return
	}
	c.late = append(c.late, h)
	if len(c.late) == 1 {
		c.edges.After(time.Until(h.due), &heldDue{})
	}
}

// onHeldDue sends what is due. A message does not overtake another that is held, whatever their delays.
func (c *connection) onHeldDue() {
	for len(c.late) > 0 {
		if wait := time.Until(c.late[0].due); wait > 0 {
			c.edges.After(wait, &heldDue{})
			return
		}
		h := c.late[0]
		c.late = c.late[1:]
		c.dispatch(h.envelope, h.correlationID)
	}
}
