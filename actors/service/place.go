package service

// A place is a connection's seat on the backplane. One edge holds it from Join to Leave, so that
// however the connection ends, the seat is given back once. In order of execution:
//
//	the actor  sit      opens the edge
//	the edge   occupy   joins, reads whether the channel stores its media, tells its actor, and parks:
//	                    when it waits a seat has no goroutine
//	the actor  open     there is somebody to deliver to
//	the edge   settle   attaches, and parks again, for most of its life
//	any side   give     what the backplane delivers, on the edge's or on a library's goroutine
//	the actor  quit     the end
//	the edge   vacate   detaches, leaves; EdgeEnded says that the seat is free

import (
	"context"
	"errors"
	"sync"
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
	channel    messages.ChannelInfo
	viewersMax int
	announces  bool                                                  // tells its actor when what waited in the store was given
	give       func(ctx context.Context, e backplane.Envelope) error // waits no longer than ctx lives

	edge   *actors.Edge // the actor's
	detach func()       // the edge's

	mu       sync.Mutex // guards the rest
	ended    bool       // by quit
	lost     error      // why the edge ends by itself
	patience context.Context
}

// impatient is the context of who must not wait.
var impatient = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// The edge's messages.
type (
	seated   struct{ stores bool } // the seat is taken; whether the channel's media is stored
	attached struct{}              // what waited in the store was given
)

func newPlace(w *world, admit *messages.Admit, give func(context.Context, backplane.Envelope) error) *place {
	role := backplane.RoleMaster
	if admit.ClientID != "" {
		role = backplane.RoleViewer
	}
	return newPlaceAs(w, admit.Channel, backplane.Seat{Role: role, ClientID: admit.ClientID, Connection: admit.Connection}, give)
}

// newPlaceAs makes the place of a seat on a channel.
func newPlaceAs(w *world, channel messages.ChannelInfo, seat backplane.Seat, give func(context.Context, backplane.Envelope) error) *place {
	seat.Channel = channel.ID
	return &place{
		back: w.back, seat: seat, channel: channel, viewersMax: w.limits.ViewersMax, give: give, patience: impatient,
	}
}

func (p *place) sit(edges *actors.Edges) *actors.Edge {
	p.edge = edges.Open("seat", p.occupy)
	return p.edge
}

// open is called once at most, after seated.
func (p *place) open() { p.edge.Wake() }

func (p *place) quit() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.edge.Wake()
}

// lose ends the edge, for the first reason that is given.
func (p *place) lose(err error) {
	p.mu.Lock()
	if p.lost == nil {
		p.lost = err
	}
	p.mu.Unlock()
	p.edge.Wake()
}

func (p *place) occupy(e *actors.Edge) error {
	parked := false
	defer p.leaveUnless(&parked) // also when Join failed half way
	if err := p.back.Join(e.Context(), p.seat, p.viewersMax); err != nil {
		return err
	}
	stores, err := p.stores(e.Context())
	if err != nil {
		return err
	}
	if err := e.Post(&seated{stores}); err != nil {
		return err
	}
	parked = true
	return e.Park(p.settle)
}

func (p *place) settle(e *actors.Edge) (err error) {
	parked := false
	defer p.leaveUnless(&parked)
	if p.over(e) {
		return nil
	}
	if p.detach, err = p.attach(e); err != nil {
		return err
	}
	parked = true
	if p.announces && e.Post(&attached{}) != nil {
		return p.vacate(e)
	}
	return e.Park(p.vacate)
}

// stores is read when the seat is taken: of a later change everybody who has a seat is told
// (streams.go), so that none goes unseen.
func (p *place) stores(ctx context.Context) (bool, error) {
	c, err := p.back.Channel(ctx, p.channel.Name)
	if err == nil && c.ARN != p.channel.ARN {
		err = backplane.ErrNotFound
	}
	return c.Storage, err
}

func (p *place) leaveUnless(parked *bool) {
	if !*parked {
		p.leave()
	}
}

func (p *place) over(e *actors.Edge) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended || e.Context().Err() != nil
}

func (p *place) vacate(*actors.Edge) error {
	defer p.leave()
	defer p.detach()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// attach lets what waited in the store come at the pace of the client: Attach hands it over on this
// goroutine, so waiting is allowed. What comes after that, on other goroutines, must not wait.
func (p *place) attach(e *actors.Edge) (detach func(), err error) {
	patience, done := context.WithCancel(e.Context())
	p.setPatience(patience)
	defer p.setPatience(impatient)
	defer done()
	return p.back.Attach(e.Context(), p.seat, p.deliver)
}

func (p *place) setPatience(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.patience = ctx
}

func (p *place) deliver(env backplane.Envelope) {
	p.mu.Lock()
	patience := p.patience
	p.mu.Unlock()
	err := errEvicted
	if env.Kind != backplane.Evicted {
		err = p.give(patience, env)
	}
	if err != nil {
		p.lose(err)
	}
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
