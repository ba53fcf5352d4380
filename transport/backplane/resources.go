// Resources: what the control plane keeps. Each kind has a bucket with one record per name; the
// record's revision is the check of every change, the edition in it is the version that clients see.
// Every value carries a checksum, and every key stands in the manifest.
//
// The edition grows with what a client updates. Tags and mappings leave it alone: a client that read
// a version and then tagged what it describes must be able to update it.
//
// Owner: Backplane; writing serialises changes on this node, compare-and-set those between nodes.

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
	markerLifetime = 24 * time.Hour // of a deleted resource's marker where no start reads the blocks afresh
)

// Resource is what all kinds have in common. ID and Version are set by the store: ID is unique among
// all resources that ever were (the ARN holds the creation time).
type Resource struct {
	ID, ARN, Name, Status string
	Version               string `json:"-"`
	Edition               uint64 `json:",omitempty"`
	Created               time.Time
	Changed               time.Time // when Status was set
	Tags                  map[string]string
}

// kept is a pointer to a record that begins with a Resource.
type kept[R any] interface {
	*R
	resource() *Resource
}

func (r *Resource) resource() *Resource { return r }

// shelf is the store of one kind.
type shelf[R any, P kept[R]] struct {
	b    *Backplane
	kind shelfKind
}

// shelfKind is what is known of a kind before its records are.
type shelfKind struct {
	name   string // in errors
	bucket *bucket
	mark   string // precedes the key in the manifest and under the checksum
}

// kinds lists the shelves. Channels came first: their keys have no mark.
func (b *Backplane) kinds() []shelfKind {
	return []shelfKind{{"channel", &b.channels, ""}, {"stream", &b.streams, "streams/"}}
}

// prefix is of the kind's subjects, known before its bucket is open.
func (k shelfKind) prefix() string { return "$KV." + k.name + "s." }

func (b *Backplane) channelShelf() shelf[Channel, *Channel] {
	return shelf[Channel, *Channel]{b, b.kinds()[0]}
}

func (b *Backplane) streamShelf() shelf[Stream, *Stream] {
	return shelf[Stream, *Stream]{b, b.kinds()[1]}
}

// create stores a new resource, or gives ErrExists; ErrFull when there are max of the kind already.
func (s shelf[R, P]) create(ctx context.Context, made R, max int) (R, error) {
	r := P(&made).resource()
	if r.Name == "" || r.ARN == "" {
		return made, fmt.Errorf("create %s: name and ARN are required", s.kind.name)
	}
	if r.ID == "" {
		digest := sha256.Sum256([]byte(r.ARN))
		r.ID = hex.EncodeToString(digest[:16])
	}
	ctx, cancel := deadline(ctx, requestWait)
	defer cancel()
	s.b.writing.Lock()
	defer s.b.writing.Unlock()
	_, revision, err := s.kind.bucket.last(ctx, token(r.Name))
	if err == nil {
		err = ErrExists
	} else if errors.Is(err, errAbsent) {
		err = s.room(ctx, max)
	}
	if err == nil {
		r.Edition = revision // beyond every edition of a predecessor with the same ARN
		err = s.write(ctx, &made, revision)
	}
	if errors.Is(err, errConflict) {
		err = ErrExists // another node was first
	}
	if err != nil {
		return made, fmt.Errorf("create %s %s: %w", s.kind.name, r.Name, err)
	}
	return made, nil
}

// room counts only when there may be too many: the bucket's own number includes the deleted ones.
func (s shelf[R, P]) room(ctx context.Context, max int) error {
	info, err := s.kind.bucket.stream.Info(ctx)
	if err != nil || info.State.Msgs < uint64(max) {
		return err
	}
	all, err := s.list(ctx)
	if err == nil && len(all) >= max {
		err = ErrFull
	}
	return err
}

// write puts a record in place of the revision.
func (s shelf[R, P]) write(ctx context.Context, made *R, revision uint64) error {
	r := P(made).resource()
	r.Created, r.Changed = r.Created.UTC(), r.Changed.UTC()
	value, err := json.Marshal(made)
	if err != nil {
		return fmt.Errorf("encode %s: %w", s.kind.name, err)
	}
	key := token(r.Name)
	marked := s.kind.mark + key
	err = s.b.change(marked, checksum(marked, value), func() error {
		_, err := s.kind.bucket.put(ctx, key, seal(marked, value), revision, 0)
		return err
	})
	r.Version = r.version()
	return err
}

