package media

import "github.com/heliograph-rtc/heliograph/messages"

// H.265 NAL unit types (ITU-T H.265 table 7-1).
const (
	h265TypeVCLMax  = 31
	h265TypeIRAPMin = 16
	h265TypeIRAPMax = 23
	h265TypeVPS     = 32
	h265TypeSPS     = 33
	h265TypePPS     = 34
	h265TypeAUD     = 35
	h265TypeSEI     = 39
)

// nalKind is what a NAL unit means to those who cut and check streams of either codec.
type nalKind uint8

const (
	nalOther         nalKind = iota
	nalOpens                 // a delimiter or SEI: opens an access unit after a picture
	nalParameters            // a parameter set: does so too
	nalSequence              // the parameter set of the sequence among them
	nalFirstSlice            // the first slice of a picture
	nalFirstKeySlice         // likewise, of a picture that decoding can begin with
	nalFurtherSlice
)

// kindOf tells what a NAL unit is. Of a picture's first slice it needs three bytes.
func kindOf(codec messages.Codec, nal []byte) nalKind {
	if codec == messages.H265 {
		return h265Kind(nal)
	}
	switch kind := nal[0] & nalTypeMask; {
	case kind == nalSPS:
		return nalSequence
	case kind == nalPPS:
		return nalParameters
	case kind == nalSEI || kind == nalAUD:
		return nalOpens
	case kind != nalSlice && kind != nalIDR:
		return nalOther
	case !firstMacroblock(nal):
		return nalFurtherSlice
	case kind == nalIDR:
		return nalFirstKeySlice
	}
	return nalFirstSlice
}

func h265Kind(nal []byte) nalKind {
	switch kind := h265Type(nal); {
	case kind == h265TypeSPS:
		return nalSequence
	case kind == h265TypeVPS || kind == h265TypePPS:
		return nalParameters
	case kind == h265TypeAUD || kind == h265TypeSEI:
		return nalOpens
	case kind > h265TypeVCLMax:
		return nalOther
	case len(nal) < 3 || nal[2]&0x80 == 0: // first_slice_segment_in_pic_flag, 7.3.6.1
		return nalFurtherSlice
	case kind >= h265TypeIRAPMin && kind <= h265TypeIRAPMax:
		return nalFirstKeySlice
	}
	return nalFirstSlice
}

// h265Type reads nal_unit_type from the first of the header's two bytes (7.3.1.2).
func h265Type(nal []byte) byte { return nal[0] >> 1 & 0x3f }

// opens tells whether an access unit begins with this NAL unit when a slice stands before it (H.264
// 7.4.1.2.3, H.265 7.4.2.4.4).
func (k nalKind) opens() bool { return k != nalOther && k != nalFurtherSlice }

func (k nalKind) slice() bool { return k >= nalFirstSlice }

// guessCodec tells H.265 from H.264 by the first NAL unit of a stream: a parameter set, a delimiter or
// SEI of the base layer. As H.264 those would be of types that no stream begins with.
func guessCodec(nal []byte) messages.Codec {
	if len(nal) < 2 || nal[0]&0x81 != 0 || nal[1] != 1 {
		return messages.H264
	}
	switch h265Type(nal) {
	case h265TypeVPS, h265TypeSPS, h265TypePPS, h265TypeAUD, h265TypeSEI:
		return messages.H265
	}
	return messages.H264
}
