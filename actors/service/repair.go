package service

import (
	"context"

	"github.com/heliograph-rtc/heliograph/transport/backplane"
)

// RepairStore examines the store of a data directory whose service is stopped; with act it saves what
// is whole into a new one and sets the damaged one aside.
func RepairStore(ctx context.Context, dir string, act bool) (backplane.Repaired, error) {
	return backplane.Repair(ctx, storeDir(dir), act)
}
