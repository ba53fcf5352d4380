//go:build e2e && linux

package e2e

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"testing"

	"github.com/heliograph-rtc/heliograph/bench/nat"
)

// TestIPv6Alone: service, device and viewer where no interface has an IPv4 address.
func TestIPv6Alone(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), natWithin)
	defer cancel()
	network := newNetwork(t, ctx, nat.Open, nat.Open)
	if err := network.IPv6Alone(ctx); err != nil {
		t.Fatal(err)
	}
	programs := buildPrograms(t, ctx, "heliograph-server", "heliograph-device", "heliograph-load")
	home := "[" + nat.ServerAddress6.String() + "]"
	data := t.TempDir()
	inNamespace(t, network.Public, []string{"HELIOGRAPH_WHEP_TOKEN=" + rand.Text()}, filepath.Join(programs, "heliograph-server"), "--data-dir", data,
		"--public", home+":8443", "--local", natLocalDoor, "--relay-udp", home+":3478", "--relay-tcp", home+":3478")
	awaitDoor(t, network.Public, "service", natLocalDoor)
	env := sourced(t, filepath.Join(data, "env"))
	device, viewer := network.Sides[0], network.Sides[1]
	inNamespace(t, device.Host, env, filepath.Join(programs, "heliograph-device"), "--channel", channelOf(nat.Open), "--admin", natAdmin)
	awaitDoor(t, device.Host, "device", natAdmin)
	row, err := watchThroughNAT(ctx, viewer, nat.Open, env, filepath.Join(programs, "heliograph-load"))
	if err != nil || !row.ok || row.pair != "host/host" {
		t.Fatalf("%+v, %v", row, err)
	}
	t.Logf("first picture after %v", row.picture)
}
