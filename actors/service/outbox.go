package service

import "context"

// outgoingMax bounds what waits to be written to one client (actors.md, lane sizes).
const outgoingMax = 64

// outbox is the queue before a connection's write edge. A full one is the end of the connection:
// the client is too slow, and dropping single messages would break its negotiation unseen.
type outbox chan []byte

// put queues a frame; when there is no room it waits as long as ctx lives, then fails with errSlow.
func (o outbox) put(ctx context.Context, frame []byte) error {
	select {
	case o <- frame:
		return nil
	default:
	}
	select {
	case o <- frame:
		return nil
	case <-ctx.Done():
		return errSlow
	}
}

// push queues a frame now or fails with errSlow.
func (o outbox) push(frame []byte) error {
	select {
	case o <- frame:
		return nil
	default:
		return errSlow
	}
}
