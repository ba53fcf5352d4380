package nat

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	arrivesWithin = 2 * time.Second
	stragglers    = 20 * time.Millisecond // behind the last datagram that is due
)

// Observe finds out how a side's NAT behaves, as RFC 5780 does: from three places outside, two of which
// share an address.
func (n *Network) Observe(s *Side) (found Behaviour, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("observe NAT (%s): %w", s.Kind, err)
		}
	}()
	var outside []*net.UDPConn
	for _, addr := range []netip.Addr{ServerAddress, ServerAddress, secondAddress} {
		conn, err := n.Public.listenUDP(addr)
		if err != nil {
			return found, err
		}
		defer conn.Close()
		outside = append(outside, conn)
	}
	if found.Mapping, err = observeMapping(s, outside); err != nil {
		return found, err
	}
	found.Filtering, err = observeFiltering(s, outside)
	return found, err
}

// observeMapping writes to all places from one socket.
func observeMapping(s *Side, outside []*net.UDPConn) (Dependence, error) {
	inside, err := s.Host.listenUDP(s.Local)
	if err != nil {
		return "", err
	}
	defer inside.Close()
	var seen []netip.AddrPort
	for _, place := range outside {
		mapped, err := greet(inside, place)
		if err != nil {
			return "", err
		}
		seen = append(seen, mapped)
	}
	switch {
	case seen[0] == seen[1] && seen[1] == seen[2]:
		return Independent, nil
	case seen[0] == seen[1]:
		return Address, nil
	}
	return AddressAndPort, nil
}

// greet writes to a place, and tells where it sees the sender.
func greet(inside, place *net.UDPConn) (netip.AddrPort, error) {
	if _, err := inside.WriteToUDPAddrPort([]byte("hello"), place.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
		return netip.AddrPort{}, err
	}
	_ = place.SetReadDeadline(time.Now().Add(arrivesWithin))
	_, from, err := place.ReadFromUDPAddrPort(make([]byte, 16))
	if err != nil {
		return from, fmt.Errorf("nothing comes out: %w", err)
	}
	return from, nil
}

// observeFiltering writes to the first place alone, and has all of them answer, the first one last.
func observeFiltering(s *Side, outside []*net.UDPConn) (Dependence, error) {
	inside, err := s.Host.listenUDP(s.Local)
	if err != nil {
		return "", err
	}
	defer inside.Close()
	mapped, err := greet(inside, outside[0])
	if err != nil {
		return "", err
	}
	for i := len(outside) - 1; i >= 0; i-- {
		if _, err := outside[i].WriteToUDPAddrPort([]byte{byte(i)}, mapped); err != nil {
			return "", err
		}
	}
	came, err := receive(inside)
	switch {
	case err != nil:
		return "", err
	case !came[0]:
		return "", errors.New("whom the host has written to is not let in")
	case came[1] && came[2]:
		return Independent, nil
	case came[1]:
		return Address, nil
	case came[2]:
		return "", errors.New("another address is let in, but not another port of the same")
	}
	return AddressAndPort, nil
}

// receive tells which of the places were heard until the first was, and shortly after.
func receive(inside *net.UDPConn) (came [3]bool, err error) {
	wait := arrivesWithin
	for packet := make([]byte, 1); ; {
		_ = inside.SetReadDeadline(time.Now().Add(wait))
		_, err := inside.Read(packet)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return came, nil
		case err != nil:
			return came, err
		case int(packet[0]) < len(came):
			came[packet[0]] = true
		}
		if came[0] {
			wait = stragglers
		}
	}
}
