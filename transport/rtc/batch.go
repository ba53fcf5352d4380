package rtc

// How the packets of a frame leave. In order of execution:
//
//	track.write   begin     opens this viewer's batch
//	pion                    seals the first packet of a second, and brings it down to a socket
//	the socket    collect   finds the open batch by the packet's SSRC, which is not encrypted, and copies
//	                        the packet: pion takes its buffer back when the write returns. The batch knows
//	                        the way now
//	track.write   seal      seals the others in the batch itself, for the same way: more than half of what
//	                        a packet takes besides its encryption is spared
//	the batch     flush     one send for up to 16 packets of one size, the last one may be shorter
//	track.write   end       flushes what is left
//
// A batch belongs to one viewer. Whatever is not RTP of an open batch (STUN, DTLS, RTCP, packets sent
// once more on their own stream) goes out at once, past it.

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/pion/rtp"
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

// way is where a viewer's packets go. A relayed one's are framed as ChannelData (RFC 8656 12.4).
type way struct {
	via     segmentSender // nil: not known
	to      netip.AddrPort
	channel uint16 // of a TURN server; 0: none
}

const channelHeaderBytes = 4

func wayOf(via segmentSender, packet []byte, to netip.AddrPort) way {
	w := way{via: via, to: to}
	if isChannelData(packet) {
		w.channel = binary.BigEndian.Uint16(packet)
	}
	return w
}

// direct is the viewer's own address; false: the way is not known, or leads through a TURN server.
func (w way) direct() (netip.AddrPort, bool) {
	return netip.AddrPortFrom(w.to.Addr().Unmap(), w.to.Port()), w.via != nil && w.channel == 0
}

// headed is a buffer of the packet's size behind what the way wants in front of it.
func (w way) headed(buffer []byte) []byte {
	if w.channel == 0 {
		return buffer
	}
	binary.BigEndian.PutUint16(buffer, w.channel)
	binary.BigEndian.PutUint16(buffer[2:], uint16(len(buffer)-channelHeaderBytes))
	return buffer[channelHeaderBytes:]
}

func (w way) overhead() int {
	if w.channel == 0 {
		return 0
	}
	return channelHeaderBytes
}

// batch collects the packets of one viewer between begin and end.
type batch struct {
	mu      sync.Mutex
	packets *arena // nil: not open
	via     segmentSender
	to      netip.AddrPort
	segment int // bytes of all packets but the last
	count   int
	err     error // of the first send that failed
	way     way   // of the last packet that pion brought
	onWay   func(former, now way)
	nonce   [nonceBytes]byte
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

// collect takes a packet that pion has sealed, or says that the batch is not open.
func (b *batch) collect(via segmentSender, packet []byte, to netip.AddrPort) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.packets == nil || len(packet) > datagramBytesMax {
		return false
	}
	b.turn(wayOf(via, packet, to))
	copy(b.room(via, to, len(packet)), packet)
	b.took(len(packet))
	return true
}

// seal takes a packet past pion, and returns its size; 0: pion has shown no way yet.
func (b *batch) seal(s *sealer, header *rtp.Header, payload []byte, index uint64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	packet := sealedSize(header, payload)
	size := b.way.overhead() + packet
	if b.way.via == nil || size > datagramBytesMax {
		return 0, nil
	}
	if err := s.seal(b.way.headed(b.room(b.way.via, b.way.to, size)), header, payload, index, &b.nonce); err != nil {
		return 0, err
	}
	b.took(size)
	return packet, nil
}

// lose forgets the way: pion will show another.
func (b *batch) lose() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(way{})
}

func (b *batch) turn(now way) {
	if b.way == now {
		return
	}
	if b.onWay != nil {
		b.onWay(b.way, now)
	}
	b.way = now
}

// room is where the next packet goes. What cannot leave together with it leaves before.
func (b *batch) room(via segmentSender, to netip.AddrPort, size int) []byte {
	if b.count > 0 && (b.via != via || b.to != to || size > b.segment) {
		b.flush()
	}
	if b.count == 0 {
		b.via, b.to, b.segment = via, to, size
	}
	return b.packets.buf[b.packets.used : b.packets.used+size]
}

func (b *batch) took(size int) {
	b.packets.used += size
	b.count++
	if b.count == segmentsMax || size < b.segment {
		b.flush()
	}
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

// batches finds the batch of a packet by its SSRC.
type batches struct{ *lookup[uint32, *batch] }

func newBatches() *batches { return &batches{newLookup[uint32, *batch]()} }

// collect offers a packet to the batch that is open for it; false: nobody's, send it now.
func (s *batches) collect(via segmentSender, packet []byte, to netip.AddrPort) bool {
	ssrc, ok := ssrcOf(packet)
	if !ok {
		return false
	}
	b := s.at(ssrc)
	return b != nil && b.collect(via, packet, to)
}

// ssrcOf finds the SSRC of an RTP packet, bare or inside TURN's ChannelData. First bytes and packet
// types tell what a datagram is: RFC 7983 7, RFC 5761 4.
func ssrcOf(packet []byte) (uint32, bool) {
	if isChannelData(packet) {
		packet = packet[channelHeaderBytes:]
	}
	if len(packet) < 12 || packet[0]>>6 != 2 || packet[1] >= 192 && packet[1] <= 223 {
		return 0, false
	}
	return uint32(packet[8])<<24 | uint32(packet[9])<<16 | uint32(packet[10])<<8 | uint32(packet[11]), true
}

// isChannelData: RFC 8656 12.
func isChannelData(packet []byte) bool {
	return len(packet) > channelHeaderBytes && packet[0]>>4 == 4
}

// sendCounts count what the sockets of an Engine send.
type sendCounts struct {
	calls   atomic.Uint64 // system calls
	packets atomic.Uint64 // in batches
	sealed  atomic.Uint64 // past pion
	lost    atomic.Uint64 // not taken by the network
	refused atomic.Uint64 // segmented sends that the kernel did not do
}

// Sent counts the datagrams of an Engine's UDP sockets since it was made.
type Sent struct {
	Calls           uint64 // system calls
	Batched         uint64 // packets of frames that went out in batches
	Sealed          uint64 // of these, packets that were sealed in the batch itself
	Lost            uint64 // packets that the network did not take
	SegmentsRefused uint64 // segmented sends that the kernel refused; plain ones took their place
}

func (c *sendCounts) read() Sent {
	return Sent{
		Calls: c.calls.Load(), Batched: c.packets.Load(), Sealed: c.sealed.Load(), Lost: c.lost.Load(), SegmentsRefused: c.refused.Load(),
	}
}
