package nat

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// The public network: a bridge, on which everybody has an address (RFC 5737).
var (
	ServerAddress  = netip.MustParseAddr("203.0.113.1") // of the public namespace
	ServerAddress6 = netip.MustParseAddr("2001:db8::1") // after IPv6Alone
	secondAddress  = netip.MustParseAddr("203.0.113.2") // the same namespace's, to find out about NATs
)

const (
	sidesMax    = 99
	firstSide   = 100 // last byte of the first side's public address
	prefixStart = "heliograph-"
)

// built counts this process's networks, for their names.
var built atomic.Int64

// Network is a public network with sides.
type Network struct {
	Public *Namespace
	Sides  []*Side

	prefix string // of the namespaces' names: heliograph-PID-NUMBER-
}

// Side is a host with its NAT, if any.
type Side struct {
	Kind   Kind
	Host   *Namespace
	Local  netip.Addr // the host's address, on its interface eth0
	Public netip.Addr // its NAT's, or else its own

	nat *Namespace // nil: none
}

// Build makes a network with a side of each of the kinds, in order. Close it.
func Build(ctx context.Context, kinds ...Kind) (_ *Network, err error) {
	if err := Missing(); err != nil {
		return nil, err
	}
	if len(kinds) > sidesMax {
		return nil, fmt.Errorf("build network: %d sides, at most %d", len(kinds), sidesMax)
	}
	if err := sweep(ctx); err != nil {
		return nil, err
	}
	n := &Network{prefix: fmt.Sprintf("%s%d-%d-", prefixStart, os.Getpid(), built.Add(1))}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("build network: %w", err), n.Close())
		}
	}()
	if err := n.makePublic(ctx); err != nil {
		return n, err
	}
	for _, kind := range kinds {
		if err := n.makeSide(ctx, kind); err != nil {
			return n, err
		}
	}
	return n, nil
}

// IPv6Alone takes the IPv4 addresses from the public network and from the hosts that are open to it, and
// gives them IPv6 ones: ServerAddress6, and 2001:db8:: with the numbers of the sides from 10 on (RFC 3849).
func (n *Network) IPv6Alone(ctx context.Context) error {
	err := n.Public.ipv6Alone(ctx, "bridge", ServerAddress6)
	for _, s := range n.Sides {
		address := netip.MustParseAddr(fmt.Sprint("2001:db8::", s.Public.As4()[3]))
		err = errors.Join(err, s.Host.ipv6Alone(ctx, "eth0", address))
		s.Local, s.Public = address, address
	}
	return err
}

func (n *Namespace) ipv6Alone(ctx context.Context, device string, address netip.Addr) error {
	return errors.Join(
		n.sysctl("ipv6.conf."+device+".addr_gen_mode=1", // no link-local addresses
			"ipv6.conf.all.disable_ipv6=0", "ipv6.conf.lo.disable_ipv6=0", "ipv6.conf."+device+".disable_ipv6=0"),
		n.IP(ctx, "addr flush dev "+device, fmt.Sprintf("addr add %s/64 dev %s nodad", address, device)),
	)
}

// Close removes all of it. End first what runs within.
func (n *Network) Close() error {
	return remove(context.Background(), n.prefix)
}

// make makes a namespace. IPv6 is off in it: its link-local addresses would be candidates.
func (n *Network) make(ctx context.Context, role string) (*Namespace, error) {
	made := &Namespace{n.prefix + role}
	if err := feed(exec.CommandContext(ctx, "ip", "netns", "add", made.name), ""); err != nil {
		return nil, err
	}
	return made, errors.Join(made.sysctl("ipv6.conf.all.disable_ipv6=1", "ipv6.conf.default.disable_ipv6=1"), made.IP(ctx, "link set lo up"))
}

func (n *Network) makePublic(ctx context.Context) (err error) {
	if n.Public, err = n.make(ctx, "public"); err != nil {
		return err
	}
	return n.Public.IP(ctx,
		"link add bridge type bridge",
		fmt.Sprintf("addr add %s/24 dev bridge", ServerAddress), fmt.Sprintf("addr add %s/24 dev bridge", secondAddress),
		"link set bridge up")
}

func (n *Network) makeSide(ctx context.Context, kind Kind) (err error) {
	number := len(n.Sides)
	s := &Side{Kind: kind, Public: netip.AddrFrom4([4]byte{203, 0, 113, byte(firstSide + number)})}
	if s.Host, err = n.make(ctx, fmt.Sprint("host", number)); err != nil {
		return err
	}
	n.Sides = append(n.Sides, s)
	if kind == Open {
		s.Local = s.Public
		return n.plug(ctx, s.Host, "eth0", s.Public)
	}
	if s.nat, err = n.make(ctx, fmt.Sprint("nat", number)); err != nil {
		return err
	}
	gateway := netip.AddrFrom4([4]byte{10, 0, byte(number), 1})
	s.Local = gateway.Next()
	return errors.Join(n.plug(ctx, s.nat, "wan", s.Public), s.join(ctx, gateway))
}

// plug gives a namespace an interface and an address on the public network.
func (n *Network) plug(ctx context.Context, who *Namespace, device string, addr netip.Addr) error {
	port := fmt.Sprint("port", addr.As4()[3])
	err := n.Public.IP(ctx, fmt.Sprintf("link add %s type veth peer name %s netns %s", port, device, who.name),
		fmt.Sprintf("link set %s master bridge up", port))
	if err != nil {
		return err
	}
	return who.IP(ctx, fmt.Sprintf("addr add %s/24 dev %s", addr, device), fmt.Sprintf("link set %s up", device))
}

// join connects host and NAT.
func (s *Side) join(ctx context.Context, gateway netip.Addr) error {
	return errors.Join(
		s.nat.sysctl("ipv4.ip_forward=1"),
		s.nat.IP(ctx, "link add lan type veth peer name eth0 netns "+s.Host.name, fmt.Sprintf("addr add %s/24 dev lan", gateway), "link set lan up"),
		s.Host.IP(ctx, fmt.Sprintf("addr add %s/24 dev eth0", s.Local), "link set eth0 up", fmt.Sprintf("route add default via %s", gateway)),
		feed(s.nat.Command(ctx, "nft", "-f", "-"), s.Kind.rules(s.Local)),
	)
}

// sweep removes the namespaces of processes that were killed.
func sweep(ctx context.Context) error {
	found, err := named(prefixStart)
	for _, name := range found {
		pid, _, _ := strings.Cut(strings.TrimPrefix(name, prefixStart), "-")
		if number, bad := strconv.Atoi(pid); bad == nil && errors.Is(syscall.Kill(number, 0), syscall.ESRCH) {
			err = errors.Join(err, remove(ctx, prefixStart+pid+"-"))
		}
	}
	return err
}

// remove deletes the namespaces whose names begin so.
func remove(ctx context.Context, prefix string) error {
	found, err := named(prefix)
	if err != nil || len(found) == 0 {
		return err
	}
	for i, name := range found {
		found[i] = "netns del " + name
	}
	return batch(ctx, []string{"-force"}, found)
}

func named(prefix string) (found []string, err error) {
	entries, err := os.ReadDir(namespaces)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			found = append(found, e.Name())
		}
	}
	return found, err
}
