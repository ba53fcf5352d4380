// The buckets: streams laid out as NATS key-value buckets, read and written by compare-and-set, and
// the seal that every value carries. Owner: Backplane; no state beyond the handles.
//
// Channels and streams are files. Presence, leases and undelivered messages of an embedded server are memory:
// they describe sockets of this very process or live two minutes at most, and after a restart their
// senders are disconnected too. In an external cluster everything is a file, because there the
// server's restart is not ours.

package backplane

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	boxBytesMax      = 64 << 20
	duplicatesWindow = 2 * time.Minute // a store that is repeated is recognised; longer than any retry
	wrongSequence    = jetstream.JSErrCodeStreamWrongLastSequence
	wrongSequenceR3  = jetstream.JSErrCodeStreamWrongLastSequenceConstant
	operationHeader  = "KV-Operation"
	rollupHeader     = "Nats-Rollup"
)

var (
	errConflict = errors.New("changed meanwhile")
	errAbsent   = errors.New("absent")
)

// bucket is one stream; prefix precedes the key in its subjects.
type bucket struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	prefix string
}

func (b *Backplane) openBuckets(ctx context.Context, cfg Config) error {
	resources, rest := jetstream.FileStorage, jetstream.FileStorage
	if b.embedded != nil {
		rest = jetstream.MemoryStorage
		if b.manifest == nil {
			resources = jetstream.MemoryStorage
		}
	}
	base := jetstream.StreamConfig{
		Replicas: max(cfg.Replicas, 1), MaxMsgsPerSubject: 1, AllowMsgTTL: true, AllowRollup: true,
		Discard: jetstream.DiscardNew, Duplicates: duplicatesWindow,
		// A replica that lags must not answer: presence is read to be changed.
		AllowDirect: cfg.Replicas <= 1,
	}
	for _, one := range []struct {
		to      *bucket
		name    string
		storage jetstream.StorageType
	}{{&b.channels, "channels", resources}, {&b.streams, "streams", resources}, {&b.presence, "presence", rest}, {&b.nodes, "nodes", rest}} {
		config := base
		config.Name, config.Storage = "KV_"+one.name, one.storage
		config.Subjects = []string{"$KV." + one.name + ".>"}
		var err error
		if *one.to, err = b.openBucket(ctx, config, "$KV."+one.name+"."); err != nil {
			return err
		}
	}
	boxes := base
	boxes.Name, boxes.Storage, boxes.Subjects, boxes.MaxBytes = "undelivered", rest, []string{boxSubjects}, boxBytesMax
	var err error
	b.boxes, err = b.openBucket(ctx, boxes, "")
	return err
}

func (b *Backplane) openBucket(ctx context.Context, config jetstream.StreamConfig, prefix string) (bucket, error) {
	stream, err := b.js.Stream(ctx, config.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		// With one damaged file JetStream does not know the stream any more. Making it anew would
		// turn the damage into an empty store.
		for _, kind := range b.kinds() {
			if prefix == kind.prefix() && b.manifest != nil && b.manifest.holdsKeys(kind.mark) {
				return bucket{}, damage(b.manifest.dir, "the bucket of "+kind.name+"s is gone, the manifest says that it holds some")
			}
		}
		stream, err = b.js.CreateStream(ctx, config)
	}
	if err != nil {
		return bucket{}, fmt.Errorf("open bucket %s: %w", config.Name, err)
	}
	return bucket{js: b.js, stream: stream, prefix: prefix}, nil
}

// get reads a key: its value and its revision. An absent key is errAbsent; the revision is then the
// one that put must expect.
func (k bucket) get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	sealed, revision, err := k.last(ctx, key)
	if err != nil {
		return nil, revision, err
	}
	value, err = unseal(key, sealed)
	return value, revision, err
}

// last is get without a look at the seal.
func (k bucket) last(ctx context.Context, key string) (sealed []byte, revision uint64, err error) {
	m, err := k.stream.GetLastMsgForSubject(ctx, k.prefix+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, errAbsent
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", key, err)
	}
	if m.Header.Get(operationHeader) != "" {
		return nil, m.Sequence, errAbsent
	}
	return m.Data, m.Sequence, nil
}

// put writes a key if its revision is still the expected one, else errConflict. ttl 0 = for ever.
func (k bucket) put(ctx context.Context, key string, sealed []byte, expected uint64, ttl time.Duration) (uint64, error) {
	return k.publish(ctx, &nats.Msg{Subject: k.prefix + key, Header: nats.Header{}, Data: sealed}, expected, ttl)
}

// remove leaves a marker, as key-value buckets do: a marker is written and synced like a value,
// whereas the deletion of a message would be undone by a power cut.
func (k bucket) remove(ctx context.Context, key string, expected uint64, ttl time.Duration) error {
	m := nats.NewMsg(k.prefix + key)
	m.Header.Set(operationHeader, "PURGE")
	m.Header.Set(rollupHeader, "sub")
	_, err := k.publish(ctx, m, expected, ttl)
	return err
}

func (k bucket) publish(ctx context.Context, m *nats.Msg, expected uint64, ttl time.Duration) (uint64, error) {
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(expected, 10))
	if ttl > 0 {
		m.Header.Set(jetstream.MsgTTLHeader, ttlHeader(ttl))
	}
	ack, err := k.js.PublishMsg(ctx, m)
	if err == nil {
		return ack.Sequence, nil
	}
	var refused *jetstream.APIError
	if errors.As(err, &refused) && (refused.ErrorCode == wrongSequence || refused.ErrorCode == wrongSequenceR3) {
		return 0, errConflict
	}
	return 0, fmt.Errorf("write %s: %w", m.Subject, err)
}

// each visits the messages of a filter in order of their arrival, until visit says no.
func (k bucket) each(ctx context.Context, filter string, visit func(*jetstream.RawStreamMsg) (more bool, err error)) error {
	for next := uint64(1); ; {
		m, err := k.stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", filter, err)
		}
		next = m.Sequence + 1
		if more, err := visit(m); err != nil || !more {
			return err
		}
	}
}

// ttlHeader rounds up to whole seconds, which is all that JetStream keeps.
func ttlHeader(ttl time.Duration) string {
	return strconv.FormatInt(int64((ttl+time.Second-1)/time.Second), 10) + "s"
}

const sumHexBytes = 2 * sha256.Size

// seal puts a checksum over key and value in front of the value.
func seal(key string, value []byte) []byte {
	return append([]byte(checksum(key, value)+"\n"), value...)
}

func checksum(key string, value []byte) string {
	h := sha256.New()
	h.Write([]byte(key + "\n"))
	h.Write(value)
	return hex.EncodeToString(h.Sum(nil))
}

func unseal(key string, sealed []byte) ([]byte, error) {
	if len(sealed) <= sumHexBytes || sealed[sumHexBytes] != '\n' ||
		checksum(key, sealed[sumHexBytes+1:]) != string(sealed[:sumHexBytes]) {
		return nil, &DamageError{What: "the value of " + key + " does not match its checksum", Remedy: remedy}
	}
	return sealed[sumHexBytes+1:], nil
}
