// Receiving: an attachment is the receiving end of one seat. Everything it gets arrives through one
// subscription and is handed over under one mutex, so that order is order of arrival.
//
// Flow: Attach subscribes, waits until the server knows, then looks after the seat (it may have been
// taken between Join and Attach) and reads the store; live messages that come meanwhile wait in the
// attachment's tray (arrivals.go). Afterwards each live message is handed over and acknowledged; a
// poke makes it read the store again; an eviction ends it.
//
// Owner: whoever attached, through detach. mu is held while messages are handed over, also during a
// reading of the store, which detach cuts short.

package backplane

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

const (
	settleWait   = 2 * time.Second // until every server of a cluster knows of the subscription
	collectAgain = time.Second     // after a reading that failed
	seenMax      = 512             // ids remembered to recognise second copies
)

type attachment struct {
	b       *Backplane
	seat    Seat
	joined  uint64 // revision of presence; evictions of later revisions are for us
	deliver func(Envelope)
	sub     *nats.Subscription
	tray    tray
	cut     cut

	mu    sync.Mutex // guards the rest
	gone  bool       // evicted or detached: nothing is handed over any more
	seen  map[string]struct{}
	order []string // ring of the ids in seen; both grow with use, for most attachments get few messages
	next  int
	timer *time.Timer
}

// cut ends readings of the store. While nothing is read it holds no context.
type cut struct {
	mu    sync.Mutex
	made  bool
	under context.CancelFunc // of the reading under way
}

// reading bounds a reading by ctx, requestWait and the cut. There is one at a time.
func (c *cut) reading(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, requestWait)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.under = cancel
	if c.made {
		cancel()
	}
	return ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.under = nil
		cancel()
	}
}

// make ends the reading under way and each that begins later.
func (c *cut) make() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made = true
	if c.under != nil {
		c.under()
	}
}

func (c *cut) is() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made
}

// Attach opens the receiving end of a seat that was joined: first what waits in the store, in order,
// then what comes live. deliver runs on this goroutine and on goroutines of the library, one call at
// a time; it must not block and must not call detach. detach waits for a running deliver; afterwards
// there is none. A seat that is not (any more) this connection's gets its Evicted at once.
func (b *Backplane) Attach(ctx context.Context, seat Seat, deliver func(Envelope)) (detach func(), err error) {
	ctx, cancel := deadline(ctx, requestWait)
	defer cancel()
	a := &attachment{b: b, seat: seat, deliver: deliver, tray: tray{busy: true}}
	defer a.goOn()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err = a.subscribe(ctx); err == nil {
		err = a.catchUp(ctx)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		a.leave()
		return nil, fmt.Errorf("attach to channel: %w", err)
	}
	if b.embedded == nil {
		a.again(settleWait)
	}
	return a.detach, nil
}

func (a *attachment) subscribe(ctx context.Context) error {
	sub, err := a.b.nc.ChanSubscribe(liveSubject(a.seat.Channel, a.seat.client()), a.b.arrivals)
	if err != nil {
		return err
	}
	a.sub = sub
	a.b.mu.Lock()
	a.joined = a.b.joined[a.seat.Connection]
	closed := a.b.closed
	if !closed {
		a.b.attachments[sub] = a
	}
	a.b.mu.Unlock()
	if closed {
		return errors.New("backplane is closed")
	}
	return a.b.nc.FlushWithContext(ctx)
}

// onMessage is called with one message at a time.
func (a *attachment) onMessage(m *nats.Msg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	kind := m.Header.Get(headerKind)
	switch {
	case a.gone:
		answer(m, refusedBody)
	case kind == Evicted:
		a.onEviction(m)
	case kind == kindPoke:
		a.collectOrRetry()
	case m.Header.Get(headerAsks) != "":
		a.deliver(Envelope{Channel: a.seat.Channel, To: a.seat.client(), From: m.Header.Get(headerFrom), Kind: kind, Data: m.Data, Reply: m.Reply})
	default:
		a.handOver(m.Header, m.Data)
		answer(m, "")
	}
}

