package playback

import "encoding/binary"

// NAL unit types of H.265 (ITU-T H.265 table 7-1) and of RFC 7798.
const (
	h265SliceMax = 9
	h265KeyMin   = 16 // pictures that decoding can begin with
	h265KeyMax   = 23
	h265VPS      = 32
	h265SPS      = 33
	h265PPS      = 34
	h265AUD      = 35
	h265AP       = 48
	h265FU       = 49

	h265HeaderBytes = 2
)

// readH265 says what of which NAL units an H.265 payload holds (RFC 7798 section 4.4).
func readH265(payload []byte) nalParts {
	if len(payload) <= h265HeaderBytes {
		return nalParts{bad: true}
	}
	var n nalParts
	switch kind := h265Type(payload); kind {
	case h265AP:
		n.aggregateH265(payload[h265HeaderBytes:])
	case h265FU:
		if len(payload) <= h265HeaderBytes+1 {
			return nalParts{bad: true}
		}
		header := payload[h265HeaderBytes]
		n.fragment, n.first, n.last = true, header&0x80 != 0, header&0x40 != 0
		n.bad = n.first && n.last // RFC 7798 section 4.4.3: never both
		n.addH265(header & 0x3f)
		n.begin = n.first && opensH265(header&0x3f)
	default:
		n.bad = kind > h265FU
		n.addH265(kind)
		n.begin = opensH265(kind)
	}
	return n
}

// aggregateH265 reads the NAL units of an aggregation packet (RFC 7798 section 4.4.2).
func (n *nalParts) aggregateH265(b []byte) {
	n.bad = len(b) == 0
	first := true
	for len(b) > 0 {
		if len(b) < 2 {
			n.bad = true
			return
		}
		size := int(binary.BigEndian.Uint16(b))
		if size <= h265HeaderBytes || len(b) < 2+size {
			n.bad = true
			return
		}
		kind := h265Type(b[2:])
		n.addH265(kind)
		if kind != h265AUD {
			n.begin = n.begin || first && opensH265(kind)
			first = false
		}
		b = b[2+size:]
	}
}

func h265Type(nal []byte) byte { return nal[0] >> 1 & 0x3f }

// opensH265 tells whether a key frame begins with this NAL unit.
func opensH265(kind byte) bool { return kind == h265VPS || kind == h265SPS }

func (n *nalParts) addH265(kind byte) {
	switch {
	case kind == h265SPS:
		n.sps = true
	case kind == h265PPS:
		n.pps = true
	case kind >= h265KeyMin && kind <= h265KeyMax:
		n.idr = true
	case kind <= h265SliceMax:
		n.slice = true
	}
}
