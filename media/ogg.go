package media

import (
	"bytes"
	"errors"
)

const (
	oggHeaderBytes  = 27 // RFC 3533 6, up to the segment table
	oggSegmentMax   = 255
	opusHeaderPages = 2 // RFC 7845 3: OpusHead and OpusTags
)

var errOggTruncated = errors.New("read Ogg page: the stream ends inside one")

// splitOpus returns the Opus packets of an Ogg stream (RFC 3533, RFC 7845) with one logical stream.
func splitOpus(ogg []byte) ([][]byte, error) {
	var packets [][]byte
	var open []byte // a packet that goes on with the next segment
	for len(ogg) > 0 {
		if len(ogg) < oggHeaderBytes || !bytes.HasPrefix(ogg, []byte("OggS\x00")) {
			return nil, errors.New("read Ogg page: no page begins where one must")
		}
		segments := int(ogg[oggHeaderBytes-1])
		if len(ogg) < oggHeaderBytes+segments {
			return nil, errOggTruncated
		}
		lacing := ogg[oggHeaderBytes : oggHeaderBytes+segments]
		ogg = ogg[oggHeaderBytes+segments:]
		for _, size := range lacing {
			if len(ogg) < int(size) {
				return nil, errOggTruncated
			}
			open = append(open, ogg[:size]...)
			ogg = ogg[size:]
			if size < oggSegmentMax { // RFC 3533 5: a shorter segment ends the packet
				packets = append(packets, open)
				open = nil
			}
		}
	}
	if len(packets) < opusHeaderPages || !bytes.HasPrefix(packets[0], []byte("OpusHead")) {
		return nil, errors.New("read Ogg stream: it holds no Opus")
	}
	return packets[opusHeaderPages:], nil
}
