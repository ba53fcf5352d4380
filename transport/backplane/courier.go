// Sending: the courier brings each message to the recipient that is there, or to the store.
//
// Flow of one message: Send appends it to the flow of its sender and recipient. The head of a flow
// is under way, the rest waits; so the sender's order holds whichever way each message goes.
//
//	live    published on the recipient's subject with a reply inbox
//	        -> acknowledged: done
//	        -> no responders (503), refused, or no answer in ackWait: stored
//	stored  published into the stream with a reply inbox, TTL and message id
//	        -> acknowledged: the recipient's subject is poked, done
//	        -> no answer: published again under the same message id, until its TTL has passed
//
// The race of a recipient that attaches between 503 and store: an attachment subscribes first and
// reads the store afterwards. Either its subscription was there when the poke came, then the poke
// makes it read the store again, after the message was stored; or it came later than the poke, then
// its own first reading comes later than the store. In a cluster the subscription of a recipient on
// another server may be unknown to ours at the moment of the poke; an attachment therefore reads
// once more after settleWait (attachment.go). So nothing is lost.
//
// The race of a recipient whose acknowledgement is late or lost: it got the message and the store
// gets it too. The poke that follows makes it read the store; it knows the message's id and throws
// the copy away. Whoever takes a message out of the store deletes it first and hands it over only if
// that succeeded, so that of two readers one gets it. So nothing is delivered twice.
//
// Bounds: flowMax messages of one sender to one recipient, backlogMax in all, slotsMax undelivered
// candidates of one sender and recipient per node; what is beyond is refused or dropped, counted.
//
// Owner: the courier, under mu. Callbacks of nats.go and timers enter through onReply and onTimeout.

package backplane

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Evicted is the Kind of the envelope that a connection gets when its seat is taken or its channel
// deleted. It is the last one: afterwards nothing is delivered to that connection.
const Evicted = "EVICTED"

const (
	ackWait     = time.Second // a recipient acknowledges at once; longer means that its node is stuck
	storeWait   = 2 * time.Second
	storeAgain  = 250 * time.Millisecond // when the stream has no leader at the moment
	flowMax     = 256
	backlogMax  = 65_536
	slotsMax    = 64
	ttlDefault  = 60 * time.Second // kvs-protocol.md 1.3
	kindPoke    = "POKE"
	refusedBody = "gone" // in a reply: the attachment gives way and did not take the message

	headerKind       = "Hg-Kind"
	headerFrom       = "Hg-From"
	headerID         = "Hg-Id"
	headerConnection = "Hg-Connection"
	headerRevision   = "Hg-Revision"
)

// Envelope is one message between a channel's clients.
type Envelope struct {
	Channel string        // channel ID
	To      string        // client id of the viewer; empty = master
	From    string        // client id of the viewer; empty = master
	Kind    string        // SDP_OFFER, SDP_ANSWER, ICE_CANDIDATE, ... or Evicted
	TTL     time.Duration // how long it may wait for its recipient; 0 = 60 s
	Data    []byte        // the text frame for the recipient; not changed after Send
	Reply   string        // of a question (asking.go): how to answer it; empty: it is none
}

type flowKey struct{ channel, from, to string }

// flow is the way from one sender to one recipient.
type flow struct {
	queue  []*letter // the head is under way
	slot   uint64    // of the next candidate that is stored
	forget *time.Timer
}

// letter is one message under way.
type letter struct {
	Envelope
	id      string
	key     flowKey
	storing bool
	until   time.Time
	timer   *time.Timer
}

type courier struct {
	b     *Backplane
	inbox string
	sub   *nats.Subscription

	mu      sync.Mutex
	flows   map[flowKey]*flow
	pending map[string]*letter // by the last token of the reply subject
	serial  uint64
	total   int
	closing bool
	idle    chan struct{} // closed when closing and nothing is under way
}

func newCourier(b *Backplane) (*courier, error) {
	c := &courier{
		b: b, inbox: nats.NewInbox() + ".", flows: map[flowKey]*flow{}, pending: map[string]*letter{},
		idle: make(chan struct{}),
	}
	var err error
	if c.sub, err = b.nc.Subscribe(c.inbox+"*", c.onReply); err != nil {
		return nil, fmt.Errorf("subscribe to replies: %w", err)
	}
	return c, nil
}

// Send brings an envelope on its way and does not wait. A full backlog gives ErrFull.
func (b *Backplane) Send(e Envelope) error {
	if e.Channel == "" || e.Kind == "" || e.Kind == Evicted || e.Kind == kindPoke {
		return fmt.Errorf("send: channel and kind are required, kind %q cannot be sent", e.Kind)
	}
	if e.TTL <= 0 {
		e.TTL = ttlDefault
	}
	return b.courier.send(e)
}

func (c *courier) send(e Envelope) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return errors.New("send: backplane is closed")
	}
	key := flowKey{e.Channel, e.From, e.To}
	f := c.flows[key]
	if f == nil {
		f = &flow{}
		c.flows[key] = f
	}
	if len(f.queue) >= flowMax || c.total >= backlogMax {
		c.b.count.dropped.Add(1)
		return fmt.Errorf("send: backlog: %w", ErrFull)
	}
	c.serial++
	c.total++
	c.b.count.sent.Add(1)
	l := &letter{Envelope: e, id: c.b.node + "." + strconv.FormatUint(c.serial, 10), key: key, until: time.Now().Add(e.TTL)}
	f.queue = append(f.queue, l)
	if len(f.queue) == 1 {
		c.deliver(l)
	}
	return nil
}

