package rtc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/heliograph-rtc/heliograph/messages"
)

// PayloadBytesMax is a payload size that fits every path WebRTC meets: with the RTP header and its
// extensions, the SRTP tag and TURN's framing a packet stays under the IPv6 minimum MTU of 1280.
const PayloadBytesMax = 1180

// payloadBytesLeast leaves room for a byte behind the longest header of a fragment.
const payloadBytesLeast = 4

// Packetizer splits access units into RTP payloads, once for all viewers. It belongs to one
// goroutine.
type Packetizer struct {
	payloadMax int
	units      [][]byte  // of the access unit at hand
	empty      [2]uint64 // units without anything to send, per track
}

// NewPacketizer makes a Packetizer whose payloads are at most mtu bytes; 0 means PayloadBytesMax.
func NewPacketizer(mtu int) *Packetizer {
	if mtu <= 0 || mtu > 1<<16-1 {
		mtu = PayloadBytesMax
	}
	return &Packetizer{payloadMax: max(mtu, payloadBytesLeast)}
}

// Frame returns the unit with its payloads (RFC 6184 with packetization mode 1, RFC 7798, RFC 7587, RFC
// 3551). A payload may be a part of the unit itself, which nobody writes to any more. A unit without
// anything to send is an error, and leaves no gap in the numbers of the frames.
func (z *Packetizer) Frame(au *messages.AccessUnit) (*messages.Frame, error) {
	f := &framed{Frame: messages.Frame{Unit: au}}
	switch au.Codec {
	case messages.H264:
		f.Payloads = z.video(h264Format, au.Data)
	case messages.H265:
		f.Payloads = z.video(h265Format, au.Data)
	case messages.Opus, messages.PCMU, messages.PCMA:
		if len(au.Data) > 0 {
			f.only[0] = au.Data // RFC 7587 4.2, RFC 3551 4.2: a packet is a payload
			f.Payloads = f.only[:]
		}
	default:
		z.empty[au.Track]++
		return nil, fmt.Errorf("packetize %s unit: codec %q is not supported", au.Track, au.Codec)
	}
	if len(f.Payloads) == 0 {
		z.empty[au.Track]++
		return nil, fmt.Errorf("packetize %s unit: %w", au.Track, errNothingToSend)
	}
	f.Seq = au.Seq - z.empty[au.Track]
	return &f.Frame, nil
}

// framed has room for the payloads of sound.
type framed struct {
	messages.Frame
	only [1][]byte
}

var errNothingToSend = errors.New("it holds no picture and no sound")

// nalFormat is how a codec's NAL units travel.
type nalFormat struct {
	headerBytes int                                             // of a NAL unit; that of a fragment has one more
	sends       func(nal []byte) bool                           // false: a delimiter, a filler, a damaged one, or none of a byte stream's
	parameters  func(nal []byte) bool                           // a parameter set
	bundle      func(payload []byte, nals [][]byte) []byte      // appends the header of a payload with several units
	fragment    func(payload, nal []byte, position byte) []byte // appends the header of a payload with a part of one
}

// The position of a fragment, as its header tells it: RFC 6184 5.8, RFC 7798 4.4.3.
const (
	fragmentStart = 1 << 7
	fragmentEnd   = 1 << 6
)

// bundledLengthBytes stand before each unit of a payload with several (RFC 6184 5.7.1, RFC 7798 4.4.2).
const bundledLengthBytes = 2

// video makes the payloads of an access unit. Parameter sets that follow each other go into one payload if
// it holds them, a unit that is small enough is one, a larger one is cut into fragments. All payloads that
// are no part of the unit share one piece of memory.
func (z *Packetizer) video(format nalFormat, data []byte) [][]byte {
	z.split(format, data)
	count, size := 0, 0
	z.walk(format, func(nals [][]byte) {
		payloads, memory := z.needs(format, nals)
		count, size = count+payloads, size+memory
	})
	payloads, memory := make([][]byte, 0, count), make([]byte, 0, size)
	z.walk(format, func(nals [][]byte) {
		switch {
		case len(nals) > 1:
			at := len(memory)
			memory = format.bundle(memory, nals)
			for _, nal := range nals {
				memory = append(binary.BigEndian.AppendUint16(memory, uint16(len(nal))), nal...)
			}
			payloads = append(payloads, memory[at:len(memory):len(memory)])
		case len(nals[0]) <= z.payloadMax:
			payloads = append(payloads, nals[0])
		default:
			payloads, memory = z.cut(format, nals[0], payloads, memory)
		}
	})
	return payloads
}

// needs tells how many payloads units that go together make, and how much memory those take.
func (z *Packetizer) needs(format nalFormat, nals [][]byte) (payloads, memory int) {
	switch {
	case len(nals) > 1:
		return 1, z.bundled(format, nals)
	case len(nals[0]) <= z.payloadMax:
		return 1, 0
	}
	header, body := format.headerBytes+1, len(nals[0])-format.headerBytes
	part := z.payloadMax - header
	payloads = (body + part - 1) / part
	return payloads, body + payloads*header
}

// bundled is the size of a payload with several units.
func (z *Packetizer) bundled(format nalFormat, nals [][]byte) int {
	size := format.headerBytes
	for _, nal := range nals {
		size += bundledLengthBytes + len(nal)
	}
	return size
}

