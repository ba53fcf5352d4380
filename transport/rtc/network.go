package rtc

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
)

// dialMax bounds one name look-up and one TCP connect to a TURN server.
const dialMax = 5 * time.Second

// network is one peer's access to the network besides the shared sockets: STUN and TURN. pion
// dials and resolves without a context and closes only when both returned, so a TURN server that
// does not answer would hold a leaving viewer's slot for minutes. cut ends all of it at once.
type network struct {
	*stdnet.Net
	connectTo func(network, address string) string // nil: nowhere else
	out       *sending
	ctx       context.Context
	end       context.CancelFunc

	mu      sync.Mutex
	conns   []net.PacketConn // all that were opened; a handful, closing one twice is harmless
	streams []uint16         // local ports of the streams to TURN servers
}

func newNetwork(std *stdnet.Net, connectTo func(network, address string) string, out *sending) *network {
	n := &network{Net: std, connectTo: connectTo, out: out}
	n.ctx, n.end = context.WithCancel(context.Background())
	return n
}

// cut cancels what is under way and closes every socket.
func (n *network) cut() {
	n.end()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, conn := range n.conns {
		_ = conn.Close()
	}
}

func (n *network) keep(conn net.PacketConn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, conn)
}

// ListenPacket implements transport.Net. pion opens its sockets to TURN servers here.
func (n *network) ListenPacket(network, address string) (net.PacketConn, error) {
	conn, err := n.Net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	n.keep(conn)
	return newRelaySocket(conn, n.out), nil
}

// ListenUDP implements transport.Net.
func (n *network) ListenUDP(network string, local *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := n.Net.ListenUDP(network, local)
	if err == nil {
		n.keep(conn)
	}
	return conn, err
}

// DialTCP implements transport.Net.
func (n *network) DialTCP(network string, local, remote *net.TCPAddr) (transport.TCPConn, error) {
	ctx, cancel := context.WithTimeout(n.ctx, dialMax)
	defer cancel()
	var dialer net.Dialer
	if local != nil {
		dialer.LocalAddr = local
	}
	conn, err := dialer.DialContext(ctx, network, remote.String())
	if err != nil {
		return nil, err
	}
	// Nothing is read or written before pion has the connection, so cutting it later is enough.
	context.AfterFunc(n.ctx, func() { _ = conn.Close() })
	n.mu.Lock()
	defer n.mu.Unlock()
	n.streams = append(n.streams, conn.LocalAddr().(*net.TCPAddr).AddrPort().Port())
	return conn.(*net.TCPConn), nil
}

// isStream tells whether a relay candidate whose related address has that port (RFC 8839 5.1) is
// reached through a stream.
func (n *network) isStream(port uint16) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.streams, port)
}

// ResolveUDPAddr implements transport.Net.
func (n *network) ResolveUDPAddr(network, address string) (*net.UDPAddr, error) {
	ip, port, err := n.resolve(network, address)
	if err != nil {
		return nil, err
	}
	return &net.UDPAddr{IP: ip, Port: port}, nil
}

// ResolveTCPAddr implements transport.Net.
func (n *network) ResolveTCPAddr(network, address string) (*net.TCPAddr, error) {
	ip, port, err := n.resolve(network, address)
	if err != nil {
		return nil, err
	}
	return &net.TCPAddr{IP: ip, Port: port}, nil
}

// resolve looks a name up within dialMax, in the family that the network's last letter names.
func (n *network) resolve(network, address string) (net.IP, int, error) {
	ctx, cancel := context.WithTimeout(n.ctx, dialMax)
	defer cancel()
	if n.connectTo != nil {
		address = n.connectTo(network, address)
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, 0, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return nil, 0, err
	}
	family := "ip"
	if last := network[len(network)-1:]; last == "4" || last == "6" {
		family += last
	}
	ips, err := net.DefaultResolver.LookupIP(ctx, family, host)
	if err != nil {
		return nil, 0, err
	}
	return ips[0], port, nil
}
