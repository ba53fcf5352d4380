package rtc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/mdns/v2"
	"github.com/pion/sdp/v3"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/heliograph-rtc/heliograph/messages"
)

// A browser that may not show its addresses gives names for them (draft-ietf-mmusic-mdns-ice-candidates),
// which multicast DNS resolves (RFC 6762). pion does it with two sockets and five goroutines for each peer,
// opened before the first name has come, and each wakes up for whatever the local network asks. So the
// Engine has a resolver for all peers, from the first name on.

// nameMax bounds the search for one name. Whoever has it answers within milliseconds, or is not there.
const nameMax = 3 * time.Second

// Named tells whether a candidate has a name in place of its address: Resolve must find that first.
func Named(c messages.Candidate) bool {
	_, at := addressOf(c.Candidate)
	return at >= 0
}

// addressOf finds the name in a candidate's line, and which of its fields it is (RFC 8839 5.1); -1: it has an
// address, or makes no sense.
func addressOf(line string) (fields []string, at int) {
	const address, kind = 4, 7
	fields = strings.Fields(line)
	if len(fields) <= kind || fields[kind] != "host" || !strings.HasSuffix(fields[address], ".local") {
		return fields, -1
	}
	return fields, address
}

// Resolve puts the address into a candidate with a name. It waits for it, 3 s at most.
func (e *Engine) Resolve(ctx context.Context, c messages.Candidate) (messages.Candidate, error) {
	fields, at := addressOf(c.Candidate)
	if at < 0 {
		return c, nil
	}
	conn, err := e.names.open(e)
	if err != nil {
		return c, fmt.Errorf("resolve candidate's name: open multicast DNS: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, nameMax)
	defer cancel()
	_, found, err := conn.QueryAddr(ctx, fields[at])
	if err != nil {
		return c, fmt.Errorf("resolve candidate's name: nobody in the local network has it: %w", err)
	}
	fields[at] = found.Unmap().WithZone("").String()
	c.Candidate = strings.Join(fields, " ")
	return c, nil
}

// names is the resolver. Its sockets are members of groups on the machine's interfaces, so it is made anew when
// those change.
type names struct {
	mu     sync.Mutex
	conn   *mdns.Conn   // nil: none is open
	locals []netip.Addr // the machine's addresses then
	closed bool
}

func (n *names) open(e *Engine) (*mdns.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	locals := e.sockets.locals()
	switch {
	case n.closed:
		return nil, net.ErrClosed
	case n.conn != nil && slices.Equal(n.locals, locals):
		return n.conn, nil
	case n.conn != nil:
		_ = n.conn.Close() // who waits for it gives up
		n.conn = nil
	}
	conn, err := openNames(e)
	if err != nil {
		return nil, err
	}
	n.conn, n.locals = conn, locals
	return conn, nil
}

// openNames takes the families that there are.
func openNames(e *Engine) (*mdns.Conn, error) {
	interfaces := e.sockets.interfaces()
	if len(interfaces) == 0 {
		return nil, errors.New("no network interface is up that may be used")
	}
	var four *ipv4.PacketConn
	var six *ipv6.PacketConn
	conn4, err4 := listenMulticast("udp4", mdns.DefaultAddressIPv4)
	if err4 == nil {
		four = ipv4.NewPacketConn(conn4)
	}
	conn6, err6 := listenMulticast("udp6", mdns.DefaultAddressIPv6)
	if err6 == nil {
		six = ipv6.NewPacketConn(conn6)
	}
	if err4 != nil && err6 != nil {
		return nil, errors.Join(err4, err6)
	}
	conn, err := mdns.NewServer(four, six, mdns.WithInterfaces(interfaces...), mdns.WithIncludeLoopback(e.cfg.IncludeLoopback),
		mdns.WithCacheRefresh(false), mdns.WithLoggerFactory(stackLog{e.log}))
	if err != nil {
		for _, c := range []*net.UDPConn{conn4, conn6} {
			if c != nil {
				_ = c.Close()
			}
		}
	}
	return conn, err
}

func listenMulticast(network, address string) (*net.UDPConn, error) {
	group, err := net.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	return net.ListenUDP(network, group)
}

func (n *names) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	if n.conn != nil {
		_ = n.conn.Close()
		n.conn = nil
	}
}

// takeNamed takes the candidates with names out of a section: they come later, with their addresses.
func (o *offer) takeNamed(mid string, m *sdp.MediaDescription) {
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		c := messages.Candidate{Candidate: "candidate:" + a.Value, SDPMid: &mid}
		if a.Key != sdp.AttrKeyCandidate || !Named(c) {
			return false
		}
		o.named = append(o.named, c)
		return true
	})
}
