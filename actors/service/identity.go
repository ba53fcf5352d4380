package service

import (
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/heliograph-rtc/heliograph/transport/api"
)

var hostNamePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// identity is what clients may reach this server by: localhost and loopback, this host's name, the
// configured public name, the listen address or, when it listens everywhere, the private addresses
// of all interfaces.
func identity(cfg Config) api.Identity {
	id := api.Identity{
		Names:     []string{"localhost"},
		Addresses: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()},
	}
	host, _ := os.Hostname()
	id = with(id, host)
	if name, _, err := net.SplitHostPort(cfg.PublicName); err == nil {
		id = with(id, name)
	} else {
		id = with(id, cfg.PublicName)
	}
	listen, _, _ := net.SplitHostPort(cfg.Public)
	if addr, err := netip.ParseAddr(listen); listen != "" && (err != nil || !addr.IsUnspecified()) {
		return with(id, listen)
	}
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().IsPrivate() {
			id = with(id, prefix.Addr().String())
		}
	}
	return id
}

func with(id api.Identity, host string) api.Identity {
	host = strings.ToLower(strings.Trim(host, "[]"))
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr = addr.Unmap().WithZone(""); !slices.Contains(id.Addresses, addr) {
			id.Addresses = append(id.Addresses, addr)
		}
	} else if hostNamePattern.MatchString(host) && !slices.Contains(id.Names, host) {
		id.Names = append(id.Names, host)
	}
	return id
}
