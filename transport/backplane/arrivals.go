// Arrivals: the subscriptions of all attachments share one channel, and one porter carries what comes
// there to the attachment it is for. A subscription with a goroutine of its own, as nats.go gives to
// each with a callback, would cost an idle connection 5 KB.
//
// In order of execution:
//
//	nats.go     puts a message into the channel, in order of arrival, and never waits
//	the porter  put   hands it over itself when that is quick and nobody else is at work for the
//	                  attachment; otherwise it leaves it in the attachment's tray
//	a helper    work  takes out of the tray, one after the other, until it is empty
//
// Reading the store is not quick: a poke, and looking after the seat, are a helper's. So one
// recipient's reading never holds up another's messages.
//
// Bounds: arrivalsMax messages in the channel, trayMessagesMax and trayBytesMax in a tray. What is
// beyond is stored by its sender: told so for a tray, without an answer for the channel.
//
// Owner: the porter from Open to Close; a tray's mutex guards the tray and is held for moments only.

package backplane

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	arrivalsMax     = 8192
	trayMessagesMax = 4096
	trayBytesMax    = 64 << 20
)

// porter runs until quit is closed.
func (b *Backplane) porter() {
	defer close(b.porterGone)
	for {
		select {
		case m := <-b.arrivals:
			b.carry(m)
		case <-b.quit:
			return
		}
	}
}

// carry refuses what comes for an attachment that has left, or that is not known yet: an attachment
// reads the store after it became known, and finds there what was refused, or looks after its seat
// and finds it taken.
func (b *Backplane) carry(m *nats.Msg) {
	b.mu.Lock()
	a := b.attachments[m.Sub]
	b.mu.Unlock()
	if a == nil {
		answer(m, refusedBody)
		return
	}
	a.put(m)
}

// tray is what waits for one attachment.
type tray struct {
	mu      sync.Mutex
	busy    bool // somebody is at work for the attachment, and looks into the tray afterwards
	looking bool // the seat and the store are to be looked after
	waiting []*nats.Msg
	bytes   int
}

// put is the porter's.
func (a *attachment) put(m *nats.Msg) {
	t := &a.tray
	t.mu.Lock()
	if !t.busy && m.Header.Get(headerKind) != kindPoke {
		t.busy = true
		t.mu.Unlock()
		a.onMessage(m)
		a.goOn()
		return
	}
	defer t.mu.Unlock()
	a.help()
	if len(t.waiting) < trayMessagesMax && t.bytes+len(m.Data) <= trayBytesMax {
		t.waiting = append(t.waiting, m)
		t.bytes += len(m.Data)
		return
	}
	a.b.count.slow.Add(1)
	t.looking = true // it may be an eviction, or a poke
	answer(m, refusedBody)
}

// look has the seat and the store looked after, soon.
func (a *attachment) look() {
	a.tray.mu.Lock()
	defer a.tray.mu.Unlock()
	a.tray.looking = true
	a.help()
}

// help sets a helper to work unless somebody is. Caller holds the tray's mu.
func (a *attachment) help() {
	if !a.tray.busy {
		a.tray.busy = true
		time.AfterFunc(0, a.work)
	}
}

// goOn ends the turn of who was at work: a helper does what has come meanwhile.
func (a *attachment) goOn() {
	t := &a.tray
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy = false
	if t.looking || len(t.waiting) > 0 {
		a.help()
	}
}

func (a *attachment) work() {
	for {
		m, look := a.tray.next()
		switch {
		case look:
			a.lookAgain()
		case m != nil:
			a.onMessage(m)
		default:
			return
		}
	}
}

// next takes one thing out, or notes that nobody is at work any more.
func (t *tray) next() (m *nats.Msg, look bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.looking:
		t.looking = false
		return nil, true
	case len(t.waiting) > 0:
		m = t.waiting[0]
		t.waiting = t.waiting[1:]
		t.bytes -= len(m.Data)
		return m, false
	}
	t.waiting, t.busy = nil, false
	return nil, false
}
