package addresses

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCurrentHasLoopback(t *testing.T) {
	now, err := Current()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(now, netip.MustParseAddr("127.0.0.1")) || !slices.IsSortedFunc(now, netip.Addr.Compare) {
		t.Fatalf("addresses %v", now)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if err := Watch(ctx, func([]netip.Addr) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Fatalf("ended with %v", err)
	}
}
