package rtc

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestInterfaceFilter(t *testing.T) {
	for _, c := range []struct {
		filter InterfaceFilter
		takes  []string
		leaves []string
	}{
		{nil, []string{"eth0", "docker0"}, nil},
		{InterfaceFilter{"eth0", "wlan*"}, []string{"eth0", "wlan1"}, []string{"eth1", "docker0"}},
		{InterfaceFilter{"!docker*", "!veth*"}, []string{"eth0"}, []string{"docker0", "veth12"}},
		{InterfaceFilter{"eth*", "!eth1"}, []string{"eth0"}, []string{"eth1", "lo"}},
		{InterfaceFilter{"!eth1", "eth*"}, []string{"eth0"}, []string{"eth1", "lo"}},
	} {
		if err := c.filter.Check(); err != nil {
			t.Error(err)
		}
		for _, name := range c.takes {
			if !c.filter.takes(name) {
				t.Errorf("%v leaves %s", c.filter, name)
			}
		}
		for _, name := range c.leaves {
			if c.filter.takes(name) {
				t.Errorf("%v takes %s", c.filter, name)
			}
		}
	}
	for _, bad := range []InterfaceFilter{{""}, {"!"}, {"eth["}} {
		if bad.Check() == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestSocketsFollowTheInterfaceFilter: a new filter decides for new viewers, and closes nothing that
// others may use.
func TestSocketsFollowTheInterfaceFilter(t *testing.T) {
	e, err := NewEngine(EngineConfig{IncludeLoopback: true, Interfaces: InterfaceFilter{"lo*"}, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	lo := netip.MustParseAddr("127.0.0.1")
	if !slices.Contains(e.sockets.locals(), lo) || slices.ContainsFunc(e.sockets.locals(), func(a netip.Addr) bool { return !a.IsLoopback() }) {
		t.Fatalf("sockets on %v, want loopback alone", e.sockets.locals())
	}
	if e.UseInterfaces(InterfaceFilter{"["}) == nil {
		t.Fatal("a bad pattern is taken")
	}
	if err := e.UseInterfaces(InterfaceFilter{"!lo*"}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for _, later := range []time.Duration{time.Second, 2 * addressGoneMax, 4 * addressGoneMax} {
		if err := e.sockets.refresh(start.Add(later)); err != nil {
			t.Fatal(err)
		}
		if slices.Contains(e.sockets.locals(), lo) || e.sockets.open[lo] == nil {
			t.Fatalf("after %v: offered %v, open %v", later, e.sockets.locals(), e.sockets.open)
		}
	}
	if err := e.UseInterfaces(nil); err != nil {
		t.Fatal(err)
	}
	if err := e.sockets.refresh(start.Add(5 * addressGoneMax)); err != nil || !slices.Contains(e.sockets.locals(), lo) {
		t.Fatalf("offered %v, %v", e.sockets.locals(), err)
	}
}
