// Node leases: a key per node in the bucket "nodes" with a time to live, renewed by a timer. A seat
// counts only while its node has one. Owner: the lease; its timer callback does not overlap itself,
// because it arms the next one at its end.

package backplane

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

const renewalsPerLease = 3

type lease struct {
	b    *Backplane
	life time.Duration

	mu       sync.Mutex // held during a renewal, so that giveBack waits for it
	revision uint64
	timer    *time.Timer
	ended    bool
}

func (b *Backplane) takeLease(ctx context.Context, life time.Duration) (*lease, error) {
	l := &lease{b: b, life: life}
	var err error
	if l.revision, err = l.write(ctx, 0); err != nil {
		return nil, fmt.Errorf("take node lease: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(life/renewalsPerLease, l.renew)
	return l, nil
}

func (l *lease) write(ctx context.Context, expected uint64) (uint64, error) {
	return l.b.nodes.put(ctx, l.b.node, seal(l.b.node, []byte(time.Now().UTC().Format(time.RFC3339))), expected, l.life)
}

// renew writes the lease again. When it had expired, other nodes may have given our seats away:
// every attachment looks after its own.
func (l *lease) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.life/renewalsPerLease)
	defer cancel()
	revision, err := l.write(ctx, l.revision)
	if errors.Is(err, errConflict) {
		l.b.count.leasesLost.Add(1)
		if _, l.revision, err = l.b.nodes.get(ctx, l.b.node); err == nil || errors.Is(err, errAbsent) {
			revision, err = l.write(ctx, l.revision)
		}
		l.b.resume("the node lease had expired")
	}
	if err == nil {
		l.revision = revision
	} else {
		l.b.log.Warn("renew node lease", zap.Error(err))
	}
	l.timer.Reset(l.life / renewalsPerLease)
}

// giveBack frees the seats of this node at once.
func (l *lease) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	l.timer.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	if err := l.b.nodes.remove(ctx, l.b.node, l.revision, leaseMin); err != nil {
		l.b.log.Debug("give back node lease", zap.Error(err))
	}
}

// alive says which of the nodes have a lease. This node always has: what it does not know of its own
// lease it learns in renew.
func (b *Backplane) alive(ctx context.Context, seats []Seat) (map[string]bool, error) {
	alive := map[string]bool{b.node: true}
	for _, s := range seats {
		if _, known := alive[s.Node]; known {
			continue
		}
		_, _, err := b.nodes.get(ctx, s.Node)
		if err != nil && !errors.Is(err, errAbsent) {
			return nil, err
		}
		alive[s.Node] = err == nil
	}
	return alive, nil
}
