package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/heliograph-rtc/heliograph/transport/probe"
)

// askMax bounds one STUN server's answer and one TURN allocation.
const askMax = 4 * time.Second

// network checks the ways of media.
func (e *examination) network(ctx context.Context) {
	e.reflexive(ctx)
	for _, s := range e.servers {
		for _, url := range s.URLs {
			e.turn(ctx, url, probe.Login{Username: s.Username, Password: s.Password})
		}
	}
	if len(e.servers) == 0 && e.endpoints != nil {
		e.skip("turn", "", "the service has named no TURN server")
	}
}

// reflexive asks all STUN servers from one socket, and judges the NAT by their answers. TURN servers
// answer Binding requests as well (RFC 8656 3): AWS has one STUN server and two TURN servers, enough
// to tell how a NAT maps (RFC 5780 4.3); how it filters would take a server with two addresses.
func (e *examination) reflexive(ctx context.Context) {
	urls := e.stunServers()
	if len(urls) == 0 {
		e.skip("stun", "", "no STUN server is known")
		return
	}
	var socket *probe.Socket
	var seen []probe.Sighting
	defer func() {
		if socket != nil {
			_ = socket.Close()
		}
	}()
	ask := func(ctx context.Context, at netip.AddrPort) (probe.Sighting, error) {
		if socket == nil {
			var err error
			if socket, err = probe.Open(at, netip.Addr{}); err != nil {
				return probe.Sighting{}, err
			}
		}
		s, err := socket.Ask(ctx, at)
		if err == nil {
			seen = append(seen, s)
		}
		return s, err
	}
	for _, url := range urls {
		e.check(ctx, url, "", askMax, func(ctx context.Context) finding { return stun(ctx, url, ask) })
	}
	for _, at := range e.further(ctx, seen) {
		asking, cancel := context.WithTimeout(ctx, askMax)
		_, _ = ask(asking, at) // one that does not answer tells nothing
		cancel()
	}
	if len(seen) > 0 {
		e.check(ctx, "nat", "", askMax, func(context.Context) finding { return nat(socket, seen) })
	}
}

func stun(ctx context.Context, url string, ask func(context.Context, netip.AddrPort) (probe.Sighting, error)) finding {
	server, err := probe.ParseServer(url)
	if err != nil {
		return failed(err, "write it as stun:host:port")
	}
	found, err := probe.Resolve(ctx, server.Host)
	if err != nil {
		return failed(err, "check this machine's name server")
	}
	s, err := ask(ctx, netip.AddrPortFrom(found[0], server.Port))
	if err != nil {
		return failed(err, fmt.Sprintf("let UDP out to port %d; without it viewers connect through TURN over TLS at best", server.Port))
	}
	return finding{detail: fmt.Sprintf("seen as %s", s.Mapped)}
}

// further are more addresses that answer Binding requests: a server's other one, and the TURN servers.
func (e *examination) further(ctx context.Context, seen []probe.Sighting) []netip.AddrPort {
	asked := map[netip.AddrPort]bool{}
	for _, s := range seen {
		asked[s.Server] = true
	}
	var more []netip.AddrPort
	add := func(at netip.AddrPort) {
		if at.IsValid() && !asked[at] {
			asked[at], more = true, append(more, at)
		}
	}
	for _, s := range seen {
		add(s.Other)
	}
	for _, s := range e.servers {
		for _, url := range s.URLs {
			server, err := probe.ParseServer(url)
			if err != nil || server.Transport() != "UDP" {
				continue
			}
			if found, err := probe.Resolve(ctx, server.Host); err == nil {
				add(netip.AddrPortFrom(found[0], server.Port))
			}
		}
	}
	return more
}

func nat(socket *probe.Socket, seen []probe.Sighting) finding {
	local, err := socket.From(seen[0].Server)
	if err != nil {
		return failed(err, "")
	}
	switch probe.MappingOf(local, seen) {
	case probe.NoNAT:
		return finding{detail: "none on the way to the servers: they see the socket's own address"}
	case probe.MappingIndependent:
		return finding{detail: fmt.Sprintf("mapping is endpoint-independent, by %d servers: viewers reach the device directly, but for those behind a symmetric NAT", len(seen))}
	case probe.MappingDependent:
		return finding{Warn, "mapping depends on the address (symmetric NAT): most viewers behind NATs connect through TURN",
			"forward a UDP port and name it with --listen-udp, or leave it to TURN"}
	}
	return finding{Warn, "there is a NAT; one server's answer does not tell how it maps", "name a second server with --nat-server host:port"}
}

// turn has an allocation made and freed.
func (e *examination) turn(ctx context.Context, url string, login probe.Login) {
	server, err := probe.ParseServer(url)
	if err != nil {
		e.check(ctx, "turn "+url, "", askMax, func(context.Context) finding { return failed(err, "the service named a URL that is none") })
		return
	}
	name := fmt.Sprintf("turn %s %s:%d", server.Transport(), server.Host, server.Port)
	if server.Transport() == "DTLS" {
		e.skip(name, "", "the device takes UDP, TCP and TLS")
		return
	}
	e.check(ctx, name, "", askMax, func(ctx context.Context) finding {
		found, err := probe.Resolve(ctx, server.Host)
		if err != nil {
			return failed(err, "check this machine's name server")
		}
		relayed, err := probe.Allocate(ctx, server, found[0], login, e.cfg.RootCAs)
		if err != nil {
			return failed(err, turnRemedy(server, err))
		}
		return finding{detail: fmt.Sprintf("allocated %s, and freed", relayed)}
	})
}

func turnRemedy(server probe.Server, err error) string {
	var refusal *probe.Refusal
	switch {
	case !errors.As(err, &refusal) && server.Datagram:
		return fmt.Sprintf("let UDP out to port %d; viewers connect through TURN over TLS meanwhile", server.Port)
	case !errors.As(err, &refusal):
		return fmt.Sprintf("let TCP out to port %d, and no proxy open its TLS; check --ca-file", server.Port)
	}
	switch refusal.Code { // RFC 8656 19
	case 401:
		return "the credentials of GetIceServerConfig were refused: check this machine's clock, and the service's"
	case 486:
		return "the quota of allocations is used up (AWS: 50 per channel): end other viewers, or --spare-relay=false"
	case 508:
		return "the server has no ports left: try again"
	}
	return "the server refuses: try again, or another network"
}
