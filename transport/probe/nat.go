package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v3"
)

// Sighting is how one STUN server sees a socket of this machine.
type Sighting struct {
	Server netip.AddrPort
	Mapped netip.AddrPort
	Other  netip.AddrPort // a further address of the server, where it tells one (RFC 5780 7.4)
	Took   time.Duration
}

// Socket is a UDP socket that asks STUN servers how they see it.
type Socket struct {
	conn *net.UDPConn
}

// Open opens a socket of the family of the server that it is to ask; local is the address to bind, not
// valid: any.
func Open(server netip.AddrPort, local netip.Addr) (*Socket, error) {
	network, source := "udp6", (*net.UDPAddr)(nil)
	if server.Addr().Is4() {
		network = "udp4"
	}
	if local.IsValid() {
		source = net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	conn, err := net.ListenUDP(network, source)
	if err != nil {
		return nil, fmt.Errorf("open UDP socket: %w", err)
	}
	return &Socket{conn}, nil
}

// Close closes the socket.
func (s *Socket) Close() error { return s.conn.Close() }

// Ask makes a Binding request (RFC 8489 3), repeated until ctx ends.
func (s *Socket) Ask(ctx context.Context, server netip.AddrPort) (Sighting, error) {
	began := time.Now()
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
	if err != nil {
		return Sighting{}, err
	}
	response, err := datagrams{s.conn, server}.call(ctx, request)
	if err == nil {
		response, err = result(response)
	}
	var mapped stun.XORMappedAddress
	if err == nil {
		err = mapped.GetFrom(response)
	}
	if err != nil {
		return Sighting{}, fmt.Errorf("ask STUN server %s: %w", server, err)
	}
	seen := Sighting{Server: server, Mapped: addrPort(mapped.IP, mapped.Port), Took: time.Since(began)}
	var other stun.OtherAddress
	if other.GetFrom(response) == nil {
		seen.Other = addrPort(other.IP, other.Port)
	}
	return seen, nil
}

// From is the address that packets of the socket to a server leave with.
func (s *Socket) From(server netip.AddrPort) (netip.AddrPort, error) {
	bound := s.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if !bound.Addr().IsUnspecified() {
		return netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port()), nil
	}
	routed, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server)) // sends nothing
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("find the route to %s: %w", server, err)
	}
	defer routed.Close()
	return netip.AddrPortFrom(routed.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), bound.Port()), nil
}

// Mapping is how a NAT maps one socket that talks to several servers (RFC 4787 4.1).
type Mapping int

// The mappings that can be told apart from inside.
const (
	MappingUnknown     Mapping = iota // one server's word alone, through a NAT
	NoNAT                             // the servers see the socket's own address
	MappingIndependent                // all see the same address: a viewer may use it, too
	MappingDependent                  // each sees another one
)

// MappingOf judges what servers have seen of a socket with the address local.
func MappingOf(local netip.AddrPort, seen []Sighting) Mapping {
	var servers, mapped []netip.AddrPort
	for _, s := range seen {
		servers, mapped = append(servers, s.Server), append(mapped, s.Mapped)
	}
	different := func(all []netip.AddrPort) int {
		slices.SortFunc(all, netip.AddrPort.Compare)
		return len(slices.Compact(all))
	}
	switch {
	case len(seen) > 0 && !slices.ContainsFunc(mapped, func(m netip.AddrPort) bool { return m != local }):
		return NoNAT
	case different(mapped) > 1:
		return MappingDependent
	case different(servers) < 2:
		return MappingUnknown
	}
	return MappingIndependent
}

// Resolve returns the addresses of a server, IPv4 first, as a device without the choice would ask them.
func Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, errors.New("the name has no address")
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	slices.SortStableFunc(found, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return found, nil
}

func addrPort(ip net.IP, port int) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port))
}
