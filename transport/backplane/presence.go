// Presence: one record per channel in the bucket "presence", changed by compare-and-set, so that
// there is one master and a bounded number of viewers across all nodes; the newest connection of a
// client wins. Owner: the bucket; a node holds nothing but the revision at which each of its own
// connections joined.
//
// Flow of Join: read the record, leave out the seats of nodes without a lease and the one that is
// replaced, add ours, write if unchanged, then publish "evicted before revision N" on the seat's
// subject. Every attachment there that joined earlier gives way, also one whose seat the record had
// lost. Revisions make two concurrent joins agree on which of them is the newer.

package backplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

const (
	// Roles, as kvs-protocol.md 1.3 names them.
	RoleMaster = "MASTER"
	RoleViewer = "VIEWER"

	// RoleStorage is the service's own seat: its storage session talks to master and viewers.
	RoleStorage = "STORAGE"

	conflictWaitMax   = 2 * time.Millisecond
	tombstoneLifetime = time.Hour // a connection on its way into a deleted channel is refused that long
)

// Seat is one connection's place in a channel.
type Seat struct {
	Channel    string // channel ID
	Role       string // RoleMaster, RoleViewer or RoleStorage
	ClientID   string // empty for the master alone
	Connection string // unique among all connections of all nodes
	Node       string // set by Join
	Since      time.Time
}

// client is the seat's address: "" for the master.
func (s Seat) client() string {
	if s.Role == RoleMaster {
		return ""
	}
	return s.ClientID
}

func (s Seat) complete() bool {
	switch s.Role {
	case RoleMaster:
		return s.Connection != ""
	case RoleViewer, RoleStorage:
		return s.Connection != "" && s.ClientID != ""
	}
	return false
}

type record struct {
	Deleted bool   `json:",omitempty"`
	Seats   []Seat `json:",omitempty"`
}

// Join takes a seat. The seat of the same client (or of the older master) is replaced, and its
// connection gets an Envelope of Kind Evicted. A viewer beyond viewersMax gets ErrFull, a connection
// to a deleted channel ErrNotFound. Each Join needs its Leave, also after an eviction.
func (b *Backplane) Join(ctx context.Context, seat Seat, viewersMax int) error {
	if !seat.complete() {
		return errors.New("join channel: a seat needs a role, a connection and, but for the master, a client id")
	}
	seat.Node = b.node
	if seat.Since.IsZero() {
		seat.Since = time.Now()
	}
	seat.Since = seat.Since.UTC()
	revision, err := b.changePresence(ctx, seat.Channel, func(r *record, live []Seat) error {
		if r.Deleted {
			return ErrNotFound
		}
		live = slices.DeleteFunc(live, func(s Seat) bool { return s.client() == seat.client() })
		viewers := 0
		for _, s := range live {
			if s.Role == RoleViewer {
				viewers++
			}
		}
		if seat.Role == RoleViewer && viewers >= viewersMax {
			return ErrFull
		}
		r.Seats = append(live, seat)
		return nil
	})
	if err != nil {
		return fmt.Errorf("join channel: %w", err)
	}
	b.mu.Lock()
	b.joined[seat.Connection] = revision
	b.mu.Unlock()
	b.evict(seat, revision)
	return nil
}

// Leave gives a seat back, if it is still this connection's.
func (b *Backplane) Leave(ctx context.Context, seat Seat) error {
	b.mu.Lock()
	delete(b.joined, seat.Connection)
	b.mu.Unlock()
	_, err := b.changePresence(ctx, seat.Channel, func(r *record, live []Seat) error {
		kept := slices.DeleteFunc(live, func(s Seat) bool { return s.Connection == seat.Connection })
		if len(kept) == len(r.Seats) {
			return errUnchanged
		}
		r.Seats = kept
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return fmt.Errorf("leave channel: %w", err)
	}
	return nil
}

// Seats are the seats whose nodes live, in the order of joining.
func (b *Backplane) Seats(ctx context.Context, channelID string) ([]Seat, error) {
	ctx, cancel := deadline(ctx, requestWait)
	defer cancel()
	_, live, _, err := b.readPresence(ctx, token(channelID))
	if err != nil {
		return nil, fmt.Errorf("read presence: %w", err)
	}
	return live, nil
}

var errUnchanged = errors.New("nothing to change")

func (b *Backplane) readPresence(ctx context.Context, key string) (r record, live []Seat, revision uint64, err error) {
	value, revision, err := b.presence.get(ctx, key)
	if errors.Is(err, errAbsent) {
		return record{}, nil, revision, nil
	}
	if err != nil {
		return record{}, nil, 0, err
	}
	if err = json.Unmarshal(value, &r); err != nil {
		return record{}, nil, 0, fmt.Errorf("decode presence: %w", err)
	}
	alive, err := b.alive(ctx, r.Seats)
	if err != nil {
		return record{}, nil, 0, err
	}
	for _, s := range r.Seats {
		if alive[s.Node] {
			live = append(live, s)
		}
	}
	return r, live, revision, nil
}

// changePresence repeats read, change and write until nobody came between. change sees the record as
// it is and the seats that live.
func (b *Backplane) changePresence(ctx context.Context, channel string, change func(r *record, live []Seat) error) (uint64, error) {
	ctx, cancel := deadline(ctx, requestWait)
	defer cancel()
	key := token(channel)
	for {
		r, live, revision, err := b.readPresence(ctx, key)
		if err != nil {
			return 0, err
		}
		if err = change(&r, live); err != nil {
			return 0, err
		}
		value, err := json.Marshal(r)
		if err != nil {
			return 0, fmt.Errorf("encode presence: %w", err)
		}
		var ttl time.Duration
		if r.Deleted {
			ttl = tombstoneLifetime
		}
		revision, err = b.presence.put(ctx, key, seal(key, value), revision, ttl)
		if !errors.Is(err, errConflict) {
			return revision, err
		}
		b.count.conflicts.Add(1)
		select { // let the others finish; somebody always wins
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(rand.N(conflictWaitMax)):
		}
	}
}

// clearPresence evicts everybody and leaves a tombstone for those who are on their way.
func (b *Backplane) clearPresence(ctx context.Context, channel string) error {
	var evicted []Seat
	_, err := b.changePresence(ctx, channel, func(r *record, _ []Seat) error {
		evicted = r.Seats
		*r = record{Deleted: true}
		return nil
	})
	for _, s := range evicted {
		b.evict(Seat{Channel: channel, Role: s.Role, ClientID: s.ClientID}, math.MaxUint64)
	}
	return err
}

// evict tells every attachment of the seat's subject that joined before the revision to give way,
// except that of the seat's own connection.
func (b *Backplane) evict(seat Seat, revision uint64) {
	m := nats.NewMsg(liveSubject(seat.Channel, seat.client()))
	m.Header.Set(headerKind, Evicted)
	m.Header.Set(headerConnection, seat.Connection)
	m.Header.Set(headerRevision, strconv.FormatUint(revision, 10))
	if err := b.nc.PublishMsg(m); err != nil {
		b.log.Warn("publish eviction: the older connection stays until it looks after its seat", zap.Error(err))
	}
}
