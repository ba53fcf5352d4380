package service

// The states of a channel and of a stream (kvs-protocol.md 1.3). What is stored is the last change
// and when it was made; the state follows from the clock, so that no node has to finish what another
// began. AWS does not publish how long a change takes; ours take no time unless Limits.Transition
// says so.

import (
	"context"
	"fmt"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
)

// States. A resource that is deleted is told as not found; its record may still be there.
const (
	statusCreating = "CREATING"
	statusActive   = "ACTIVE"
	statusUpdating = "UPDATING"
	statusDeleting = "DELETING"
	statusDeleted  = "DELETED"
)

func (g *registry) status(r backplane.Resource) string {
	return statusAt(r, g.limits.Transition, time.Now())
}

func statusAt(r backplane.Resource, transition time.Duration, now time.Time) string {
	switch {
	case transition > 0 && now.Sub(r.Changed) < transition:
		return r.Status
	case r.Status == statusDeleting:
		return statusDeleted
	}
	return statusActive
}

// active refuses a resource that is being created, updated or deleted.
func (g *registry) active(r backplane.Resource) error {
	if status := g.status(r); status != statusActive {
		return refuse("ResourceInUseException", "The resource is "+status+": try again when it is ACTIVE")
	}
	return nil
}

// begin starts a change of a resource that is active and has the version, when one is given.
func (g *registry) begin(r *backplane.Resource, version, status string) error {
	if err := g.active(*r); err != nil {
		return err
	}
	if version != "" && version != r.Version {
		return backplane.ErrVersion
	}
	r.Status, r.Changed = status, time.Now()
	r.Edition++
	return nil
}

// sweepDue is the timer's message: a deleted resource has had its time.
type sweepDue struct{}

func (g *registry) sweepLater() {
	if g.limits.Transition > 0 {
		g.edges.After(g.limits.Transition, &sweepDue{})
	}
}

// sweep removes the records of deleted resources, which evicts whoever is connected to a channel.
// Finding a resource does the same, so that a restart in between leaves nothing behind.
func (g *registry) sweep(ctx context.Context) (any, error) {
	channels, err := g.back.Channels(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range channels {
		_, _ = g.channel(ctx, c.ARN, "")
	}
	streams, err := g.back.Streams(ctx)
	for _, s := range streams {
		_, _ = g.stream(ctx, messages.ResourceName{ARN: s.ARN})
	}
	return nil, err
}

// arn names a resource; its creation time tells it from its predecessors (kvs-protocol.md 1.3).
func (g *registry) arn(kind, name string, created time.Time) string {
	return fmt.Sprintf("arn:aws:kinesisvideo:%s:%s:%s/%s/%013d", g.cfg.Region, g.cfg.Account, kind, name, created.UnixMilli())
}
