// Package playback judges a stream as a decoder would, without decoding it: packets and their times in,
// figures out. Nothing here reads a clock or a socket.
//
// Flow of a video packet: NewPacket reads its header -> order puts it back in sequence -> assembler
// makes pictures of packets -> Video counts.
package playback

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtp"
)

// Packet is what the accounting keeps of an RTP packet. Payload bytes are counted, not kept.
type Packet struct {
	seq    uint16
	time   uint32    // RTP timestamp
	marker bool      // ends a picture
	bytes  int       // of the whole packet
	stamp  time.Time // abs-capture-time; zero: none
	nal    nalParts  // video only
}

// Payload is how the payload of a packet is to be read.
type Payload int

// The formats of payloads.
const (
	NoNAL Payload = iota // sound
	H264
	H265
)

// NewPacket reads a packet; stampID is the negotiated id of abs-capture-time, 0 when there is none.
func NewPacket(p *rtp.Packet, size int, stampID uint8, video Payload) Packet {
	a := Packet{seq: p.SequenceNumber, time: p.Timestamp, marker: p.Marker, bytes: size}
	if stampID != 0 {
		var ext rtp.AbsCaptureTimeExtension
		if raw := p.GetExtension(stampID); raw != nil && ext.Unmarshal(raw) == nil {
			a.stamp = ext.CaptureTime()
		}
	}
	switch video {
	case H264:
		a.nal = readNAL(p.Payload)
	case H265:
		a.nal = readH265(p.Payload)
	}
	return a
}

// nalParts says what of which NAL units an H.264 payload holds (RFC 6184 section 5.2).
type nalParts struct {
	sps, pps, idr, slice bool
	begin                bool // opens a key frame: parameter sets come first
	fragment             bool // FU-A; first and last say where in its NAL unit it stands
	first, last          bool
	bad                  bool // cannot be decoded
}

// NAL unit types of H.264 and of RFC 6184.
const (
	nalSlice = 1
	nalIDR   = 5
	nalSPS   = 7
	nalPPS   = 8
	nalAUD   = 9
	nalSTAPA = 24
	nalFUA   = 28
)

func readNAL(payload []byte) nalParts {
	if len(payload) == 0 {
		return nalParts{bad: true}
	}
	var n nalParts
	switch kind := payload[0] & 0x1f; {
	case kind == nalSTAPA:
		n.aggregate(payload[1:])
	case kind == nalFUA:
		if len(payload) < 3 {
			return nalParts{bad: true}
		}
		n.fragment, n.first, n.last = true, payload[1]&0x80 != 0, payload[1]&0x40 != 0
		n.bad = n.first && n.last // RFC 6184 section 5.8: never both
		n.add(payload[1] & 0x1f)
		n.begin = n.sps && n.first
	case kind == 0 || kind > 23: // packetization-mode 1 knows no others
		n.bad = true
	default:
		n.add(kind)
		n.begin = n.sps
	}
	return n
}

// aggregate reads the NAL units of a STAP-A (RFC 6184 section 5.7.1).
func (n *nalParts) aggregate(b []byte) {
	n.bad = len(b) == 0
	first := true
	for len(b) > 0 {
		if len(b) < 3 {
			n.bad = true
			return
		}
		size := int(binary.BigEndian.Uint16(b))
		if size == 0 || len(b) < 2+size {
			n.bad = true
			return
		}
		kind := b[2] & 0x1f
		n.add(kind)
		if kind != nalAUD {
			n.begin = n.begin || first && kind == nalSPS
			first = false
		}
		b = b[2+size:]
	}
}

func (n *nalParts) add(kind byte) {
	switch kind {
	case nalSPS:
		n.sps = true
	case nalPPS:
		n.pps = true
	case nalIDR:
		n.idr = true
	case nalSlice, 2, 3, 4: // 2 to 4 are data partitions
		n.slice = true
	}
}
