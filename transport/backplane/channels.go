// Channels: one record per name in the bucket "channels". The record's revision, shown as the
// version, is the check of every change. Owner: Backplane; writing serialises changes on this node,
// compare-and-set those between nodes.

package backplane

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	versionChars   = 20             // kvs-protocol.md 1.3: opaque, [a-zA-Z0-9], AWS shows 20
	markerLifetime = 24 * time.Hour // of a deleted channel's marker; longer than any client's cache
)

// Channel is a signaling channel. ID and Version are set by CreateChannel: ID is unique among all
// channels that ever were (the ARN holds the creation time), Version changes with each change.
type Channel struct {
	ID, ARN, Name, Type, Status, Version string
	Created                              time.Time
	MessageTTL                           time.Duration
	Tags                                 map[string]string
}

// CreateChannel stores a new channel, or gives ErrExists. Name and ARN are required; ID defaults to
// a digest of the ARN.
func (b *Backplane) CreateChannel(ctx context.Context, c Channel) (Channel, error) {
	if c.Name == "" || c.ARN == "" {
		return Channel{}, errors.New("create channel: name and ARN are required")
	}
	if c.ID == "" {
		digest := sha256.Sum256([]byte(c.ARN))
		c.ID = hex.EncodeToString(digest[:16])
	}
	c.Version = ""
	value, err := json.Marshal(c)
	if err != nil {
		return Channel{}, fmt.Errorf("encode channel: %w", err)
	}
	ctx, cancel := deadline(ctx, requestWait)
	defer cancel()
	b.writing.Lock()
	defer b.writing.Unlock()
	key := token(c.Name)
	_, revision, err := b.channels.get(ctx, key)
	if err == nil {
		return Channel{}, fmt.Errorf("create channel %s: %w", c.Name, ErrExists)
	} else if !errors.Is(err, errAbsent) {
		return Channel{}, fmt.Errorf("create channel: %w", err)
	}
	err = b.change(key, checksum(key, value), func() error {
		revision, err = b.channels.put(ctx, key, seal(key, value), revision, 0)
		return err
	})
	if errors.Is(err, errConflict) {
		err = ErrExists // another node was first
	}
	if err != nil {
		return Channel{}, fmt.Errorf("create channel %s: %w", c.Name, err)
	}
	c.Version = version(c.ID, revision)
	return c, nil
}

// Channel reads one channel, or gives ErrNotFound.
func (b *Backplane) Channel(ctx context.Context, name string) (Channel, error) {
	c, _, err := b.channel(ctx, name)
	if err != nil {
		return Channel{}, fmt.Errorf("read channel %s: %w", name, err)
	}
	return c, nil
}

func (b *Backplane) channel(ctx context.Context, name string) (Channel, uint64, error) {
	ctx, cancel := deadline(ctx, requestWait)
	defer cancel()
	value, revision, err := b.channels.get(ctx, token(name))
	if errors.Is(err, errAbsent) {
		return Channel{}, 0, ErrNotFound
	}
	if err != nil {
		return Channel{}, 0, err
	}
	c, err := decodeChannel(value, revision)
	return c, revision, err
}

// Channels lists all channels, sorted by name.
func (b *Backplane) Channels(ctx context.Context) ([]Channel, error) {
	ctx, cancel := deadline(ctx, requestWait)
	defer cancel()
	var list []Channel
	err := b.channels.each(ctx, b.channels.prefix+">", func(m *jetstream.RawStreamMsg) (bool, error) {
		if m.Header.Get(operationHeader) != "" {
			return true, nil
		}
		value, err := unseal(strings.TrimPrefix(m.Subject, b.channels.prefix), m.Data)
		if err != nil {
			return false, err
		}
		c, err := decodeChannel(value, m.Sequence)
		list = append(list, c)
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("list channels: %w", err)
	}
	slices.SortFunc(list, func(a, b Channel) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// DeleteChannel removes a channel if its version is the given one ("" = any), else ErrVersion. Its
// connections are evicted, its presence and its undelivered messages removed.
func (b *Backplane) DeleteChannel(ctx context.Context, name, wanted string) error {
	ctx, cancel := deadline(ctx, requestWait)
	defer cancel()
	c, err := b.removeChannel(ctx, name, wanted)
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

func (b *Backplane) removeChannel(ctx context.Context, name, wanted string) (Channel, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	c, revision, err := b.channel(ctx, name)
	if err != nil {
		return c, err
	}
	if wanted != "" && wanted != c.Version {
		return c, ErrVersion
	}
	key := token(name)
	err = b.change(key, absentSum, func() error { return b.channels.remove(ctx, key, revision, markerLifetime) })
	if errors.Is(err, errConflict) {
		err = ErrVersion
	}
	return c, err
}

func decodeChannel(value []byte, revision uint64) (Channel, error) {
	var c Channel
	if err := json.Unmarshal(value, &c); err != nil {
		return c, fmt.Errorf("decode channel: %w", err)
	}
	c.Version = version(c.ID, revision)
	return c, nil
}

func version(id string, revision uint64) string {
	digest := sha256.Sum256([]byte(id + " " + strconv.FormatUint(revision, 10)))
	return hex.EncodeToString(digest[:versionChars/2])
}
