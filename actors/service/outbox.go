package service

import (
	"context"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
)

// outgoingMax bounds what waits to be written to one client.
const outgoingMax = 64

// connectionLane holds a full outbox and, besides, one of each message that a connection may get at
// the same time: what its edges and timers say and what the door does. So no frame that has found
// room in the outbox is refused by the mailbox.
const connectionLane = outgoingMax + 16

// outbox is what waits to be written to one client. A full one is the end of the connection: the
// client is too slow, and dropping single messages would break its negotiation unseen. In order of
// execution:
//
//	any goroutine    reserve   takes room for a frame, which it then sends to the connection
//	the connection   push      queues the frame; opens the write edge, unless one is at work
//	the write edge   write     writes what was queued by then, gives the room back, ends
//	the connection   written   opens the next one when there is more
//
// An idle connection has no goroutine and no buffer for writing.
type outbox struct {
	room chan struct{} // a token for each frame that waits or is being written

	// the connection's
	waiting [][]byte
	writer  *actors.Edge // nil: nothing is being written
}

// outgoing is a frame for the client that has found room.
type outgoing struct{ frame []byte }

func newOutbox() outbox { return outbox{room: make(chan struct{}, outgoingMax)} }

// reserve takes room for a frame; when there is none it waits as long as ctx lives, then fails with
// errSlow.
func (o *outbox) reserve(ctx context.Context) error {
	if o.reserveNow() == nil {
		return nil
	}
	select {
	case o.room <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errSlow
	}
}

// reserveNow takes room for a frame or fails with errSlow.
func (o *outbox) reserveNow() error {
	select {
	case o.room <- struct{}{}:
		return nil
	default:
		return errSlow
	}
}

func (o *outbox) push(edges *actors.Edges, socket messages.Socket, frame []byte) {
	o.waiting = append(o.waiting, frame)
	o.flush(edges, socket)
}

func (o *outbox) flush(edges *actors.Edges, socket messages.Socket) {
	if o.writer != nil || len(o.waiting) == 0 {
		return
	}
	frames, room := o.waiting, o.room
	o.waiting = nil
	o.writer = edges.Open("write", func(e *actors.Edge) error { return write(e, socket, frames, room) })
}

func write(e *actors.Edge, socket messages.Socket, frames [][]byte, room chan struct{}) error {
	for _, frame := range frames {
		if err := e.Context().Err(); err != nil {
			return err
		}
		if err := socket.Write(frame); err != nil {
			return err
		}
		<-room
	}
	return nil
}

// written tells whether the edge was the writer's and did its work; then the next batch goes out.
func (o *outbox) written(msg *actors.EdgeEnded, edges *actors.Edges, socket messages.Socket) bool {
	if msg.Edge != o.writer || msg.Err != nil {
		return false
	}
	o.writer = nil
	o.flush(edges, socket)
	return true
}
