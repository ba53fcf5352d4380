package rtc

import (
	"errors"
	"fmt"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/pion/rtp/codecs"
)

// PayloadBytesMax is a payload size that fits every path WebRTC meets: with the RTP header and its
// extensions, the SRTP tag and TURN's framing a packet stays under the IPv6 minimum MTU of 1280.
const PayloadBytesMax = 1180

// Packetizer splits access units into RTP payloads, once for all viewers. It belongs to one
// goroutine.
type Packetizer struct {
	payloadMax uint16
	h264       codecs.H264Payloader
	h265       codecs.H265Payloader
	empty      [2]uint64 // units without anything to send, per track
}

// NewPacketizer makes a Packetizer whose payloads are at most mtu bytes; 0 means PayloadBytesMax.
func NewPacketizer(mtu int) *Packetizer {
	if mtu <= 0 || mtu > 1<<16-1 {
		mtu = PayloadBytesMax
	}
	// With aggregation pion's H.265 payloader keeps parameter sets back and repeats old ones; a unit is
	// to be sent as it is.
	return &Packetizer{payloadMax: uint16(mtu), h265: codecs.H265Payloader{SkipAggregation: true}}
}

// Frame returns the unit with its payloads (RFC 6184 with packetization mode 1, RFC 7798, RFC 7587, RFC 3551).
// pion's H.264 payloader puts SPS and PPS into one STAP-A and leaves out delimiters and filler; it
// copies, so payloads never alias the unit. A unit without anything to send is an error, and leaves no
// gap in the numbers of the frames.
func (z *Packetizer) Frame(au *messages.AccessUnit) (*messages.Frame, error) {
	f := &messages.Frame{Unit: au}
	switch au.Codec {
	case messages.H264:
		f.Payloads = z.h264.Payload(z.payloadMax, au.Data)
	case messages.H265:
		f.Payloads = z.h265.Payload(z.payloadMax, au.Data)
	case messages.Opus, messages.PCMU, messages.PCMA:
		if len(au.Data) > 0 {
			f.Payloads = [][]byte{au.Data} // RFC 7587 4.2, RFC 3551 4.2: a packet is a payload
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
	return f, nil
}

var errNothingToSend = errors.New("it holds no picture and no sound")
