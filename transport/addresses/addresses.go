// Package addresses tells which network addresses the machine has, and when they change.
package addresses

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// settleTime is how long a change may go on until it is told as one: an interface that comes up gets
// several addresses, each an event of its own.
const settleTime = 200 * time.Millisecond

// Current lists the machine's addresses, in order.
func Current() ([]netip.Addr, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list network addresses: %w", err)
	}
	var found []netip.Addr
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			found = append(found, prefix.Addr().Unmap())
		}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return found, nil
}