// walk calls each for the units that go together: parameter sets, or a single unit.
func (z *Packetizer) walk(format nalFormat, each func(nals [][]byte)) {
	for rest := z.units; len(rest) > 0; {
		n := 1
		for n < len(rest) && format.parameters(rest[n-1]) && format.parameters(rest[n]) && z.bundled(format, rest[:n+1]) <= z.payloadMax {
			n++
		}
		each(rest[:n])
		rest = rest[n:]
	}
}

// cut makes fragments of a unit. All but the last are of one size, so that they leave in one send.
func (z *Packetizer) cut(format nalFormat, nal []byte, payloads [][]byte, memory []byte) ([][]byte, []byte) {
	part, position := z.payloadMax-format.headerBytes-1, byte(fragmentStart)
	for body := nal[format.headerBytes:]; len(body) > 0; position = 0 {
		n := min(len(body), part)
		if n == len(body) {
			position |= fragmentEnd
		}
		at := len(memory)
		memory = append(format.fragment(memory, nal, position), body[:n]...)
		payloads = append(payloads, memory[at:len(memory):len(memory)])
		body = body[n:]
	}
	return payloads, memory
}

// split finds the NAL units that are to be sent (ITU-T H.264 and H.265, annex B). Those that are a header
// alone mark an end, which a live stream has none of.
func (z *Packetizer) split(format nalFormat, data []byte) {
	clear(z.units)
	z.units = z.units[:0]
	for at := bytes.Index(data, startCode); at >= 0; {
		data = data[at+len(startCode):]
		nal := data
		if at = bytes.Index(data, startCode); at >= 0 {
			nal = data[:at]
		}
		nal = bytes.TrimRight(nal, "\x00") // a unit's last byte is none; zeros are the stream's
		if len(nal) > format.headerBytes && format.sends(nal) {
			z.units = append(z.units, nal[:len(nal):len(nal)])
		}
	}
}

var startCode = []byte{0, 0, 1}

// forbiddenBit is the first of both codecs' headers; it says that a unit is damaged.
const forbiddenBit = 1 << 7

// NAL unit types of H.264 (ITU-T H.264 table 7-1), and those that RFC 6184 5.2 adds.
const (
	h264SPS    = 7
	h264PPS    = 8
	h264AUD    = 9
	h264Filler = 12
	h264STAPA  = 24
	h264FUA    = 28

	h264TypeMask = 0x1f
	h264NRIMask  = 0x60
)

var h264Format = nalFormat{
	headerBytes: 1,
	sends: func(nal []byte) bool {
		kind := nal[0] & h264TypeMask
		return nal[0] < forbiddenBit && kind > 0 && kind < h264STAPA && kind != h264AUD && kind != h264Filler
	},
	parameters: func(nal []byte) bool {
		kind := nal[0] & h264TypeMask
		return kind == h264SPS || kind == h264PPS
	},
	bundle: func(payload []byte, nals [][]byte) []byte { // RFC 6184 5.7.1
		var nri byte
		for _, nal := range nals {
			nri = max(nri, nal[0]&h264NRIMask)
		}
		return append(payload, nri|h264STAPA)
	},
	fragment: func(payload, nal []byte, position byte) []byte { // RFC 6184 5.8
		return append(payload, nal[0]&h264NRIMask|h264FUA, position|nal[0]&h264TypeMask)
	},
}

// NAL unit types of H.265 (ITU-T H.265 table 7-1), and those that RFC 7798 4.4 adds. The header has a
// forbidden bit, 6 bits of type, 6 of the layer, 3 of the temporal id (7.3.1.2).
const (
	h265VPS    = 32
	h265PPS    = 34
	h265AUD    = 35
	h265Filler = 38
	h265AP     = 48
	h265FU     = 49

	h265TypeMask     = 0x7e // of the first byte
	h265TemporalMask = 0x07 // of the second one
	h265LayersMax    = 0x3f
)

func h265Type(nal []byte) byte  { return nal[0] & h265TypeMask >> 1 }
func h265Layer(nal []byte) byte { return nal[0]<<5&0x20 | nal[1]>>3 }

var h265Format = nalFormat{
	headerBytes: 2,
	sends: func(nal []byte) bool {
		kind := h265Type(nal)
		return nal[0] < forbiddenBit && kind < h265AP && kind != h265AUD && kind != h265Filler
	},
	parameters: func(nal []byte) bool { return h265Type(nal) >= h265VPS && h265Type(nal) <= h265PPS },
	bundle: func(payload []byte, nals [][]byte) []byte { // RFC 7798 4.4.2: the lowest layer and temporal id of all
		layer, temporal := byte(h265LayersMax), byte(h265TemporalMask)
		for _, nal := range nals {
			layer, temporal = min(layer, h265Layer(nal)), min(temporal, nal[1]&h265TemporalMask)
		}
		return append(payload, h265AP<<1|layer>>5, layer<<3|temporal)
	},
	fragment: func(payload, nal []byte, position byte) []byte { // RFC 7798 4.4.3
		return append(payload, nal[0]&^h265TypeMask|h265FU<<1, nal[1], position|h265Type(nal))
	},
}
