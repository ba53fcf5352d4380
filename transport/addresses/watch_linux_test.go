package addresses

import (
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWatchTellsOfAnAddress gives a network namespace of its own an address, and takes it away.
func TestWatchTellsOfAnAddress(t *testing.T) {
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("the command ip is not there")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the test, and its namespace with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("cannot make a network namespace: %v", err)
	}
	run := func(args ...string) {
		if out, err := exec.Command(ip, args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v\n%s", args, err, out)
		}
	}
	run("link", "set", "lo", "up")
	events, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	want := netip.MustParseAddr("192.0.2.7")
	for _, change := range []string{"add", "del"} {
		run("addr", change, want.String()+"/32", "dev", "lo")
		if err := await(t.Context(), events); err != nil {
			t.Fatal(err)
		}
		now, err := Current()
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(now, want) != (change == "add") {
			t.Fatalf("after %s: %v", change, now)
		}
	}
}
