package service

// A participant joins at a node, and its storage session is on another. In order:
//
//	the door's node      joinElsewhere     asks the session's seat over the backplane
//	the session's node   onJoinElsewhere   takes the participant in, or refuses it, and answers
//	the door's node                        tells the participant, as for a session of its own
//
// So the bound on viewers (kvs-protocol.md 4.5) is kept where the viewers are, and every node tells it. A
// seat that is not attached yet, or no more, is asked again until it is, or is gone.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
)

const (
	elsewhereAgain  = 20 * time.Millisecond
	elsewhereWithin = 2 * time.Second
)

// joinElsewhere returns nothing when there is no session on another node.
func (g *registry) joinElsewhere(ctx context.Context, channel, clientID string) (answer any, err error) {
	ctx, cancel := context.WithTimeout(ctx, elsewhereWithin)
	defer cancel()
	again := time.NewTicker(elsewhereAgain)
	defer again.Stop()
	for {
		seats, err := g.back.Seats(ctx, channel)
		if err != nil {
			return nil, err
		}
		caller := func(s backplane.Seat) bool { return s.Role != backplane.RoleStorage && s.ClientID == clientID }
		if !slices.ContainsFunc(seats, caller) {
			return nil, refuse("InvalidArgumentException", "The caller is not connected to the channel: connect its websocket first")
		}
		elsewhere := func(s backplane.Seat) bool { return s.Role == backplane.RoleStorage && s.Node != g.back.Node() }
		if !slices.ContainsFunc(seats, elsewhere) {
			return nil, nil
		}
		text, err := g.back.Ask(ctx, backplane.Envelope{Channel: channel, To: storageClient, From: clientID, Kind: kindJoin})
		switch {
		case err == nil:
			return joinAnswer(text)
		case !errors.Is(err, backplane.ErrAway):
			return nil, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("join storage session of another node: %w", err)
		}
	}
}

// joinAnswer reads the session's: null, or why not.
func joinAnswer(text []byte) (any, error) {
	var refused *messages.Refused
	if err := json.Unmarshal(text, &refused); err != nil {
		return nil, fmt.Errorf("read answer of storage session: %w", err)
	}
	if refused != nil {
		return nil, refused
	}
	return &messages.StorageJoined{}, nil
}

// onDeliveredEarly: what waited for the seat is of an earlier session, but questions never wait.
func (i *ingest) onDeliveredEarly(ctx actor.Context, msg *messages.Delivered) {
	if msg.Kind == kindJoin {
		i.onJoinElsewhere(ctx, msg)
		return
	}
	i.metrics.ingest.dropped.Inc()
}

// onJoinElsewhere declines when this session may end before it could make an offer.
func (i *ingest) onJoinElsewhere(ctx actor.Context, msg *messages.Delivered) {
	if i.empty {
		i.answered(i.back.Decline(msg.Reply))
		return
	}
	text, err := json.Marshal(i.join(ctx, msg.From))
	if err == nil {
		err = i.back.Answer(msg.Reply, text)
	}
	i.answered(err)
}

func (i *ingest) answered(err error) {
	if err != nil {
		i.metrics.ingest.dropped.Inc()
		i.sys.Log().Warn("join at another node not answered", zap.Error(err))
	}
}
