package service

// A place is a connection's seat on the backplane. One edge holds it from Join to Leave, so that
// however the connection ends, the seat is given back once. In order of execution:
//
//	the actor  sit      opens the edge
//	the edge   occupy   joins, tells its actor, waits until there is somebody to deliver to,
//	                    attaches, and parks: for most of its life a seat has no goroutine
//	any side   give     what the backplane delivers, on the edge's or on a library's goroutine
//	the actor  open     there is somebody to deliver to
//	the actor  quit     the end
//	the edge   vacate   detaches, leaves; EdgeEnded says that the seat is free

import (
	"context"
	"errors"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
)

const leaveWait = 2 * time.Second

var (
	errEvicted = errors.New("evicted")
	errSlow    = errors.New("slow")
)

type place struct {
	back       *backplane.Backplane
	seat       backplane.Seat
	viewersMax int
	give       func(ctx context.Context, e backplane.Envelope) error // waits no longer than ctx lives

	ready chan struct{} // closed by open
	done  chan struct{} // closed by quit
	lost  chan error    // of capacity 1: why the edge ends by itself

	detach func() // the edge's

	// the actor's
	edge          *actors.Edge
	opened, ended bool
}

// seated is the edge's message: the seat is taken.
type seated struct{}

func newPlace(w *world, admit *messages.Admit, give func(context.Context, backplane.Envelope) error) *place {
	p := &place{
		back: w.back, viewersMax: w.limits.ViewersMax, give: give,
		seat:  backplane.Seat{Channel: admit.Channel.ID, Role: backplane.RoleMaster, ClientID: admit.ClientID, Connection: admit.Connection},
		ready: make(chan struct{}), done: make(chan struct{}), lost: make(chan error, 1),
	}
	if admit.ClientID != "" {
		p.seat.Role = backplane.RoleViewer
	}
	return p
}

func (p *place) open() {
	if !p.opened {
		p.opened = true
		close(p.ready)
	}
}

func (p *place) quit() {
	if !p.ended {
		p.ended = true
		close(p.done)
		p.edge.Wake()
	}
}

func (p *place) sit(edges *actors.Edges) *actors.Edge {
	p.edge = edges.Open("seat", p.occupy)
	return p.edge
}

func (p *place) occupy(e *actors.Edge) error {
	kept := false
	defer func() {
		if !kept {
			p.leave() // also when Join failed half way
		}
	}()
	if err := p.back.Join(e.Context(), p.seat, p.viewersMax); err != nil {
		return err
	}
	if err := e.Post(&seated{}); err != nil {
		return err
	}
	select {
	case <-p.ready:
	case <-p.done:
		return nil
	case <-e.Context().Done():
		return nil
	}
	var err error
	if p.detach, err = p.attach(e); err != nil {
		return err
	}
	kept = true
	return e.Park(p.vacate)
}

func (p *place) vacate(*actors.Edge) error {
	defer p.leave()
	defer p.detach()
	select {
	case err := <-p.lost:
		return err
	default:
		return nil
	}
}

// attach lets what waited in the store come at the pace of the client: Attach hands it over on this
// goroutine, so waiting is allowed. What comes after that, on other goroutines, must not wait.
func (p *place) attach(e *actors.Edge) (detach func(), err error) {
	patience, done := context.WithCancel(e.Context())
	defer done()
	return p.back.Attach(e.Context(), p.seat, func(env backplane.Envelope) {
		err := errEvicted
		if env.Kind != backplane.Evicted {
			err = p.give(patience, env)
		}
		if err != nil {
			select {
			case p.lost <- err:
			default:
			}
			e.Wake()
		}
	})
}

func (p *place) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveWait)
	defer cancel()
	_ = p.back.Leave(ctx, p.seat) // a seat that stays is freed with the node's lease
}

// refusal says to the client why there is no seat.
func refusal(err error) *messages.Refused {
	switch {
	case errors.Is(err, backplane.ErrFull):
		return refuse("ClientLimitExceededException", "The channel has as many viewers as it may have")
	case errors.Is(err, backplane.ErrNotFound):
		return refuse("ResourceNotFoundException", "The requested channel is not found or not active")
	}
	return refuse("ServiceUnavailableException", "The connection cannot be made right now")
}