func answer(m *nats.Msg, body string) {
	if m.Reply != "" {
		_ = m.Respond([]byte(body)) // lost: the sender stores a copy, which is recognised
	}
}

func (a *attachment) onEviction(m *nats.Msg) {
	before, err := strconv.ParseUint(m.Header.Get(headerRevision), 10, 64)
	if err != nil || a.joined >= before {
		return
	}
	if m.Header.Get(headerConnection) == a.seat.Connection {
		a.joined = before // we joined once more ourselves
		return
	}
	a.evicted()
}

func (a *attachment) evicted() {
	a.leave()
	a.b.count.evicted.Add(1)
	a.deliver(Envelope{Channel: a.seat.Channel, To: a.seat.client(), Kind: Evicted})
}

// handOver delivers a message unless it was delivered before.
func (a *attachment) handOver(header nats.Header, data []byte) {
	id := header.Get(headerID)
	if _, known := a.seen[id]; known {
		a.b.count.duplicates.Add(1)
		return
	}
	if len(a.order) < seenMax {
		a.order = append(a.order, id)
	} else {
		delete(a.seen, a.order[a.next])
		a.order[a.next] = id
		a.next = (a.next + 1) % seenMax
	}
	if a.seen == nil {
		a.seen = map[string]struct{}{}
	}
	a.seen[id] = struct{}{}
	a.deliver(Envelope{
		Channel: a.seat.Channel, To: a.seat.client(), From: header.Get(headerFrom), Kind: header.Get(headerKind), Data: data,
	})
}

// catchUp looks after the seat, then after the store.
func (a *attachment) catchUp(ctx context.Context) error {
	ctx, end := a.cut.reading(ctx)
	defer end()
	_, live, _, err := a.b.readPresence(ctx, token(a.seat.Channel))
	if err != nil {
		return err
	}
	for _, s := range live {
		if s.Connection == a.seat.Connection {
			return a.collect(ctx)
		}
	}
	a.evicted()
	return nil
}

// collect takes what waits for this seat out of the store, in order.
func (a *attachment) collect(ctx context.Context) error {
	boxes := a.b.boxes
	return boxes.each(ctx, boxFilter(a.seat.Channel, a.seat.client()), func(m *jetstream.RawStreamMsg) (bool, error) {
		if err := boxes.stream.DeleteMsg(ctx, m.Sequence); err != nil {
			if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
				return true, nil // expired or replaced just now, or another connection has it
			}
			return false, err
		}
		a.b.count.collected.Add(1)
		a.handOver(m.Header, m.Data)
		return true, nil
	})
}

func (a *attachment) collectOrRetry() {
	ctx, end := a.cut.reading(context.Background())
	defer end()
	if err := a.collect(ctx); err != nil && !a.cut.is() {
		a.b.log.Warn("collect undelivered messages", zap.Error(err))
		a.again(collectAgain)
	}
}

// again looks after the seat and the store once more, after wait.
func (a *attachment) again(wait time.Duration) {
	if a.timer != nil {
		a.timer.Stop()
	}
	a.timer = time.AfterFunc(wait, a.look)
}

func (a *attachment) lookAgain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone {
		return
	}
	if err := a.catchUp(context.Background()); err != nil && !a.cut.is() {
		a.b.log.Warn("look after seat", zap.Error(err))
		a.again(collectAgain)
	}
}

func (a *attachment) detach() {
	a.cut.make()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leave()
}

// leave ends the subscription. It drains, so that what is on its way here already is refused and its
// sender need not wait for an answer until ackWait is over.
func (a *attachment) leave() {
	a.gone = true
	a.cut.make()
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.sub == nil {
		return
	}
	_ = a.sub.Drain()
	a.b.mu.Lock()
	delete(a.b.attachments, a.sub)
	a.b.mu.Unlock()
}
