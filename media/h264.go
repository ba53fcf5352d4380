package media

import (
	"bytes"
	"iter"
)

// H.264 NAL unit types (ITU-T H.264 table 7-1).
const (
	nalSlice    = 1
	nalIDR      = 5
	nalSEI      = 6 // SEI, SPS, PPS and AUD, 6 to 9, open an access unit
	nalSPS      = 7
	nalPPS      = 8
	nalAUD      = 9
	nalTypeMask = 0x1f
)

// SplitAnnexB yields the NAL units of a byte stream (ITU-T H.264 annex B) without start codes and
// without the zero bytes that may trail a unit. They are sub-slices of au. What stands before the
// first start code is no NAL unit and is left out, as are empty units.
func SplitAnnexB(au []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, nal := range locateNALs(au) {
			if !yield(nal) {
				return
			}
		}
	}
}

// locateNALs yields each NAL unit with the offset of its start code, in the three-byte form.
func locateNALs(stream []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		at := bytes.Index(stream, startCode)
		for at >= 0 {
			begin, end, next := at+len(startCode), len(stream), -1
			if i := bytes.Index(stream[begin:], startCode); i >= 0 {
				end, next = begin+i, begin+i
			}
			// A unit never ends in zero (7.4.1.1), so zeros belong to the next start code or are padding.
			nal := bytes.TrimRight(stream[begin:end:end], "\x00")
			if len(nal) > 0 && !yield(at, nal) {
				return
			}
			at = next
		}
	}
}

var startCode = []byte{0, 0, 1}

// H264KeyFrame tells whether decoding can begin with this access unit: it holds a sequence and a
// picture parameter set and an IDR slice.
func H264KeyFrame(au []byte) bool {
	var sps, pps, idr bool
	for nal := range SplitAnnexB(au) {
		switch nal[0] & nalTypeMask {
		case nalSPS:
			sps = true
		case nalPPS:
			pps = true
		case nalIDR:
			idr = true
		}
	}
	return sps && pps && idr
}

// splitAccessUnits cuts a byte stream into access units (7.4.1.2.3): a new one begins with the first
// delimiter, parameter set or SEI after a slice, or with a slice whose first_mb_in_slice is 0. The
// units are sub-slices of stream, start codes included. Pictures with arbitrary slice order, which
// begin with another macroblock, are not in WebRTC's profiles.
func splitAccessUnits(stream []byte) [][]byte {
	var units [][]byte
	begin, slices := 0, false
	for at, nal := range locateNALs(stream) {
		if at > 0 && stream[at-1] == 0 {
			at-- // the four-byte form
		}
		kind := nal[0] & nalTypeMask
		slice := kind == nalSlice || kind == nalIDR
		opens := slice && firstMacroblock(nal) || kind >= nalSEI && kind <= nalAUD
		if opens && slices {
			units = append(units, stream[begin:at:at])
			begin, slices = at, false
		}
		slices = slices || slice
	}
	if slices {
		units = append(units, stream[begin:])
	}
	return units
}

// firstMacroblock tells whether a slice is its picture's first: first_mb_in_slice, the header's
// first ue(v), is 0 exactly when its first bit is set (7.3.3, 9.1).
func firstMacroblock(slice []byte) bool {
	return len(slice) > 1 && slice[1]&0x80 != 0
}
