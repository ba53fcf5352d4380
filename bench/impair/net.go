package impair

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
)

// Net gives pion its sockets, impaired as the profile says, and remembers them, so that Cut can
// close them under its feet.
type Net struct {
	transport.Net                                      // interfaces and name resolution
	connectTo     func(network, address string) string // nil: nowhere else
	profile       Profile
	stats         counters
	stalled       atomic.Int64 // Unix time in ns; until then no TCP connection is read

	mu   sync.Mutex // pion opens sockets from several goroutines
	cut  bool
	made uint64 // sockets so far, each with random numbers of its own
	open []io.Closer
}

// receiveBufferBytes holds the burst of a join where viewers share few cores, so that a loss is the
// network's and not the machine's.
const receiveBufferBytes = 1 << 20

// Stats counts packets of all sockets.
type Stats struct {
	Sent         uint64 `json:"sent"`
	Received     uint64 `json:"received"`
	LostOut      uint64 `json:"lost_out"`
	LostIn       uint64 `json:"lost_in"`
	OverflownOut uint64 `json:"overflown_out"`
	OverflownIn  uint64 `json:"overflown_in"`
}

// Add sums up two counts.
func (s Stats) Add(o Stats) Stats {
	return Stats{
		s.Sent + o.Sent, s.Received + o.Received, s.LostOut + o.LostOut, s.LostIn + o.LostIn,
		s.OverflownOut + o.OverflownOut, s.OverflownIn + o.OverflownIn,
	}
}

type counters struct{ out, in direction }

type direction struct {
	delivered, lost, overflown atomic.Uint64
	rate                       atomic.Int64 // bit/s in place of the profile's; 0: the profile's
	dark                       atomic.Int64 // Unix time in ns; until then everything is lost
}

func (d *direction) count(f fate) {
	switch f {
	case delivered:
		d.delivered.Add(1)
	case lost:
		d.lost.Add(1)
	case overflown:
		d.overflown.Add(1)
	}
}

// NewNet returns the system's network, made worse by the profile.
func NewNet(p Profile) (*Net, error) {
	std, err := stdnet.NewNet()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	return &Net{Net: std, profile: p}, nil
}

// ConnectTo makes connections and look-ups of host:port go where it says, as curl's --connect-to. It
// is called before the first of them.
func (n *Net) ConnectTo(where func(network, address string) string) { n.connectTo = where }

func (n *Net) where(network, address string) string {
	if n.connectTo == nil {
		return address
	}
	return n.connectTo(network, address)
}

// ResolveUDPAddr looks up a STUN or TURN server.
func (n *Net) ResolveUDPAddr(network, address string) (*net.UDPAddr, error) {
	return n.Net.ResolveUDPAddr(network, n.where(network, address))
}

// ResolveTCPAddr looks up a TURN server.
func (n *Net) ResolveTCPAddr(network, address string) (*net.TCPAddr, error) {
	return n.Net.ResolveTCPAddr(network, n.where(network, address))
}

// SetRate has both directions carry so many bits per second from now on, with a queue of 200 ms; what
// is in flight keeps its time. The sockets of a zero profile carry what they always did.
func (n *Net) SetRate(bps int) {
	n.stats.in.rate.Store(int64(bps))
	n.stats.out.rate.Store(int64(bps))
}

// Stats returns the counts so far. Sockets of a zero profile are the system's own and not counted.
func (n *Net) Stats() Stats {
	return Stats{
		n.stats.out.delivered.Load(), n.stats.in.delivered.Load(), n.stats.out.lost.Load(), n.stats.in.lost.Load(),
		n.stats.out.overflown.Load(), n.stats.in.overflown.Load(),
	}
}

// ListenPacket opens a packet socket.
func (n *Net) ListenPacket(network, address string) (net.PacketConn, error) {
	c, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UDPConn)
	if !ok {
		return c, n.keep(c)
	}
	return n.wrap(u)
}

// ListenUDP opens an unconnected UDP socket.
func (n *Net) ListenUDP(network string, laddr *net.UDPAddr) (transport.UDPConn, error) {
	u, err := net.ListenUDP(network, laddr)
	if err != nil {
		return nil, err
	}
	return n.wrap(u)
}

// DialUDP opens a connected UDP socket.
func (n *Net) DialUDP(network string, laddr, raddr *net.UDPAddr) (transport.UDPConn, error) {
	u, err := net.DialUDP(network, laddr, raddr)
	if err != nil {
		return nil, err
	}
	return n.wrap(u)
}

// DialTCP opens a TCP connection for TURN, which cannot be impaired packet by packet. A bad network
// has none: it would be the best way through, and the figures those of a good network.
func (n *Net) DialTCP(network string, laddr, raddr *net.TCPAddr) (transport.TCPConn, error) {
	if !n.profile.IsZero() {
		return nil, errors.New("dial TCP: an impaired network carries UDP alone")
	}
	c, err := net.DialTCP(network, laddr, raddr)
	if err != nil {
		return nil, err
	}
	s := newStream(c, &n.stalled)
	return s, n.keep(s)
}

// Outage loses everything that comes in on packet sockets within d from now, as a tunnel on the way
// does. It returns when that ends. The sockets of a zero profile know no outage.
func (n *Net) Outage(d time.Duration) (ends time.Time) {
	ends = time.Now().Add(d)
	n.stats.in.dark.Store(ends.UnixNano())
	return ends
}

// Stall makes the reader of every TCP connection to TURN stop for d: a read that is under way ends, the
// next one waits.
func (n *Net) Stall(d time.Duration) { n.stalled.Store(time.Now().Add(d).UnixNano()) }

// DialContext opens a connection for others than pion, so that Cut closes it as well.
func (n *Net) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, n.where(network, address))
	if err != nil {
		return nil, err
	}
	return c, n.keep(c)
}

// Cut closes every socket at once, without a goodbye: what is on its way out is gone, as when the
// process is killed. No socket can be opened afterwards.
func (n *Net) Cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = true
	for _, c := range n.open {
		if conn, ok := c.(*Conn); ok {
			conn.out.abandon()
		}
		_ = c.Close() // most are closed already
	}
	n.open = nil
}

func (n *Net) wrap(u *net.UDPConn) (transport.UDPConn, error) {
	_ = u.SetReadBuffer(receiveBufferBytes) // the system may give less
	if n.profile.IsZero() {
		return u, n.keep(u)
	}
	n.mu.Lock()
	n.made++
	number := n.made
	n.mu.Unlock()
	c := newConn(u, n.profile, number, &n.stats)
	return c, n.keep(c)
}

// keep remembers a socket for Cut.
func (n *Net) keep(c io.Closer) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		_ = c.Close()
		return net.ErrClosed
	}
	n.open = append(n.open, c)
	return nil
}
