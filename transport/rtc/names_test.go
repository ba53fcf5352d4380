package rtc

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pion/mdns/v2"
	"golang.org/x/net/ipv4"

	"github.com/heliograph-rtc/heliograph/messages"
)

const namedCandidate = "candidate:1 1 udp 2113937151 4f1d0a7e-heliograph-test.local 50000 typ host generation 0"

func TestNamed(t *testing.T) {
	for line, want := range map[string]bool{
		namedCandidate: true,
		strings.Replace(namedCandidate, "4f1d0a7e-heliograph-test.local", "192.0.2.1", 1): false,
		strings.Replace(namedCandidate, "typ host", "typ srflx", 1):                       false,
		"candidate:1 1 udp": false,
		"":                  false,
	} {
		if got := Named(messages.Candidate{Candidate: line}); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}

func loopback(t *testing.T) net.Interface {
	all, err := net.Interfaces()
	must(t, err)
	i := slices.IndexFunc(all, func(i net.Interface) bool { return i.Flags&net.FlagLoopback != 0 })
	if i < 0 {
		t.Fatal("this machine has no loopback interface")
	}
	return all[i]
}

func TestResolveFindsTheAddressOfAName(t *testing.T) {
	if emulator := os.Getenv("TEST_EMULATOR"); emulator != "" {
		t.Skip("multicast groups are not to be joined under " + emulator)
	}
	lo := loopback(t)
	conn, err := listenMulticast("udp4", mdns.DefaultAddressIPv4)
	must(t, err)
	responder, err := mdns.NewServer(ipv4.NewPacketConn(conn), nil, mdns.WithLocalNames("4f1d0a7e-heliograph-test.local"),
		mdns.WithLocalAddress(net.IPv4(127, 0, 0, 1)), mdns.WithInterfaces(lo), mdns.WithIncludeLoopback(true))
	must(t, err)
	defer responder.Close()
	e := newEngine(t, EngineConfig{Interfaces: InterfaceFilter{lo.Name}})
	for range 2 {
		c, err := e.Resolve(t.Context(), messages.Candidate{Candidate: namedCandidate})
		must(t, err)
		if want := strings.Replace(namedCandidate, "4f1d0a7e-heliograph-test.local", "127.0.0.1", 1); c.Candidate != want {
			t.Fatalf("got  %s\nwant %s", c.Candidate, want)
		}
	}
	e.names.locals = nil // as after the machine's addresses have changed
	_, err = e.Resolve(t.Context(), messages.Candidate{Candidate: namedCandidate})
	must(t, err)
}

func TestNamesOfAnOfferComeWithTheirAddresses(t *testing.T) {
	line := "a=" + namedCandidate + "\r\na=" + strings.Replace(namedCandidate, "4f1d0a7e-heliograph-test.local", "192.0.2.1", 1)
	o, err := readOffer(strings.Replace(browserOffer(), "a=mid:1", "a=mid:1\r\n"+line, 1))
	must(t, err)
	if len(o.named) != 1 || o.named[0].Candidate != namedCandidate || *o.named[0].SDPMid != "1" {
		t.Fatalf("named %+v", o.named)
	}
	if trimmed := o.trimmed(); strings.Contains(trimmed, ".local") || !strings.Contains(trimmed, "192.0.2.1 50000 typ host") {
		t.Fatalf("pion gets %s", trimmed)
	}
	e := newEngine(t, EngineConfig{})
	p, _, err := e.Answer(t.Context(), PeerConfig{RelayOnly: true}, o.sdp)
	must(t, err)
	defer func() { must(t, p.Close()) }()
	if len(p.Named()) != 1 {
		t.Fatalf("the peer has %+v", p.Named())
	}
}
