package rtc

// How the packets of a frame leave. In order of execution:
//
//	track.write   begin     opens this viewer's batch
//	pion                    seals each packet and brings it down to a socket
//	the socket    collect   finds the open batch by the packet's SSRC, which is not encrypted, and copies
//	                        the packet: pion takes its buffer back when the write returns
//	the batch     flush     one send for up to 16 packets of one size, the last one may be shorter
//	track.write   end       flushes what is left
//
// A batch belongs to one viewer. Whatever is not RTP of an open batch (STUN, DTLS, RTCP, packets sent
// once more on their own stream) goes out at once, past it.

import (
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
)

const (
	// segmentsMax is how many packets one send carries. Half as many cost 18 % more CPU, four times as
	// many gain nothing (performance.md, "The shape that reaches it").
	segmentsMax = 16

	datagramBytesMax = 1500
)

// segmentSender is a socket that sends datagrams of one size, the last one may be shorter, from one
// buffer. What the network does not take is lost, as datagrams are, and counted by the socket; the
// error is for a socket that is closed.
type segmentSender interface {
	sendSegments(a *arena, segment int, to netip.AddrPort) error
}

// arena holds the packets of one send, and what the system call needs besides.
type arena struct {
	buf  [segmentsMax * datagramBytesMax]byte
	used int
	call sendCall
}

var arenas = sync.Pool{New: func() any { return new(arena) }}

// batch collects the packets of one viewer between begin and end.
type batch struct {
	mu      sync.Mutex
	packets *arena // nil: not open
	via     segmentSender
	to      netip.AddrPort
	segment int // bytes of all packets but the last
	count   int
	err     error // of the first send that failed
}

func (b *batch) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.packets, b.err = arenas.Get().(*arena), nil
}

// end sends what is left and returns the first error since begin.
func (b *batch) end() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flush()
	arenas.Put(b.packets)
	b.packets, b.via = nil, nil
	return b.err
}

// collect takes a packet, or says that the batch is not open.
func (b *batch) collect(via segmentSender, packet []byte, to netip.AddrPort) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.packets == nil || len(packet) > datagramBytesMax {
		return false
	}
	if b.count > 0 && (b.via != via || b.to != to || len(packet) > b.segment) {
		b.flush()
	}
	if b.count == 0 {
		b.via, b.to, b.segment = via, to, len(packet)
	}
	b.packets.used += copy(b.packets.buf[b.packets.used:], packet)
	b.count++
	if b.count == segmentsMax || len(packet) < b.segment {
		b.flush()
	}
	return true
}

func (b *batch) flush() {
	if b.count == 0 {
		return
	}
	if err := b.via.sendSegments(b.packets, b.segment, b.to); err != nil && b.err == nil {
		b.err = err
	}
	b.packets.used, b.count = 0, 0
}

// batches finds the batch of a packet. Sends read the map, peers that come and go replace it.
type batches struct {
	changing sync.Mutex
	bySSRC   atomic.Pointer[map[uint32]*batch]
}

func newBatches() *batches {
	s := &batches{}
	s.bySSRC.Store(&map[uint32]*batch{})
	return s
}

func (s *batches) change(edit func(map[uint32]*batch)) {
	s.changing.Lock()
	defer s.changing.Unlock()
	next := maps.Clone(*s.bySSRC.Load())
	edit(next)
	s.bySSRC.Store(&next)
}

// collect offers a packet to the batch that is open for it; false: nobody's, send it now.
func (s *batches) collect(via segmentSender, packet []byte, to netip.AddrPort) bool {
	ssrc, ok := ssrcOf(packet)
	if !ok {
		return false
	}
	b := (*s.bySSRC.Load())[ssrc]
	return b != nil && b.collect(via, packet, to)
}

// ssrcOf finds the SSRC of an RTP packet, bare or inside TURN's ChannelData. First bytes and packet
// types tell what a datagram is: RFC 7983 7, RFC 5761 4.
func ssrcOf(packet []byte) (uint32, bool) {
	if len(packet) > 4 && packet[0]>>4 == 4 {
		packet = packet[4:] // RFC 8656 12.4
	}
	if len(packet) < 12 || packet[0]>>6 != 2 || packet[1] >= 192 && packet[1] <= 223 {
		return 0, false
	}
	return uint32(packet[8])<<24 | uint32(packet[9])<<16 | uint32(packet[10])<<8 | uint32(packet[11]), true
}

// sendCounts count what the sockets of an Engine send.
type sendCounts struct {
	calls   atomic.Uint64 // system calls
	packets atomic.Uint64 // in batches
	lost    atomic.Uint64 // not taken by the network
	refused atomic.Uint64 // segmented sends that the kernel did not do
}

// Sent counts the datagrams of an Engine's UDP sockets since it was made.
type Sent struct {
	Calls           uint64 // system calls
	Batched         uint64 // packets of frames that went out in batches
	Lost            uint64 // packets that the network did not take
	SegmentsRefused uint64 // segmented sends that the kernel refused; plain ones took their place
}

func (c *sendCounts) read() Sent {
	return Sent{Calls: c.calls.Load(), Batched: c.packets.Load(), Lost: c.lost.Load(), SegmentsRefused: c.refused.Load()}
}
