package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/bench/impair"
	"github.com/heliograph-rtc/heliograph/messages"
)

// setupRun is one case, once.
type setupRun struct {
	setupCase
	world *World
	id    string // makes the viewers' ids unique

	viewers []*Viewer
	arrived chan struct{} // one from each viewer that has joined
	ended   chan struct{} // one from each that has left
	offers  chan struct{} // closed when the first offer may go
}

// join is how one viewer got its picture.
type join struct {
	Row
	device map[string]float64 // the device's phases, in seconds
}

// measure lets the viewers in, and out again when all have a picture.
func (s *setupRun) measure(ctx context.Context) (joins []join, err error) {
	s.arrived, s.ended = make(chan struct{}, s.setupCase.viewers), make(chan struct{}, s.setupCase.viewers)
	s.offers = make(chan struct{})
	if err := s.make(); err != nil {
		return nil, err
	}
	watching, leave := context.WithCancel(ctx)
	defer leave()
	var group actors.Group
	for _, v := range s.viewers {
		group.Go(v.cfg.ClientID, func() error {
			defer func() { s.ended <- struct{}{} }()
			return v.Run(watching)
		})
	}
	err = s.awaitJoined(ctx)
	close(s.offers)
	var census messages.Census
	if err == nil {
		census, err = s.awaitPictures(ctx)
	}
	leave()
	if err = errors.Join(err, group.Wait()); err != nil {
		return nil, err
	}
	for _, v := range s.viewers {
		joins = append(joins, join{v.Row(), statusOf(census, v.cfg.ClientID).Phases})
	}
	return joins, s.awaitGone(ctx)
}

func (s *setupRun) make() error {
	for i := range s.setupCase.viewers {
		cfg := s.world.Viewer(i+1, fmt.Sprintf("%s-%d", s.id, i+1))
		cfg.RelayOnly = s.path == pathRelay
		cfg.Network = impair.Profile{RTT: s.rtt}
		cfg.Hold = func(ctx context.Context) {
			s.arrived <- struct{}{}
			select {
			case <-s.offers:
				pause(ctx, time.Duration(i)*s.stagger)
			case <-ctx.Done():
			}
		}
		v, err := NewViewer(cfg)
		if err != nil {
			return err
		}
		s.viewers = append(s.viewers, v)
	}
	return nil
}

func (s *setupRun) awaitJoined(ctx context.Context) error {
	for range s.viewers {
		select {
		case <-s.arrived:
		case <-s.ended:
			return errors.New("a viewer could not join") // its own error says why
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// awaitPictures waits until every viewer plays and the device has told so of each.
func (s *setupRun) awaitPictures(ctx context.Context) (census messages.Census, err error) {
	for _, v := range s.viewers {
		select {
		case <-v.Playing():
		case <-s.ended:
			return census, errors.New("a viewer saw no picture")
		case <-ctx.Done():
			return census, ctx.Err()
		}
	}
	return s.world.awaitCensus(ctx, func(c messages.Census) bool {
		for _, v := range s.viewers {
			if statusOf(c, v.cfg.ClientID).Phases[messages.PhaseFirstFrame] == 0 {
				return false
			}
		}
		return true
	})
}

// awaitGone waits until the device has closed what the viewers have left.
func (s *setupRun) awaitGone(ctx context.Context) error {
	_, err := s.world.awaitCensus(ctx, func(c messages.Census) bool { return len(c.Viewers) == 0 })
	return err
}

// awaitCensus asks until the census is as it should be: there is nobody who would tell.
func (w *World) awaitCensus(ctx context.Context, ok func(messages.Census) bool) (census messages.Census, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	again := time.NewTicker(readyEvery)
	defer again.Stop()
	for {
		asked, err := w.Device.Census(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return asked, err
		case err == nil && ok(asked):
			return asked, nil
		case err == nil:
			census = asked
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return census, fmt.Errorf("await census of %d viewers, %v: %w", len(census.Viewers), states(census), ctx.Err())
		}
	}
}

// states counts viewers by their state.
func states(c messages.Census) map[string]int {
	n := map[string]int{}
	for _, v := range c.Viewers {
		n[v.State]++
	}
	return n
}
