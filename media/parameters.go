package media

import (
	"github.com/heliograph-rtc/heliograph/messages"
)

// ParameterSets are the parameter sets of an access unit by kind, without start codes.
type ParameterSets struct {
	VPS, SPS, PPS [][]byte // VPS: of H.265 alone
}

// Complete tells whether a decoder can be set up with them.
func (s ParameterSets) Complete(codec messages.Codec) bool {
	return len(s.SPS) > 0 && len(s.PPS) > 0 && (codec != messages.H265 || len(s.VPS) > 0)
}

// Add takes a NAL unit when it is a parameter set, and tells whether it is one.
func (s *ParameterSets) Add(codec messages.Codec, nal []byte) bool {
	list := &s.SPS
	switch {
	case codec == messages.H265 && h265Type(nal) == h265TypeVPS:
		list = &s.VPS
	case codec == messages.H265 && h265Type(nal) == h265TypePPS, codec == messages.H264 && nal[0]&nalTypeMask == nalPPS:
		list = &s.PPS
	case kindOf(codec, nal) != nalSequence:
		return false
	}
	*list = append(*list, nal)
	return true
}

// Delimiter tells whether a NAL unit does nothing but separate pictures, which a container does itself.
func Delimiter(codec messages.Codec, nal []byte) bool {
	if codec == messages.H265 {
		return h265Type(nal) == h265TypeAUD
	}
	return nal[0]&nalTypeMask == nalAUD
}

// KeyFrame tells whether decoding can begin with an access unit: it holds all parameter sets and a picture
// that needs no other.
func KeyFrame(codec messages.Codec, au []byte) bool {
	if codec != messages.H265 {
		return H264KeyFrame(au)
	}
	var sets ParameterSets
	key := false
	for nal := range SplitAnnexB(au) {
		key = key || kindOf(codec, nal) == nalFirstKeySlice
		sets.Add(codec, nal)
	}
	return key && sets.Complete(codec)
}
