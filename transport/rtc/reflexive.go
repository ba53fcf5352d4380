package rtc

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/stun/v3"
)

const (
	// reflexiveMax bounds the wait for one STUN server's answer to one socket.
	reflexiveMax = 2 * time.Second

	// questionAgain is the first interval of repetition; it doubles (RFC 8489 6.2.1, which begins with
	// 500 ms and allows less).
	questionAgain = 200 * time.Millisecond
)

// Reflexive asks the first STUN server of the list how the shared sockets are seen from outside. The
// question also keeps the NAT's binding alive, so ask again every 20 s or so (RFC 8445 11). Sockets
// that got no answer are left out; when none did, the error is the last one's.
func (e *Engine) Reflexive(ctx context.Context, servers []messages.IceServer) (messages.ReflexiveAddresses, error) {
	var found messages.ReflexiveAddresses
	address := stunAddress(servers)
	if address == "" {
		return found, nil
	}
	if err := e.sockets.refresh(time.Now()); err != nil {
		return found, fmt.Errorf("refresh ICE sockets: %w", err)
	}
	began := time.Now()
	var failed error
	for _, s := range e.sockets.current() {
		mapped, err := e.reflexive(ctx, s, address)
		if err != nil {
			failed = fmt.Errorf("ask STUN server %s from %s: %w", address, s.LocalAddr(), err)
			continue
		}
		found.Addresses = append(found.Addresses, messages.ReflexiveAddress{Local: s.LocalAddr().(*net.UDPAddr).AddrPort(), Mapped: mapped})
	}
	found.Took = time.Since(began)
	if len(found.Addresses) > 0 {
		failed = nil
	}
	return found, failed
}

func stunAddress(servers []messages.IceServer) string {
	for _, server := range servers {
		for _, url := range server.URLs {
			if uri, err := stun.ParseURI(url); err == nil && uri.Scheme == stun.SchemeTypeSTUN {
				return net.JoinHostPort(uri.Host, fmt.Sprint(uri.Port))
			}
		}
	}
	return ""
}

func (e *Engine) reflexive(ctx context.Context, s *socket, address string) (netip.AddrPort, error) {
	family := "udp6"
	if s.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
		family = "udp4"
	}
	network := newNetwork(e.std, e.cfg.ConnectTo, e.out)
	defer network.cut()
	defer context.AfterFunc(ctx, network.cut)()
	server, err := network.ResolveUDPAddr(family, address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return s.conn.ask(ctx, server.AddrPort())
}

// askingConn asks STUN servers on a socket whose datagrams go to ICE. (pion's UniversalUDPMux does too,
// but begins to read before it is complete.)
type askingConn struct {
	*udpSocket

	mu        sync.Mutex
	questions map[[stun.TransactionIDSize]byte]chan netip.AddrPort
}

// ask sends Binding requests until one is answered.
func (c *askingConn) ask(ctx context.Context, server netip.AddrPort) (netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, reflexiveMax)
	defer cancel()
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
	if err != nil {
		return netip.AddrPort{}, err
	}
	answer := make(chan netip.AddrPort, 1)
	c.change(func(q map[[stun.TransactionIDSize]byte]chan netip.AddrPort) { q[request.TransactionID] = answer })
	defer c.change(func(q map[[stun.TransactionIDSize]byte]chan netip.AddrPort) { delete(q, request.TransactionID) })
	for again := questionAgain; ; again *= 2 {
		if _, err := c.WriteToAddrPort(request.Raw, server); err != nil {
			return netip.AddrPort{}, err
		}
		select {
		case mapped := <-answer:
			return mapped, nil
		case <-time.After(again):
		case <-ctx.Done():
			return netip.AddrPort{}, ctx.Err()
		}
	}
}

func (c *askingConn) change(edit func(map[[stun.TransactionIDSize]byte]chan netip.AddrPort)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.questions == nil {
		c.questions = map[[stun.TransactionIDSize]byte]chan netip.AddrPort{}
	}
	edit(c.questions)
}

// ReadFromAddrPort passes everything on but what a hearer takes, and looks for answers meanwhile.
func (c *askingConn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := c.udpSocket.ReadFromAddrPort(b)
		if err == nil && c.out.hearers.take(b[:n], from) {
			continue
		}
		if err == nil && n >= 20 && b[0] == 1 && b[1] == 1 { // Binding success response (RFC 8489 5)
			c.answered(b[:n])
		}
		return n, from, err
	}
}

func (c *askingConn) answered(packet []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := c.questions[[stun.TransactionIDSize]byte(packet[8:20])]
	if answer == nil {
		return // to a connectivity check
	}
	message, mapped := &stun.Message{Raw: slices.Clone(packet)}, stun.XORMappedAddress{}
	if message.Decode() != nil || mapped.GetFrom(message) != nil {
		return // asked again soon
	}
	if addr, ok := netip.AddrFromSlice(mapped.IP); ok {
		select {
		case answer <- netip.AddrPortFrom(addr.Unmap(), uint16(mapped.Port)):
		default: // answered before
		}
	}
}

// held leaves what belongs to a socket that is there.
func (s *sockets) held(known messages.ReflexiveAddresses) messages.ReflexiveAddresses {
	now := s.current()
	known.Addresses = slices.DeleteFunc(slices.Clone(known.Addresses), func(a messages.ReflexiveAddress) bool {
		return !slices.ContainsFunc(now, func(open *socket) bool { return open.LocalAddr().(*net.UDPAddr).AddrPort() == a.Local })
	})
	return known
}
