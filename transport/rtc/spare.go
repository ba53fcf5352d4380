package rtc

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// spareAfter is how long a new spare waits after the last was taken: the viewer who has it comes first.
const spareAfter = time.Second

// spares is the place of the one peer that is ready ahead of its offer.
type spares struct {
	used atomic.Uint64

	mu    sync.Mutex
	ready *spare // nil: none
}

// spare is a peer that has its candidates already. It is good for an offer under the same configuration,
// while the machine has the same addresses.
type spare struct {
	peer   *Peer
	cfg    PeerConfig
	locals []netip.Addr
	taken  bool          // guarded by spares.mu
	over   chan struct{} // closed when it was taken, or is of no use any more
}

// KeepSpare keeps a peer ready for the next viewer until ctx ends. Its relayed candidates travel in the
// answer then, instead of two round trips to the TURN server later; the price is one allocation there
// all the time. It returns when ctx ends, or with an error when no peer can be made.
func (e *Engine) KeepSpare(ctx context.Context, cfg PeerConfig) error {
	if !offersTURN(cfg.IceServers) { // nothing else takes time
		<-ctx.Done()
		return ctx.Err()
	}
	for {
		if err := e.keepOne(ctx, cfg); err != nil {
			return fmt.Errorf("keep a spare peer: %w", err)
		}
		select {
		case <-time.After(spareAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// keepOne keeps one spare until somebody has taken it, or it has become useless.
func (e *Engine) keepOne(ctx context.Context, cfg PeerConfig) error {
	own, err := e.newSpare(cfg)
	if err != nil {
		return err
	}
	e.spares.put(own)
	select {
	case <-own.over:
	case <-ctx.Done():
	}
	if e.spares.remove(own) {
		return own.peer.Close()
	}
	return nil
}

func (e *Engine) newSpare(cfg PeerConfig) (*spare, error) {
	cfg, err := e.current(cfg)
	if err != nil {
		return nil, err
	}
	locals := e.sockets.locals()
	peer, err := e.newPeer(cfg, e.media, e.watching, 1)
	if err != nil {
		return nil, err
	}
	return &spare{peer: peer, cfg: cfg, locals: locals, over: make(chan struct{})}, nil
}

func (s *spares) put(ready *spare) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = ready
}

// remove takes back what nobody has taken.
func (s *spares) remove(own *spare) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready == own {
		s.ready = nil
	}
	return !own.taken
}

// take gives the spare away when it is good for cfg; nil: there is none.
func (s *spares) take(cfg PeerConfig, locals []netip.Addr) *Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	ready := s.ready
	if ready == nil {
		return nil
	}
	s.ready = nil
	close(ready.over)
	if !ready.fits(cfg, locals) {
		return nil
	}
	ready.taken = true
	s.used.Add(1)
	return ready.peer
}

func (s *spare) fits(cfg PeerConfig, locals []netip.Addr) bool {
	return s.cfg.RelayOnly == cfg.RelayOnly && slices.Equal(s.locals, locals) &&
		slices.Equal(s.cfg.Reflexive.Addresses, cfg.Reflexive.Addresses) && reflect.DeepEqual(s.cfg.IceServers, cfg.IceServers)
}

// SparesUsed counts the viewers that found their peer ready.
func (e *Engine) SparesUsed() uint64 { return e.spares.used.Load() }

func offersTURN(servers []messages.IceServer) bool {
	return slices.ContainsFunc(servers, func(s messages.IceServer) bool {
		return s.Password != "" && slices.ContainsFunc(s.URLs, func(url string) bool { return strings.HasPrefix(url, "turn") })
	})
}
