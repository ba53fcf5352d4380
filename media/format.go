package media

import (
	"fmt"

	"github.com/heliograph-rtc/heliograph/messages"
)

// VideoFormat is what the sequence parameter set of a key frame says.
type VideoFormat struct {
	Codec         messages.Codec
	Profile       string // "constrained baseline"; the number where it has no name here
	Level         string // "3.1"
	Width, Height int    // in pixels, as shown
}

// String is one phrase for people.
func (f VideoFormat) String() string {
	return fmt.Sprintf("%s %s profile, level %s, %dx%d", f.Codec, f.Profile, f.Level, f.Width, f.Height)
}

// FormatOf reads the format of a video unit; false where it holds no sequence parameter set that can be
// read.
func FormatOf(unit *messages.AccessUnit) (VideoFormat, bool) {
	for nal := range SplitAnnexB(unit.Data) {
		if kindOf(unit.Codec, nal) != nalSequence {
			continue
		}
		r := &bitReader{data: WithoutEmulation(nal)}
		f := VideoFormat{Codec: unit.Codec}
		if unit.Codec == messages.H265 {
			f.readH265(r)
		} else {
			f.readH264(r)
		}
		return f, !r.short && f.Width > 0 && f.Height > 0
	}
	return VideoFormat{}, false
}

// readH264 reads seq_parameter_set_data (H.264 7.3.2.1.1).
func (f *VideoFormat) readH264(r *bitReader) {
	r.skip(8)
	profile, constraints, level := r.read(8), r.read(8), r.read(8)
	f.Profile, f.Level = h264Profile(profile, constraints), fmt.Sprintf("%d.%d", level/10, level%10)
	r.ue() // seq_parameter_set_id
	chroma := uint32(1)
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		chroma = r.h264Chroma()
	}
	r.ue() // log2_max_frame_num_minus4
	r.h264Order()
	r.ue() // max_num_ref_frames
	r.skip(1)
	width, height := 16*(r.ue()+1), 16*(r.ue()+1)
	fields := 2 - r.read(1) // frame_mbs_only_flag
	height *= fields
	if fields == 2 {
		r.skip(1)
	}
	r.skip(1) // direct_8x8_inference_flag
	if r.read(1) == 1 {
		x, y := chromaUnits(chroma)
		width -= x * (r.ue() + r.ue())
		height -= y * fields * (r.ue() + r.ue())
	}
	f.Width, f.Height = int(width), int(height)
}

// h264Profile names profile_idc with its constraint flags (H.264 A.2).
func h264Profile(profile, constraints uint32) string {
	switch {
	case profile == 66 && constraints&0x40 != 0:
		return "constrained baseline"
	case profile == 100 && constraints&0x0c == 0x0c:
		return "constrained high"
	}
	if name, ok := map[uint32]string{66: "baseline", 77: "main", 88: "extended", 100: "high", 110: "high 10", 122: "high 4:2:2", 244: "high 4:4:4"}[profile]; ok {
		return name
	}
	return fmt.Sprint(profile)
}

// h264Chroma reads what high profiles have besides, and returns chroma_format_idc.
func (r *bitReader) h264Chroma() uint32 {
	chroma, lists := r.ue(), 8
	if chroma == 3 {
		r.skip(1)
		lists = 12
	}
	r.ue() // bit depths
	r.ue()
	r.skip(1)
	if r.read(1) == 0 { // seq_scaling_matrix_present_flag
		return chroma
	}
	for i := range lists {
		if r.read(1) == 0 {
			continue
		}
		size, last, next := 16, int32(8), int32(8) // 7.3.2.1.1.1
		if i >= 6 {
			size = 64
		}
		for range size {
			if next != 0 {
				next = (last + r.se() + 256) % 256
			}
			if next != 0 {
				last = next
			}
		}
	}
	return chroma
}

// h264Order reads what tells the order of pictures.
func (r *bitReader) h264Order() {
	switch r.ue() {
	case 0:
		r.ue()
	case 1:
		r.skip(1)
		r.se()
		r.se()
		for range min(r.ue(), 255) {
			r.se()
		}
	}
}

// readH265 reads seq_parameter_set_rbsp (H.265 7.3.2.2.1) as far as the picture's size.
func (f *VideoFormat) readH265(r *bitReader) {
	r.skip(16 + 4)
	subLayers := int(r.read(3))
	r.skip(1)
	profile := r.read(8) & 0x1f
	r.skip(32 + 48)
	level := r.read(8)
	f.Profile, f.Level = fmt.Sprint(profile), fmt.Sprintf("%d.%d", level/30, level%30/3)
	if name, ok := map[uint32]string{1: "main", 2: "main 10", 3: "main still picture"}[profile]; ok {
		f.Profile = name
	}
	r.subLayers(subLayers)
	r.ue()
	chroma := r.ue()
	if chroma == 3 {
		r.skip(1)
	}
	width, height := r.ue(), r.ue()
	if r.read(1) == 1 {
		x, y := chromaUnits(chroma)
		width -= x * (r.ue() + r.ue())
		height -= y * (r.ue() + r.ue())
	}
	f.Width, f.Height = int(width), int(height)
}

// chromaUnits are the pixels that one unit of a cropping window stands for (H.264 table 6-1, H.265 table 6-1).
func chromaUnits(chroma uint32) (x, y uint32) {
	switch chroma {
	case 1:
		return 2, 2
	case 2:
		return 2, 1
	}
	return 1, 1
}
