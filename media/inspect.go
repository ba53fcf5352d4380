package media

import (
	"errors"
	"fmt"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// inspector looks at the video of a source on its way in: it tells key frames and spare pictures, puts
// parameter sets before a key frame that came without them, and refuses what WebRTC viewers cannot play.
type inspector struct {
	codec messages.Codec
	sets  []byte // the parameter sets that came last, as Annex-B
	last  time.Duration
	begun bool
}

// setsBytesMax bounds the parameter sets that are kept; some hundred bytes are usual.
const setsBytesMax = 16 << 10

// inspect completes a video unit whose Data, Codec and PTS are set. An error says that the stream
// cannot be played, and what to do.
func (n *inspector) inspect(unit *messages.AccessUnit) error {
	switch {
	case n.begun && unit.Codec != n.codec:
		return fmt.Errorf("the source changed from %s to %s", n.codec, unit.Codec)
	case n.begun && unit.PTS <= n.last:
		return fmt.Errorf("the time of a picture is %v before that of the one that came earlier: pictures are out of order, which viewers cannot play; %s", n.last-unit.PTS, noBFrames)
	}
	n.codec, n.last, n.begun = unit.Codec, unit.PTS, true
	var found picture
	for nal := range SplitAnnexB(unit.Data) {
		if err := found.add(unit.Codec, nal); err != nil {
			return err
		}
	}
	switch {
	case found.sequence:
		n.sets = nil
		if len(found.sets) <= setsBytesMax {
			n.sets = found.sets
		}
	case found.key && len(n.sets) > 0:
		unit.Data = append(append(make([]byte, 0, len(n.sets)+len(unit.Data)), n.sets...), unit.Data...)
		found.sequence = true
	}
	unit.KeyFrame, unit.Spare = found.key && found.sequence, found.spare && !found.key
	return nil
}

const noBFrames = "turn B-frames off (x264enc: bframes=0 or tune=zerolatency; ffmpeg: -bf 0; cameras: baseline profile)"

// picture is what an access unit holds.
type picture struct {
	key, sequence, spare bool
	sets                 []byte
}

func (p *picture) add(codec messages.Codec, nal []byte) error {
	kind := kindOf(codec, nal)
	switch {
	case kind == nalSequence || kind == nalParameters:
		p.sequence = p.sequence || kind == nalSequence
		p.sets = append(append(append(p.sets, 0), startCode...), nal...)
	case kind == nalFirstKeySlice:
		p.key = true
	}
	if kind == nalSequence {
		return checkSequence(codec, nal)
	}
	if codec == messages.H264 && kind.slice() {
		p.spare = nal[0]&0x60 == 0 // nal_ref_idc, 7.4.1
		if h264SliceB(nal) {
			return errors.New("the video has B-frames, which viewers cannot play; " + noBFrames)
		}
	}
	return nil
}

// checkSequence refuses profiles that browsers do not decode.
func checkSequence(codec messages.Codec, nal []byte) error {
	if codec == messages.H265 {
		return checkH265Sequence(nal)
	}
	if len(nal) < 4 {
		return errors.New("the sequence parameter set is cut short")
	}
	switch profile := nal[1]; profile { // profile_idc, H.264 A.2
	case 66, 77, 100:
		return nil
	default:
		return fmt.Errorf("the video is H.264 of profile %d, which viewers cannot play: encode 8-bit 4:2:0 as baseline, main or high profile (x264: format=I420 before the encoder)", profile)
	}
}

// h264SliceB reads slice_type, the header's second ue(v) (7.3.3, table 7-6).
func h264SliceB(slice []byte) bool {
	r := bitReader{data: slice[1:]}
	r.ue()
	kind := r.ue()
	return !r.short && kind%5 == 1
}

// checkH265Sequence reads the sequence parameter set as far as the number of pictures that are out of
// order (7.3.2.2.1).
func checkH265Sequence(nal []byte) error {
	r := bitReader{data: WithoutEmulation(nal[min(2, len(nal)):])}
	r.skip(4) // sps_video_parameter_set_id
	subLayers := int(r.read(3))
	r.skip(1)
	profile := r.read(8) & 0x1f // after profile space and tier
	compatible := r.read(32)
	r.skip(48 + 8) // constraints, level
	r.subLayers(subLayers)
	r.ue() // sps_seq_parameter_set_id
	chroma := r.ue()
	if chroma == 3 {
		r.skip(1)
	}
	r.ue() // width and height
	r.ue()
	if r.read(1) == 1 { // conformance window
		for range 4 {
			r.ue()
		}
	}
	depth := 8 + r.ue()
	r.ue()
	r.ue()
	first := subLayers
	if r.read(1) == 1 { // sps_sub_layer_ordering_info_present_flag
		first = 0
	}
	reordered := uint32(0)
	for ; first <= subLayers; first++ {
		r.ue()
		reordered = r.ue()
		r.ue()
	}
	switch {
	case r.short:
		return errors.New("the sequence parameter set is cut short")
	case profile != 1 && compatible>>30&1 == 0 || chroma != 1 || depth != 8:
		return fmt.Errorf("the video is H.265 of profile %d, chroma format %d, %d bits, which viewers cannot play: encode 8-bit 4:2:0 as main profile", profile, chroma, depth)
	case reordered > 0:
		return errors.New("the video has B-frames out of order, which viewers cannot play; turn them off (x265enc: option-string=bframes=0; ffmpeg: -x265-params bframes=0)")
	}
	return nil
}

// subLayers skips what profile_tier_level says of sub-layers (7.3.3).
func (r *bitReader) subLayers(count int) {
	var profiles, levels int
	for range count {
		profiles += int(r.read(1))
		levels += int(r.read(1))
	}
	if count > 0 {
		r.skip(2 * (8 - count))
	}
	r.skip(88*profiles + 8*levels)
}
