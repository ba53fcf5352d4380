//go:build e2e && linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"github.com/heliograph-rtc/heliograph/bench/nat"
	"path/filepath"
	"testing"
	"time"
)

// backWithin is how long a device may take to have its channel again under a new address. A socket whose
// address is gone says nothing: without the kernel's word it would be found out by the ping's deadline.
const backWithin = 5 * time.Second

// TestAddressChange takes the device's only address away and gives it another, as a DHCP server does, in a
// network namespace of its own.
func TestAddressChange(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), natWithin)
	defer cancel()
	network := newNetwork(t, ctx, nat.Open, nat.Open)
	programs := buildPrograms(t, ctx, "heliograph-server", "heliograph-device", "heliograph-load")
	device, viewer := network.Sides[0], network.Sides[1]
	env := publicService(t, network, programs)
	inNamespace(t, device.Host, env, filepath.Join(programs, "heliograph-device"), "--channel", channelOf(nat.Open), "--admin", natAdmin)
	awaitDoor(t, device.Host, "device", natAdmin)
	watch := func() {
		t.Helper()
		row, err := watchThroughNAT(ctx, viewer, nat.Open, env, filepath.Join(programs, "heliograph-load"))
		if err != nil || !row.ok {
			t.Fatalf("no picture: %s, %v", row.fault, err)
		}
	}
	watch()

	next := device.Public.Next().Next().Next()
	changed := time.Now()
	if err := device.Host.IP(ctx, fmt.Sprintf("addr del %s/24 dev eth0", device.Public), fmt.Sprintf("addr add %s/24 dev eth0", next)); err != nil {
		t.Fatal(err)
	}
	eventually(t, backWithin, "the service hears the device at its new address", func() error { return masterAt(network, next.String()) })
	t.Logf("channel open under the new address after %v", time.Since(changed).Round(time.Millisecond))
	watch()
}

// masterAt objects unless the service has a connection from there.
func masterAt(network *nat.Network, address string) error {
	out, err := network.Public.Command(context.Background(), "ss", "-Htn", "state", "established", "dst", address).Output()
	if err == nil && len(out) == 0 {
		err = errors.New("no connection from " + address)
	}
	return err
}
