package impair

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/pion/transport/v4"
)

const datagramBytesMax = 65535

// Conn is a UDP socket on a bad network. Outgoing packets wait for their time under one timer, the
// incoming ones inside the call that reads: neither needs a goroutine of its own.
type Conn struct {
	socket *net.UDPConn
	out    outbound
	in     inbound
}

// Conn is what pion asks of a socket.
var _ transport.UDPConn = (*Conn)(nil)

func newConn(socket *net.UDPConn, p Profile, number uint64, stats *counters) *Conn {
	c := &Conn{socket: socket}
	c.out.socket, c.out.stats, c.out.line = socket, &stats.out, newLine(p, 2*number)
	c.out.empty.L = &c.out.mu
	p.Loss = max(p.Loss, p.LossIn)
	c.in.socket, c.in.stats, c.in.line = socket, &stats.in, newLine(p, 2*number+1)
	return c
}

// packet is one that waits for its time.
type packet struct {
	due  time.Time
	peer netip.AddrPort // not valid: the peer of a connected socket
	data []byte
}

// outbound is the direction to the network. Writers and the timer meet here.
type outbound struct {
	socket *net.UDPConn
	stats  *direction

	mu     sync.Mutex
	line   line
	flight []packet // in order of their due times
	timer  *time.Timer
	closed bool
	empty  sync.Cond // nothing in flight any more
}

// send takes a copy of b and returns at once; a lost packet looks sent, as on a real network.
func (o *outbound) send(b []byte, peer netip.AddrPort) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return 0, net.ErrClosed
	}
	now := time.Now()
	o.line.change(int(o.stats.rate.Load()))
	due, f := o.line.admit(now, len(b))
	if f == delivered && len(o.flight) >= flightPacketsMax {
		f = overflown
	}
	o.stats.count(f)
	if f != delivered {
		return len(b), nil
	}
	p := packet{due: due, peer: peer, data: b}
	if len(o.flight) == 0 && !due.After(now) {
		return len(b), o.write(p)
	}
	p.data = append([]byte(nil), b...)
	o.flight = append(o.flight, p)
	if len(o.flight) == 1 {
		o.timer = time.AfterFunc(due.Sub(now), o.fire)
	}
	return len(b), nil
}

func (o *outbound) write(p packet) error {
	var err error
	if p.peer.IsValid() {
		_, err = o.socket.WriteToUDPAddrPort(p.data, p.peer)
	} else {
		_, err = o.socket.Write(p.data)
	}
	return err
}

// fire sends what is due. One timer at most is armed, so that packets keep their order.
func (o *outbound) fire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.flight) > 0 {
		wait := time.Until(o.flight[0].due)
		if wait > 0 {
			o.timer = time.AfterFunc(wait, o.fire)
			return
		}
		_ = o.write(o.flight[0]) // the sender is gone; to it the packet is lost
		o.flight[0] = packet{}
		o.flight = o.flight[1:]
	}
	o.flight = nil
	o.empty.Broadcast()
}

// drain lets what was sent arrive, the goodbye of DTLS above all, and takes nothing more.
func (o *outbound) drain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for len(o.flight) > 0 {
		o.empty.Wait()
	}
}

// abandon forgets what is in flight.
func (o *outbound) abandon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if o.timer != nil {
		o.timer.Stop()
	}
	o.flight = nil
	o.empty.Broadcast()
}

// inbound is the direction from the network. The one who reads owns it, apart from the deadlines.
type inbound struct {
	socket *net.UDPConn
	stats  *direction

	reading sync.Mutex // held by the reader
	line    line
	flight  []packet
	scratch []byte

	mu   sync.Mutex
	user time.Time // the deadline that the caller set
	head time.Time // when the first packet in flight is due
}

// receive returns the next packet whose time has come.
func (i *inbound) receive(b []byte) (int, netip.AddrPort, error) {
	i.reading.Lock()
	defer i.reading.Unlock()
	if i.scratch == nil {
		i.scratch = make([]byte, datagramBytesMax)
	}
	for {
		if len(i.flight) > 0 && !i.flight[0].due.After(time.Now()) {
			p := i.flight[0]
			i.flight[0] = packet{}
			i.flight = i.flight[1:]
			return copy(b, p.data), p.peer, nil
		}
		if err := i.await(); err != nil {
			return 0, netip.AddrPort{}, err
		}
		n, peer, err := i.socket.ReadFromUDPAddrPort(i.scratch)
		switch {
		case err == nil:
			i.admit(i.scratch[:n], peer)
		case !errors.Is(err, os.ErrDeadlineExceeded) || i.expired():
			return 0, netip.AddrPort{}, err
		}
	}
}

func (i *inbound) admit(b []byte, peer netip.AddrPort) {
	now := time.Now()
	i.line.change(int(i.stats.rate.Load()))
	due, f := i.line.admit(now, len(b))
	if f == delivered && now.UnixNano() < i.stats.dark.Load() {
		f = lost
	}
	if f == delivered && len(i.flight) >= flightPacketsMax {
		f = overflown
	}
	i.stats.count(f)
	if f == delivered {
		i.flight = append(i.flight, packet{due: due, peer: peer, data: append([]byte(nil), b...)})
	}
}

// await lets the socket's read end when the caller wants it or when the next packet is due.
func (i *inbound) await() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.head = time.Time{}
	if len(i.flight) > 0 {
		i.head = i.flight[0].due
	}
	return i.arm()
}

func (i *inbound) arm() error {
	deadline := i.user
	if deadline.IsZero() || (!i.head.IsZero() && i.head.Before(deadline)) {
		deadline = i.head
	}
	return i.socket.SetReadDeadline(deadline)
}

func (i *inbound) setDeadline(t time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.user = t
	return i.arm()
}

func (i *inbound) expired() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return !i.user.IsZero() && !time.Now().Before(i.user)
}
