// Package queue pushes the same messages through our mailbox and through what others use instead. In
// order of execution:
//
//	Exchange  opens the receiver of a kind and a goroutine per sender
//	send      at one instant every sender begins and sends its messages as fast as it may
//	handle    the receiver takes one after the other, and is busy for the same stated time with each
//	tray      counts until each message was handled or refused
//
// A message is as large as an ICE candidate in the envelope of KVS. The receiver spins while it is busy:
// a sleep is never as long as it says.
package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
)

// ErrMissing says that the machine does not have what a kind needs.
var ErrMissing = errors.New("this machine has no such queue")

// Kind is a queue and what its senders do when it is full.
type Kind struct {
	Name   string // heliograph, channel, protoactor, mqueue
	Policy string
	Depth  int // messages that it holds; 0: any number

	open func(depth int, t *tray, senders []sender) (end func() error, err error)
}

// The policies.
const (
	Wait   = "wait"   // a sender waits for room
	Refuse = "refuse" // a message that finds no room is lost
	None   = "none"   // there is always room, until memory ends
)

const (
	viewerLane     = 128 // as the device's viewers
	referenceDepth = 10  // of the C reference's queue
)

// Kinds are all there are; the first is ours.
func Kinds() []Kind {
	return []Kind{
		{"heliograph", Wait, viewerLane, openMailbox},
		{"channel", Wait, referenceDepth, openChannel(true)},
		{"channel", Refuse, referenceDepth, openChannel(false)},
		{"protoactor", None, 0, openProtoactor},
		{"mqueue", Refuse, referenceDepth, openMqueue(false)},
		{"mqueue", Wait, referenceDepth, openMqueue(true)},
	}
}

// Load is what is sent.
type Load struct {
	Senders, Each int           // senders, and how many messages each of them sends
	Service       time.Duration // how long the receiver is busy with each
}

// Outcome is what became of it.
type Outcome struct {
	Sent, Delivered, Dropped int64
	Took                     time.Duration // from the first message sent to the last handled
}

// exchangeMax is how long a load may take beyond the receiver's own time.
const exchangeMax = 20 * time.Second

// Exchange sends a load through a queue of its own.
func (k Kind) Exchange(ctx context.Context, load Load) (Outcome, error) {
	t := newTray(load)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(t.all)*load.Service+exchangeMax)
	defer cancel()
	senders := make([]sender, load.Senders)
	for i := range senders {
		senders[i] = sender{each: load.Each, tray: t}
	}
	end, err := k.open(k.Depth, t, senders)
	if err != nil {
		return Outcome{}, fmt.Errorf("open %s: %w", k.Name, err)
	}
	start := time.Now()
	close(t.start)
	select {
	case <-t.done:
	case <-ctx.Done():
		err = fmt.Errorf("exchange by %s: %d of %d messages are missing: %w", k.Name, t.left.Load(), t.all, ctx.Err())
	}
	took := time.Since(start)
	if err == nil { // a receiver that hangs cannot be waited for
		err = end()
	}
	return Outcome{Sent: t.all, Delivered: t.delivered.Load(), Dropped: t.refused.Load(), Took: took}, err
}

// candidate is the message.
type candidate struct{ payload string }

// payload is as long as a candidate in base64.
var payload = strings.Repeat("c", 300)

// tray is where every message ends.
type tray struct {
	all       int64
	busy      func()        // what the receiver does with a message
	start     chan struct{} // closed when the senders may begin
	done      chan struct{} // closed when no message is under way any more
	once      sync.Once
	left      atomic.Int64
	delivered atomic.Int64
	refused   atomic.Int64
}

func newTray(load Load) *tray {
	t := &tray{all: int64(load.Senders) * int64(load.Each), busy: spin(load.Service), start: make(chan struct{}), done: make(chan struct{})}
	t.left.Store(t.all)
	return t
}

// spin is busy for so long.
func spin(d time.Duration) func() {
	return func() {
		for from := time.Now(); d > 0 && time.Since(from) < d; {
		}
	}
}

func (t *tray) handle() {
	t.busy()
	t.delivered.Add(1)
	t.account()
}

func (t *tray) refuse() {
	t.refused.Add(1)
	t.account()
}

func (t *tray) account() {
	if t.left.Add(-1) == 0 {
		t.once.Do(func() { close(t.done) })
	}
}

// sender is one viewer.
type sender struct {
	each int
	tray *tray
}

// run waits for the start and sends; send tells whether a message found room.
func (s sender) run(send func(*candidate) (bool, error)) error {
	<-s.tray.start
	for range s.each {
		ok, err := send(&candidate{payload})
		if err != nil {
			return err
		}
		if !ok {
			s.tray.refuse()
		}
	}
	return nil
}

// openChannel makes a buffered channel, whose senders wait or go on without.
func openChannel(wait bool) func(int, *tray, []sender) (func() error, error) {
	return func(depth int, t *tray, senders []sender) (func() error, error) {
		lane := make(chan *candidate, depth)
		send := func(c *candidate) (bool, error) {
			select {
			case lane <- c:
				return true, nil
			default:
				return false, nil
			}
		}
		if wait {
			send = func(c *candidate) (bool, error) { lane <- c; return true, nil }
		}
		var sending, receiving actors.Group
		receiving.Go("receive", func() error {
			for range lane {
				t.handle()
			}
			return nil
		})
		for _, s := range senders {
			sending.Go("send", func() error { return s.run(send) })
		}
		return func() error {
			err := sending.Wait()
			close(lane)
			return errors.Join(err, receiving.Wait())
		}, nil
	}
}