// get reads one resource, or gives ErrNotFound.
func (s shelf[R, P]) get(ctx context.Context, name string) (R, error) {
	found, _, err := s.read(ctx, name)
	if err != nil {
		return found, fmt.Errorf("read %s %s: %w", s.kind.name, name, err)
	}
	return found, nil
}

func (s shelf[R, P]) read(ctx context.Context, name string) (found R, revision uint64, err error) {
	ctx, cancel := deadline(ctx, requestWait)
	defer cancel()
	sealed, revision, err := s.kind.bucket.last(ctx, token(name))
	if errors.Is(err, errAbsent) {
		return found, 0, ErrNotFound
	}
	if err != nil {
		return found, 0, err
	}
	found, err = s.decode(token(name), sealed)
	return found, revision, err
}

func (s shelf[R, P]) decode(key string, sealed []byte) (found R, err error) {
	value, err := unseal(s.kind.mark+key, sealed)
	if err != nil {
		return found, err
	}
	if err := json.Unmarshal(value, &found); err != nil {
		return found, fmt.Errorf("decode %s: %w", s.kind.name, err)
	}
	r := P(&found).resource()
	r.Version = r.version()
	return found, nil
}

// list gives all of the kind, sorted by name.
func (s shelf[R, P]) list(ctx context.Context) ([]R, error) {
	ctx, cancel := deadline(ctx, requestWait)
	defer cancel()
	prefix := s.kind.bucket.prefix
	var all []R
	err := s.kind.bucket.each(ctx, prefix+">", func(m *jetstream.RawStreamMsg) (bool, error) {
		if m.Header.Get(operationHeader) != "" {
			return true, nil
		}
		found, err := s.decode(strings.TrimPrefix(m.Subject, prefix), m.Data)
		all = append(all, found)
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("list %ss: %w", s.kind.name, err)
	}
	slices.SortFunc(all, func(a, b R) int {
		return strings.Compare(P(&a).resource().Name, P(&b).resource().Name)
	})
	return all, nil
}

// update changes the resource of that ARN; alter gets a copy, and its error stops the change. When
// another node came between, alter is called again.
func (s shelf[R, P]) update(ctx context.Context, name, arn string, alter func(P) error) (R, error) {
	ctx, cancel := deadline(ctx, requestWait)
	defer cancel()
	s.b.writing.Lock()
	defer s.b.writing.Unlock()
	for {
		found, revision, err := s.read(ctx, name)
		if err == nil && P(&found).resource().ARN != arn {
			err = ErrNotFound
		}
		if err == nil {
			err = alter(&found)
		}
		if err == nil {
			err = s.write(ctx, &found, revision)
		}
		if errors.Is(err, errConflict) {
			s.b.count.conflicts.Add(1)
			continue
		}
		if err != nil {
			return found, fmt.Errorf("update %s %s: %w", s.kind.name, name, err)
		}
		return found, nil
	}
}

// remove takes a resource out if its version is the given one ("" = any), else ErrVersion.
func (s shelf[R, P]) remove(ctx context.Context, name, wanted string) (R, error) {
	s.b.writing.Lock()
	defer s.b.writing.Unlock()
	found, revision, err := s.read(ctx, name)
	if err != nil {
		return found, err
	}
	if wanted != "" && wanted != P(&found).resource().Version {
		return found, ErrVersion
	}
	// Measured (JetStream 2.15.2): when the marker of a value that was updated before expires, a start
	// that reads the blocks afresh, as ours do, finds the value of before the update again.
	lifetime := markerLifetime
	if s.b.manifest != nil {
		lifetime = 0
	}
	key := token(name)
	err = s.b.change(s.kind.mark+key, absentSum, func() error {
		return s.kind.bucket.remove(ctx, key, revision, lifetime)
	})
	if errors.Is(err, errConflict) {
		err = ErrVersion
	}
	return found, err
}

func (r *Resource) version() string {
	digest := sha256.Sum256([]byte(r.ID + " " + strconv.FormatUint(r.Edition, 10)))
	return hex.EncodeToString(digest[:versionChars/2])
}
