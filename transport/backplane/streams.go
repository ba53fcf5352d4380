// Streams, the second kind of resource, and their mapping to channels.
//
// A channel and a stream are mapped to each other while each names the other. Each is one record
// that names one at most, so that one channel has one stream and one stream one channel, whatever two
// nodes do at the same time; a process killed between the two writes leaves them unmapped. To map:
// first the channel names the stream, then the stream takes the channel, unless it is mapped already.
//
// Owner: Backplane.

package backplane

import (
	"context"
	"errors"
	"fmt"
)

// Stream is a video stream, where a channel's media is stored.
type Stream struct {
	Resource
	Device, MediaType, KmsKeyID, Tier string
	RetentionHours                    int
	ChannelARN, ChannelName           string `json:",omitempty"` // that names it, if it still does
	Claims                            uint64 `json:",omitempty"` // counts the mappings: of two at once the second gives way
}

// CreateStream stores a new stream, or gives ErrExists; ErrFull when there are max already.
func (b *Backplane) CreateStream(ctx context.Context, s Stream, max int) (Stream, error) {
	return b.streamShelf().create(ctx, s, max)
}

// Stream reads one stream, or gives ErrNotFound.
func (b *Backplane) Stream(ctx context.Context, name string) (Stream, error) {
	return b.streamShelf().get(ctx, name)
}

// Streams lists all streams, sorted by name.
func (b *Backplane) Streams(ctx context.Context) ([]Stream, error) {
	return b.streamShelf().list(ctx)
}

// UpdateStream changes the stream of that name and ARN, else ErrNotFound. alter may be called more
// than once; its error stops the change.
func (b *Backplane) UpdateStream(ctx context.Context, name, arn string, alter func(*Stream) error) (Stream, error) {
	return b.streamShelf().update(ctx, name, arn, alter)
}

// DeleteStream removes a stream if its version is the given one ("" = any), else ErrVersion.
func (b *Backplane) DeleteStream(ctx context.Context, name, wanted string) error {
	ctx, cancel := deadline(ctx, requestWait)
	defer cancel()
	if _, err := b.streamShelf().remove(ctx, name, wanted); err != nil {
		return fmt.Errorf("delete stream %s: %w", name, err)
	}
	return nil
}

// Mapped says whether the two name each other.
func Mapped(c Channel, s Stream) bool {
	return c.Storage && c.StreamARN == s.ARN && s.ChannelARN == c.ARN
}

// MappedChannel is the channel that a stream is mapped to, or ErrNotFound.
func (b *Backplane) MappedChannel(ctx context.Context, s Stream) (Channel, error) {
	if s.ChannelName == "" {
		return Channel{}, ErrNotFound
	}
	c, err := b.Channel(ctx, s.ChannelName)
	if err == nil && !Mapped(c, s) {
		return Channel{}, ErrNotFound
	}
	return c, err
}

// MapChannel maps a channel to a stream, as they were read. A stream that is mapped to another channel gives ErrTaken,
// and the channel is left without.
func (b *Backplane) MapChannel(ctx context.Context, c Channel, s Stream) error {
	before := c
	c, err := b.UpdateChannel(ctx, c.Name, c.ARN, func(c *Channel) error {
		c.Storage, c.StreamARN = true, s.ARN
		return nil
	})
	if err != nil {
		return fmt.Errorf("map channel: %w", err)
	}
	// Not under alter: reading another channel is a request of its own, and the stream's record is
	// written only if nobody changed it since this reading.
	if other, err := b.MappedChannel(ctx, s); err == nil && other.ARN != c.ARN {
		return errors.Join(ErrTaken, b.unname(ctx, before))
	} else if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	_, err = b.UpdateStream(ctx, s.Name, s.ARN, func(now *Stream) error {
		if now.Claims != s.Claims {
			return ErrTaken
		}
		now.ChannelARN, now.ChannelName = c.ARN, c.Name
		now.Claims++
		return nil
	})
	if err != nil {
		return errors.Join(fmt.Errorf("map stream: %w", err), b.unname(ctx, before))
	}
	return nil
}

// unname gives a channel back what it named before.
func (b *Backplane) unname(ctx context.Context, before Channel) error {
	_, err := b.UpdateChannel(ctx, before.Name, before.ARN, func(c *Channel) error {
		c.Storage, c.StreamARN = before.Storage, before.StreamARN
		return nil
	})
	return err
}
