package service

// The registry's calls for storage sessions (kvs-protocol.md 3.7, 4.2). They run in edges, like those
// of registry.go.

import (
	"context"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
)

// storageClient is the storage session's address on a channel; no client id has this character.
const storageClient = "~storage"

// Kinds of envelopes besides the protocol's own.
const (
	kindStorageOn  = "STORAGE_ENABLED"  // to everybody on a channel
	kindStorageOff = "STORAGE_DISABLED" // likewise
	kindJoin       = "JOIN_STORAGE"     // to the storage session, from a participant that joins at another node
)

// storageSwitched is the message to a connection: the channel's media is stored from now on, or not.
type storageSwitched struct{ on bool }

// joinStorage finds the participant and its session. The session stays on the node where it began: there
// are the peers. A join that comes elsewhere goes to it over the backplane, and so does its answer
// (ingest_elsewhere.go).
func (g *registry) joinStorage(ctx context.Context, m *messages.JoinStorageWanted) (any, error) {
	info, err := g.find(ctx, m.ChannelARN, "")
	if err != nil {
		return nil, err
	}
	storage, err := g.storage(ctx, &messages.StorageWanted{ResourceName: messages.ResourceName{ARN: m.ChannelARN}})
	if err != nil {
		return nil, err
	}
	if !storage.Enabled {
		return nil, refuse("InvalidArgumentException", "The channel is not mapped to a stream: enable it with UpdateMediaStorageConfiguration")
	}
	if answer, err := g.joinElsewhere(ctx, info.ID, m.ClientID); answer != nil || err != nil {
		return answer, err
	}
	stream, err := g.stream(ctx, messages.ResourceName{ARN: storage.StreamARN})
	if err != nil {
		return nil, err
	}
	return &messages.StorageJoin{Channel: *info, StreamARN: stream.ARN, RetentionHours: stream.RetentionHours, ClientID: m.ClientID}, nil
}

// announceStorage tells everybody on a channel that its media is stored from now on, or not. Who comes
// later reads it from the channel (place.go).
func (g *registry) announceStorage(ctx context.Context, c backplane.Channel, on bool) error {
	seats, err := g.back.Seats(ctx, c.ID)
	if err != nil {
		return err
	}
	kind := kindStorageOff
	if on {
		kind = kindStorageOn
	}
	for _, s := range seats {
		if err := g.back.Send(backplane.Envelope{Channel: c.ID, To: s.ClientID, From: storageClient, Kind: kind, TTL: c.MessageTTL}); err != nil {
			return err
		}
	}
	return nil
}
