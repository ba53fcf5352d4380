// Channels, the first kind of resource: deleting one also lets go of everybody in it.
// Owner: Backplane.

package backplane

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Channel is a signaling channel.
type Channel struct {
	Resource
	Type       string
	MessageTTL time.Duration
	Storage    bool   `json:",omitempty"` // what it sends is to be stored: see Mapped
	StreamARN  string `json:",omitempty"` // where; stays when storage is disabled
}

// CreateChannel stores a new channel, or gives ErrExists; ErrFull when there are max already. Name
// and ARN are required; ID defaults to a digest of the ARN.
func (b *Backplane) CreateChannel(ctx context.Context, c Channel, max int) (Channel, error) {
	return b.channelShelf().create(ctx, c, max)
}

// Channel reads one channel, or gives ErrNotFound.
func (b *Backplane) Channel(ctx context.Context, name string) (Channel, error) {
	return b.channelShelf().get(ctx, name)
}

// Channels lists all channels, sorted by name.
func (b *Backplane) Channels(ctx context.Context) ([]Channel, error) {
	return b.channelShelf().list(ctx)
}

// UpdateChannel changes the channel of that name and ARN, else ErrNotFound. alter may be called more
// than once; its error stops the change.
func (b *Backplane) UpdateChannel(ctx context.Context, name, arn string, alter func(*Channel) error) (Channel, error) {
	return b.channelShelf().update(ctx, name, arn, alter)
}

// DeleteChannel removes a channel if its version is the given one ("" = any), else ErrVersion. Its
// connections are evicted, its presence and its undelivered messages removed.
func (b *Backplane) DeleteChannel(ctx context.Context, name, wanted string) error {
	ctx, cancel := deadline(ctx, requestWait)
	defer cancel()
	c, err := b.channelShelf().remove(ctx, name, wanted)
	if err != nil {
		return fmt.Errorf("delete channel %s: %w", name, err)
	}
	if err := b.clearPresence(ctx, c.ID); err != nil {
		return fmt.Errorf("clear presence of channel %s: %w", name, err)
	}
	if err := b.boxes.stream.Purge(ctx, jetstream.WithPurgeSubject("undelivered."+token(c.ID)+".>")); err != nil {
		return fmt.Errorf("clear undelivered messages of channel %s: %w", name, err)
	}
	return nil
}