// deliver publishes to the recipient that is there.
func (c *courier) deliver(l *letter) {
	c.publish(l, c.message(l, liveSubject(l.Channel, l.To)), ackWait)
}

// store publishes into the stream. An offer or an answer replaces the one that waits. Anything else
// takes the next of slotsMax subjects and must find it empty. Each attempt takes a slot of its own:
// the check of the slot comes before that of the message id, and would refuse a repetition.
func (c *courier) store(l *letter) {
	l.storing = true
	m := c.message(l, boxSubject(l.Envelope))
	m.Header.Set(jetstream.MsgIDHeader, l.id)
	m.Header.Set(jetstream.MsgTTLHeader, ttlHeader(l.TTL))
	if l.Kind != kindOffer && l.Kind != kindAnswer {
		f := c.flows[l.key]
		m.Subject += "." + c.b.node + "." + strconv.FormatUint(f.slot%slotsMax, 10)
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, "0")
		f.slot++
	}
	c.publish(l, m, storeWait)
}

func (c *courier) message(l *letter, subject string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = l.Data
	m.Header.Set(headerKind, l.Kind)
	m.Header.Set(headerFrom, l.From)
	m.Header.Set(headerID, l.id)
	return m
}

// publish expects the answer to m under a new reply subject, so that answers to earlier attempts are
// ignored.
func (c *courier) publish(l *letter, m *nats.Msg, wait time.Duration) {
	c.serial++
	reply := strconv.FormatUint(c.serial, 36)
	c.pending[reply] = l
	m.Reply = c.inbox + reply
	if err := c.b.nc.PublishMsg(m); err != nil {
		wait = storeAgain // not connected, and the client's buffer is full
	}
	l.timer = time.AfterFunc(wait, func() { c.onTimeout(reply) })
}

// take removes a letter from pending; nil when it is answered already.
func (c *courier) take(reply string) *letter {
	l := c.pending[reply]
	if l != nil {
		delete(c.pending, reply)
		l.timer.Stop()
	}
	return l
}

func (c *courier) onReply(m *nats.Msg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.take(strings.TrimPrefix(m.Subject, c.inbox))
	if l == nil {
		return
	}
	nobody := m.Header.Get("Status") == "503"
	switch {
	case l.storing:
		c.onStored(l, m.Data, nobody)
	case nobody, string(m.Data) == refusedBody:
		c.store(l)
	default:
		c.b.count.delivered.Add(1)
		c.done(l)
	}
}

func (c *courier) onTimeout(reply string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.take(reply)
	switch {
	case l == nil:
	case l.storing && time.Now().After(l.until):
		c.drop(l)
	default:
		c.store(l)
	}
}

func (c *courier) onStored(l *letter, answer []byte, nobody bool) {
	var ack struct {
		Error *jetstream.APIError `json:"error"`
	}
	switch {
	case nobody: // no stream leader at the moment: again, a little later
		c.serial++
		reply := strconv.FormatUint(c.serial, 36)
		c.pending[reply] = l
		l.timer = time.AfterFunc(storeAgain, func() { c.onTimeout(reply) })
	case json.Unmarshal(answer, &ack) != nil || ack.Error != nil:
		c.drop(l) // no free slot, or the stream is full
	default:
		c.b.count.stored.Add(1)
		c.poke(l)
		c.done(l)
	}
}

func (c *courier) poke(l *letter) {
	m := nats.NewMsg(liveSubject(l.Channel, l.To))
	m.Header.Set(headerKind, kindPoke)
	_ = c.b.nc.PublishMsg(m) // not connected: the attachment reads again after the reconnect
}

func (c *courier) drop(l *letter) {
	c.b.count.dropped.Add(1)
	c.done(l)
}

// done goes on with the next of the flow. A flow that stored something is kept until that has
// expired, because its slots are taken; any other is forgotten at once.
func (c *courier) done(l *letter) {
	c.total--
	f := c.flows[l.key]
	if f.queue = f.queue[1:]; len(f.queue) > 0 {
		c.deliver(f.queue[0])
		return
	}
	f.queue = nil
	switch {
	case f.slot == 0:
		delete(c.flows, l.key)
	case f.forget == nil:
		f.forget = time.AfterFunc(l.TTL+storeWait, func() { c.forget(l.key) })
	default:
		f.forget.Reset(l.TTL + storeWait)
	}
	if c.closing && c.total == 0 {
		close(c.idle)
	}
}

func (c *courier) forget(key flowKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flows[key]; f != nil && len(f.queue) == 0 {
		delete(c.flows, key)
	}
}

func (c *courier) backlog() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return uint64(c.total)
}

// close refuses new messages, waits for those under way and drops what is left.
func (c *courier) close(wait time.Duration) {
	c.mu.Lock()
	c.closing = true
	if c.total == 0 {
		close(c.idle)
	}
	c.mu.Unlock()
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case <-c.idle:
	case <-timeout.C:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.sub.Unsubscribe()
	for _, l := range c.pending {
		l.timer.Stop()
	}
	for _, f := range c.flows {
		if f.forget != nil {
			f.forget.Stop()
		}
	}
	c.b.count.dropped.Add(uint64(c.total))
	c.pending, c.flows, c.total = map[string]*letter{}, map[flowKey]*flow{}, 0
}
