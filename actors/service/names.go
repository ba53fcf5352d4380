package service

// What the configuration says of the relay and of AWS's host names.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/api"
	transport "github.com/heliograph-rtc/heliograph/transport/relay"
)

const hostsFile = "hosts"

// RelayConfig is the part of Config that bounds the relay.
type RelayConfig struct {
	IP6           string // address of relayed IPv6 addresses, for clients that ask for one; default: none
	PrivatePeers  bool   // clients may reach private addresses, as on a LAN
	PerCredential int    // live allocations of one credential; default 50
	BitsPerSecond int    // of one allocation; default 5,000,000, AWS's
}

func (r *relay) relayConfig() transport.Config {
	cfg := transport.Config{
		Secret: []byte(r.keys.RelaySecret), Log: r.sys.Log().Named("relay"),
		UDP: address(r.cfg.RelayUDP), TCP: address(r.cfg.RelayTCP),
		Certificate: r.certificate, TakesTLS: r.names.On(),
		PrivatePeers: r.cfg.Relay.PrivatePeers, BitsPerSecond: r.cfg.Relay.BitsPerSecond,
		AllocationsPerCredential: r.cfg.Relay.PerCredential, Deny: r.turnDenied,
	}
	cfg.PublicIP, _ = netip.ParseAddr(r.cfg.RelayIP) // both checked by Start
	cfg.PublicIP6, _ = netip.ParseAddr(r.cfg.Relay.IP6)
	if r.limits.Unlimited {
		cfg.AllocationsPerChannel, cfg.AllocationsPerCredential, cfg.BitsPerSecond = -1, -1, -1
	}
	for _, listen := range []string{cfg.UDP, cfg.TCP} {
		if at, err := netip.ParseAddrPort(listen); err == nil && at.Addr().IsPrivate() && !cfg.PrivatePeers {
			r.sys.Log().Info("the relay does not reach private addresses; --relay-private lets it", zap.String("listen", listen))
			break
		}
	}
	return cfg
}

// check finds what cannot be relayed to.
func (c RelayConfig) check() error {
	if addr, err := netip.ParseAddr(c.IP6); c.IP6 != "" && (err != nil || !addr.Is6() || addr.Is4In6()) {
		return fmt.Errorf("--relay-ip6 must be an IPv6 address, not %q", c.IP6)
	}
	return nil
}

// awsNames reads --aws-names, which also says the region that clients sign for.
func (c *Config) awsNames() (names api.Names, err error) {
	if c.AWSNames == "" {
		return names, nil
	}
	if names, err = api.AWSNames(c.AWSNames); err != nil {
		return names, fmt.Errorf("--aws-names: %w", err)
	}
	if c.PublicName != "" {
		return names, errors.New("--aws-names and --public-name exclude each other: both say what endpoints are called")
	}
	if c.RelayUDP == Off && c.RelayTCP != Off {
		return names, errors.New("--aws-names with --relay-udp off: AWS's clients look for STUN and TURN on UDP 443; listen there or turn both relay listeners off")
	}
	c.Region = names.Region()
	return names, nil
}

// certify is the identity that the certificate holds: the server's own, the relay's addresses, and
// AWS's names.
func certify(cfg Config, names api.Names, id api.Identity) api.Identity {
	for _, host := range []string{cfg.RelayIP, cfg.Relay.IP6, listenHost(cfg.RelayUDP), listenHost(cfg.RelayTCP)} {
		if addr, err := netip.ParseAddr(host); err == nil && !addr.IsUnspecified() {
			id = with(id, host)
		}
	}
	if names.On() {
		id.Names = append(append([]string(nil), id.Names...), names.Certificate()...)
	}
	return id
}

func listenHost(address string) string {
	host, _, _ := net.SplitHostPort(address)
	return host
}

// takeTurn passes a TURN stream of the public door to the relay.
func (d *door) takeTurn(conn net.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), socketWait)
	defer cancel()
	_, err := ask[*messages.TurnStreamTaken](ctx, d, relayPath, &messages.TurnStream{Conn: conn})
	return err
}

// writeHosts writes the line that a hosts file needs for AWS's names.
func (s *Service) writeHosts(w *world) error {
	if !w.names.On() {
		return nil
	}
	at := s.listeners.public.Addr().AddrPort().Addr().Unmap()
	relayIP, _ := netip.ParseAddr(w.cfg.RelayIP)
	if !relayIP.IsValid() {
		relayIP, _ = netip.ParseAddr(listenHost(w.cfg.RelayUDP))
	}
	switch {
	case at.IsUnspecified() && relayIP.IsValid():
		at = relayIP // the address that clients reach
	case at.IsUnspecified():
		at = netip.MustParseAddrPort(reachable(s.listeners.public.Addr())).Addr()
	}
	v6, _ := netip.ParseAddr(w.cfg.Relay.IP6)
	s.HostsLine = at.String() + " " + strings.Join(w.names.Hosts(relayIP, v6), " ")
	if w.cfg.Dir == "" {
		return nil
	}
	s.HostsFile = filepath.Join(w.cfg.Dir, hostsFile)
	return writeSecret(s.HostsFile, []byte(s.HostsLine+"\n"))
}
