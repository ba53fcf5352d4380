package service

// A master joins again before its hour is over (kvs-protocol.md 4.5). In order:
//
//	join            the new peer is the heir; the one before feeds on
//	onPeerTookOver  the heir delivers; what it took over from is the former
//	onFormerDue     the former ends
//
// When the master's peer ends before that, the heir inherits, with a gap.

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

const (
	// formerFor is how long a peer that was taken over from may still send again what was lost.
	formerFor = 500 * time.Millisecond
	// heirWithin is how long a master's next peer may take to be connected.
	heirWithin = 30 * time.Second
)

// all are the participants, the master's further peers included.
func (i *ingest) all() []*participant {
	all := make([]*participant, 0, len(i.parts)+2)
	for _, p := range i.parts {
		all = append(all, p)
	}
	for _, p := range []*participant{i.heir, i.former} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

func (i *ingest) leaveAll(reason string) {
	if i.heir != nil {
		i.leave(i.heir, reason) // first: nothing is to take over any more
	}
	for _, p := range i.all() {
		i.leave(p, reason)
	}
}

// newest is who a message is from: of a master that joins again, the peer that was offered last.
func (i *ingest) newest(clientID string) *participant {
	if clientID == "" && i.heir != nil {
		return i.heir
	}
	return i.parts[clientID]
}

// onPeerTookOver: the heir delivers.
func (i *ingest) onPeerTookOver(ctx actor.Context, p *participant) {
	if p != i.heir {
		return
	}
	if i.former != nil {
		i.leave(i.former, "replaced")
	}
	i.former, i.parts[""], i.heir = i.parts[""], p, nil
	i.edges.After(formerFor, &formerDue{i.former})
	i.report(ctx)
}

func (i *ingest) onFormerDue(ctx actor.Context, msg *formerDue) {
	if msg.who == i.former {
		i.leave(i.former, "replaced")
		i.report(ctx)
	}
}

// inherit: the master's peer has gone before its next one delivered.
func (i *ingest) inherit() {
	i.parts[""], i.heir = i.heir, nil
	if peer := i.parts[""].peer; peer != nil {
		i.feed.From(peer)
	}
}
