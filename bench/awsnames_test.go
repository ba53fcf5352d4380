package bench

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heliograph-rtc/heliograph/actors/device"
	"github.com/heliograph-rtc/heliograph/actors/service"
	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/transport/aws"
)

// hosts is a hosts file and port forwarding in one: AWS's names on port 443 lead to the doors of a
// service on free ports. What it does not know it refuses, so that nobody calls AWS itself.
type hosts struct {
	names          []string
	tcp, udp, stun string

	mu    sync.Mutex
	asked map[string]bool // first labels
}

func (h *hosts) connectTo(network, address string) string {
	name, isHTTPS := strings.CutSuffix(address, ":443")
	for _, known := range h.names {
		if isHTTPS && name == known {
			h.mu.Lock()
			defer h.mu.Unlock()
			label, _, _ := strings.Cut(name, ".")
			h.asked[network[:3]+" "+label[:1]] = true
			switch {
			case strings.HasPrefix(label, "stun"):
				return h.stun
			case strings.HasPrefix(network, "udp"):
				return h.udp
			}
			return h.tcp
		}
	}
	if at, err := netip.ParseAddrPort(address); err == nil {
		return at.String()
	}
	return "0.0.0.0:0"
}

func (h *hosts) wasAsked(what string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[what]
}

// Our device and viewer, told nothing but a region, a CA and keys, meet at a service with AWS's
// names: control plane, m-, v- and r- hosts, TURN on 443, TURN over TLS by name. STUN does not answer:
// a device that knows UDP to work takes no TURN over TLS.
func TestAWSNamesEndToEnd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	const region = "eu-central-1"
	s, err := service.Start(ctx, service.Config{
		AWSNames: region, Public: freeLoopback, Local: freeLoopback, RelayUDP: freeLoopback, RelayTCP: service.Off,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopWithinTest(t, s.Stop) })
	stun, err := url.Parse(s.StunURL)
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.ListenPacket("udp4", freeLoopback)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	h := &hosts{
		names: strings.Fields(s.HostsLine)[1:], tcp: s.HTTPSAddr, udp: stun.Opaque, stun: silent.LocalAddr().String(), asked: map[string]bool{},
	}
	source, err := media.NewSample()
	if err != nil {
		t.Fatal(err)
	}
	keys := aws.Static(s.Credentials.AccessKeyID, s.Credentials.SecretAccessKey, "")
	d, err := device.Start(device.Config{
		Channel: "cam", Region: region, RootCAs: s.CA, ConnectTo: h.connectTo, Credentials: keys, Source: source,
		ListenUDP: freeLoopback, IncludeLoopback: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopWithinTest(t, d.Stop) })
	if err := (&World{Service: s, Device: d}).awaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	viewer, err := NewViewer(ViewerConfig{
		ClientID: "v", Channel: "cam", Region: region, RootCAs: s.CA, ConnectTo: h.connectTo, Credentials: keys,
		LoopbackOnly: true, RelayOnly: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	watching, leave := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- viewer.Run(watching) }()
	select {
	case <-viewer.Playing():
	case err := <-ended:
		t.Fatalf("the viewer ended: %v", err)
	}
	// The device gathers on while the viewer watches already.
	again := time.NewTicker(readyEvery)
	defer again.Stop()
	for !h.wasAsked("udp s") || relayed(t, s, "tls") < "1" {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("STUN asked: %t; allocations over TLS: %q", h.wasAsked("udp s"), relayed(t, s, "tls"))
		}
	}
	leave()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, what := range []string{"tcp k", "tcp m", "tcp v", "tcp r", "udp 1", "tcp 1"} {
		if !h.wasAsked(what) {
			t.Errorf("nobody went to a host of %q", what)
		}
	}
}

func stopWithinTest(t *testing.T, stop func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	if err := stop(ctx); err != nil {
		t.Error(err)
	}
}

// relayed reads how many allocations were made over a transport.
func relayed(t *testing.T, s *service.Service, over string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(s.LocalURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), `kvs_relay_allocations_total{transport="`+over+`"} `)
	count, _, _ := strings.Cut(rest, "\n")
	return count
}
