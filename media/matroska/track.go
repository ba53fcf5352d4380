package matroska

import (
	"encoding/binary"
	"errors"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

// Numbers of the tracks in every file.
const (
	VideoNumber = 1
	AudioNumber = 2
)

// Track is one track of a file.
type Track struct {
	Number        int
	Codec         messages.Codec
	Private       []byte // what sets a decoder up: avcC, hvcC (ISO 14496-15) or OpusHead (RFC 7845 5.1)
	Width, Height int    // of video
}

// Codec ids and track types (RFC 9559, Matroska codec specifications).
var codecIDs = map[messages.Codec]string{
	messages.H264: "V_MPEG4/ISO/AVC",
	messages.H265: "V_MPEGH/ISO/HEVC",
	messages.Opus: "A_OPUS",
}

const (
	typeVideo   = 1
	typeAudio   = 2
	opusHz      = 48_000
	opusRollNs  = 80_000_000 // RFC 7845 4.6: what a decoder needs before it is exact
	lengthBytes = 4          // before each NAL unit
)

// VideoTrack describes the video that begins with a key frame in Annex-B.
func VideoTrack(codec messages.Codec, keyFrame []byte) (Track, error) {
	t := Track{Number: VideoNumber, Codec: codec}
	var sets media.ParameterSets
	for nal := range media.SplitAnnexB(keyFrame) {
		sets.Add(codec, nal)
	}
	if !sets.Complete(codec) {
		return t, errors.New("describe video: the key frame has no parameter sets")
	}
	format, ok := media.FormatOf(&messages.AccessUnit{Track: messages.Video, Codec: codec, Data: keyFrame})
	if !ok {
		return t, errors.New("describe video: its sequence parameter set cannot be read")
	}
	t.Width, t.Height = format.Width, format.Height
	var err error
	if codec == messages.H265 {
		t.Private, err = hvcC(sets)
	} else {
		t.Private, err = avcC(sets)
	}
	return t, err
}

// AudioTrack describes Opus in stereo. The stream was cut out of a longer one, so that nothing of it is
// to be skipped and its times are those of its packets.
func AudioTrack() Track {
	head := append([]byte("OpusHead"), 1, 2) // version, channels
	head = binary.LittleEndian.AppendUint16(head, 0)
	head = binary.LittleEndian.AppendUint32(head, opusHz)
	return Track{Number: AudioNumber, Codec: messages.Opus, Private: append(head, 0, 0, 0)} // gain, mapping family
}

// avcC is ISO 14496-15 5.3.3.1.
func avcC(sets media.ParameterSets) ([]byte, error) {
	sps := sets.SPS[0]
	b := []byte{1, sps[1], sps[2], sps[3], 0xfc | lengthBytes - 1}
	b, err := appendSets(b, 0xe0, sets.SPS)
	if err == nil {
		b, err = appendSets(b, 0, sets.PPS)
	}
	if profile := sps[1]; err == nil && profile != 66 && profile != 77 && profile != 88 {
		b = append(b, 0xfc|1, 0xf8, 0xf8, 0) // 4:2:0, 8 bits: what the engine's sources are held to
	}
	return b, err
}

func appendSets(b []byte, mark byte, sets [][]byte) ([]byte, error) {
	if len(sets) > 31 {
		return nil, errors.New("describe video: too many parameter sets")
	}
	b = append(b, mark|byte(len(sets)))
	for _, set := range sets {
		if len(set) > 0xffff {
			return nil, errors.New("describe video: a parameter set is too long")
		}
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(set))), set...)
	}
	return b, nil
}

// hvcC is ISO 14496-15 8.3.3.1, for 4:2:0 of 8 bits.
func hvcC(sets media.ParameterSets) ([]byte, error) {
	sps := media.WithoutEmulation(sets.SPS[0]) // the flags are nearly all zeros: there are such bytes among them
	if len(sps) < 15 {
		return nil, errors.New("describe video: the sequence parameter set is cut short")
	}
	b := append([]byte{1}, sps[3:15]...) // general_profile_space to general_level_idc
	b = append(b, 0xf0, 0, 0xfc, 0xfc|1, 0xf8, 0xf8, 0, 0, 0x0c|lengthBytes-1, 3)
	for i, list := range [][][]byte{sets.VPS, sets.SPS, sets.PPS} {
		b = append(b, 0x80|byte(32+i)) // their NAL unit types
		b = binary.BigEndian.AppendUint16(b, uint16(len(list)))
		for _, set := range list {
			if len(set) > 0xffff {
				return nil, errors.New("describe video: a parameter set is too long")
			}
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(set))), set...)
		}
	}
	return b, nil
}

// Sample makes of an access unit in Annex-B what a file holds: NAL units behind their lengths.
// Parameter sets stay, so that a change of them is no break.
func Sample(codec messages.Codec, unit []byte) []byte {
	b := make([]byte, 0, len(unit)+16)
	for nal := range media.SplitAnnexB(unit) {
		if !media.Delimiter(codec, nal) {
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(nal))), nal...)
		}
	}
	return b
}

func (t Track) append(b []byte) []byte {
	return appendMaster(b, idTrackEntry, func(b []byte) []byte {
		b = appendUint(b, idTrackNumber, uint64(t.Number))
		b = appendUint(b, idTrackUID, uint64(t.Number))
		if t.Codec != messages.Opus {
			b = appendUint(b, idTrackType, typeVideo)
		} else {
			b = appendUint(b, idTrackType, typeAudio)
		}
		b = appendUint(b, idFlagLacing, 0)
		b = appendString(b, idCodecID, codecIDs[t.Codec])
		b = appendElement(b, idCodecPrivate, t.Private)
		if t.Codec != messages.Opus {
			return appendMaster(b, idVideo, func(b []byte) []byte {
				return appendUint(appendUint(b, idPixelWidth, uint64(t.Width)), idPixelHeight, uint64(t.Height))
			})
		}
		b = appendUint(b, idSeekPreRoll, opusRollNs)
		return appendMaster(b, idAudio, func(b []byte) []byte {
			return appendUint(appendFloat(b, idSamplingRate, opusHz), idChannels, 2)
		})
	})
}

// readTrack reads a TrackEntry. One of another codec comes without Codec.
func readTrack(b []byte) (t Track, err error) {
	err = eachElement(b, func(id uint32, p []byte) error {
		switch id {
		case idTrackNumber:
			t.Number = int(min(readUint(p), 127))
		case idCodecID:
			for codec, name := range codecIDs {
				if name == string(p) {
					t.Codec = codec
				}
			}
		case idCodecPrivate:
			t.Private = p
		case idVideo:
			return eachElement(p, func(id uint32, p []byte) error {
				switch id {
				case idPixelWidth:
					t.Width = int(readUint(p) & 0xffff)
				case idPixelHeight:
					t.Height = int(readUint(p) & 0xffff)
				}
				return nil
			})
		}
		return nil
	})
	return t, err
}
