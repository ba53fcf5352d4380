package rtc

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
)

// A viewer sends transport-wide feedback ten times a second, and on its way through pion a packet passes
// five goroutines and four queues. So it is opened where it comes in: the reader of the shared socket knows
// the address that a viewer's packets go to, and what feedback is shows before it is decrypted. All else is
// pion's, as is feedback that comes together with something else.

// hearer hears what one viewer says of the arrival of packets.
type hearer struct {
	mu      sync.Mutex // a viewer may come over two of our sockets
	context *srtp.Context
	header  rtcp.Header
	plain   []byte
	hear    func(feedback []byte)
}

func newHearer(c srtp.Config, hear func([]byte)) (*hearer, error) {
	context, err := srtp.CreateContext(c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt, c.Profile,
		srtp.SRTCPReplayProtection(replayPackets))
	if err != nil {
		return nil, fmt.Errorf("open SRTCP: %w", err)
	}
	return &hearer{context: context, hear: hear}, nil
}

// replayPackets is how far a packet may be overtaken (RFC 3711 3.3.2).
const replayPackets = 64

// take hears a packet that holds nothing but feedback; false: it is pion's.
func (h *hearer) take(packet []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	plain, err := h.context.DecryptRTCP(h.plain[:cap(h.plain)], packet, &h.header)
	if err != nil {
		return false // it finds out as well
	}
	h.plain = plain
	for rest := plain; len(rest) > 0; {
		size := reportSize(rest)
		if !isFeedback(rest) || size == 0 {
			return false
		}
		rest = rest[size:]
	}
	for rest := plain; len(rest) > 0; {
		size := reportSize(rest)
		h.hear(rest[:size])
		rest = rest[size:]
	}
	return true
}

// isFeedback tells whether an RTCP packet, encrypted or not, begins with transport-wide feedback
// (transport-wide-cc-01 3.1): SRTCP leaves the first 8 bytes as they are (RFC 3711 3.4).
func isFeedback(packet []byte) bool {
	return len(packet) >= 8 && packet[0]>>6 == 2 && packet[0]&0x1f == rtcp.FormatTCC &&
		packet[1] == uint8(rtcp.TypeTransportSpecificFeedback)
}

// hearers finds a packet's hearer by where it comes from.
type hearers struct {
	*lookup[netip.AddrPort, *hearer]
	heard atomic.Uint64
}

func newHearers() *hearers { return &hearers{lookup: newLookup[netip.AddrPort, *hearer]()} }

// take offers a packet to whom it may be for; false: it is pion's.
func (s *hearers) take(packet []byte, from netip.AddrPort) bool {
	if !isFeedback(packet) {
		return false
	}
	h := s.at(from)
	if h == nil || !h.take(packet) {
		return false
	}
	s.heard.Add(1)
	return true
}
