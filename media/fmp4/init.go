// Package fmp4 writes fragmented MP4 (ISO 14496-12) of H.264 or H.265 and Opus, of what a recording holds:
// the tracks and clusters of media/matroska.
//
// Flow: Init writes what stands before the first fragment; Append writes a fragment, one for each cluster.
// FragmentBytes tells how long a fragment is before it is written, so that a file's layout is known from an
// index alone. Parameter sets stay in the samples too: a change of them is no break.
//
// Times are exact to the millisecond, as in the recording. A gap is a jump of a fragment's decode time.
package fmp4

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/heliograph-rtc/heliograph/media/matroska"
	"github.com/heliograph-rtc/heliograph/messages"
)

// Ticks in a second. Opus has its own by definition (Opus in ISOBMFF 4.3.2).
const (
	movieHz = 1000
	videoHz = 90_000
	opusHz  = 48_000
)

const (
	flagsSync    = 0x02000000 // sample_depends_on: nothing
	flagsDepends = 0x01010000 // it depends on others, and is no sync sample
)

// Reference is an entry of the index: fragments that begin with a key frame.
type Reference struct {
	Bytes int64
	Lasts time.Duration // to the next one
}

// referencesMax is how many one index box counts, in 16 bits.
const referencesMax = 1<<16 - 1

// Init writes the header of a file that begins then and lasts so long, and the index of its fragments.
// More references than an index box counts are none.
func Init(tracks []matroska.Track, begins time.Time, lasts time.Duration, index []Reference) ([]byte, error) {
	for _, t := range tracks {
		if err := check(t); err != nil {
			return nil, err
		}
	}
	b := appendBox(nil, "ftyp", func(b []byte) []byte {
		return append(u32(append(b, "iso6"...), 0), "iso6isommp41dash"...)
	})
	created := uint64(max(begins.Sub(epoch)/time.Second, 0))
	b = appendBox(b, "moov", func(b []byte) []byte {
		b = appendFull(b, "mvhd", 1, 0, func(b []byte) []byte {
			b = u64(u32(u64(u64(b, created), created), movieHz), 0)
			b = zeros(u16(u32(b, 0x10000), 0x100), 10) // rate 1, volume 1
			return u32(zeros(matrix(b), 24), uint32(len(tracks)+1))
		})
		for _, t := range tracks {
			b = appendTrack(b, t, created)
		}
		return appendBox(b, "mvex", func(b []byte) []byte {
			b = appendFull(b, "mehd", 1, 0, func(b []byte) []byte { return u64(b, uint64(lasts.Milliseconds())) })
			for _, t := range tracks {
				b = appendFull(b, "trex", 0, 0, func(b []byte) []byte {
					return u32(u32(u32(u32(u32(b, uint32(t.Number)), 1), 0), 0), flagsSync)
				})
			}
			return b
		})
	})
	if n := len(index); n == 0 || n > referencesMax {
		return b, nil
	}
	return appendFull(b, "sidx", 1, 0, func(b []byte) []byte {
		b = u64(u64(u32(u32(b, matroska.VideoNumber), movieHz), 0), 0)
		b = u16(u16(b, 0), uint16(len(index)))
		for _, r := range index {
			b = u32(u32(u32(b, uint32(r.Bytes)), uint32(r.Lasts.Milliseconds())), 0x90000000) // begins with a SAP of type 1
		}
		return b
	}), nil
}

// check refuses what the boxes below would read beyond.
func check(t matroska.Track) error {
	least := map[messages.Codec]int{messages.H264: 7, messages.H265: 23, messages.Opus: 19}[t.Codec]
	if least == 0 || len(t.Private) < least {
		return errors.New("write MP4 header: a track is not of H.264, H.265 or Opus")
	}
	return nil
}

func appendTrack(b []byte, t matroska.Track, created uint64) []byte {
	audio := t.Codec == messages.Opus
	return appendBox(b, "trak", func(b []byte) []byte {
		b = appendFull(b, "tkhd", 1, 3, func(b []byte) []byte { // enabled, in the movie
			b = zeros(u64(u32(u32(u64(u64(b, created), created), uint32(t.Number)), 0), 0), 8)
			volume := uint16(0)
			if audio {
				volume = 0x100
			}
			b = u16(u16(u16(u16(b, 0), 0), volume), 0)
			return u32(u32(matrix(b), uint32(t.Width)<<16), uint32(t.Height)<<16)
		})
		return appendBox(b, "mdia", func(b []byte) []byte {
			b = appendFull(b, "mdhd", 1, 0, func(b []byte) []byte {
				return u16(u16(u64(u32(u64(u64(b, created), created), ticks(t.Number)), 0), 0x55c4), 0) // language und
			})
			kind, name, header := "vide", "video", func(b []byte) []byte {
				return appendFull(b, "vmhd", 0, 1, func(b []byte) []byte { return zeros(b, 8) })
			}
			if audio {
				kind, name, header = "soun", "audio", func(b []byte) []byte {
					return appendFull(b, "smhd", 0, 0, func(b []byte) []byte { return zeros(b, 4) })
				}
			}
			b = appendFull(b, "hdlr", 0, 0, func(b []byte) []byte {
				return append(append(zeros(append(u32(b, 0), kind...), 12), name...), 0)
			})
			return appendBox(b, "minf", func(b []byte) []byte { return appendTables(header(b), t) })
		})
	})
}

// appendTables writes where the samples are: in fragments, all of them; and how they are decoded.
func appendTables(b []byte, t matroska.Track) []byte {
	b = appendBox(b, "dinf", func(b []byte) []byte {
		return appendFull(b, "dref", 0, 0, func(b []byte) []byte {
			return appendFull(u32(b, 1), "url ", 0, 1, func(b []byte) []byte { return b }) // in this file
		})
	})
	return appendBox(b, "stbl", func(b []byte) []byte {
		b = appendFull(b, "stsd", 0, 0, func(b []byte) []byte { return appendEntry(u32(b, 1), t) })
		for _, kind := range []string{"stts", "stsc", "stco"} {
			b = appendFull(b, kind, 0, 0, func(b []byte) []byte { return u32(b, 0) })
		}
		return appendFull(b, "stsz", 0, 0, func(b []byte) []byte { return u32(u32(b, 0), 0) })
	})
}

func appendEntry(b []byte, t matroska.Track) []byte {
	if t.Codec == messages.Opus {
		return appendBox(b, "Opus", func(b []byte) []byte {
			b = u16(zeros(u16(zeros(b, 6), 1), 8), uint16(t.Private[9])) // channels
			b = u32(u32(u16(b, 16), 0), opusHz<<16)
			return appendBox(b, "dOps", func(b []byte) []byte { return appendOpus(b, t.Private) })
		})
	}
	kind, config := "avc1", "avcC"
	if t.Codec == messages.H265 {
		kind, config = "hvc1", "hvcC"
	}
	return appendBox(b, kind, func(b []byte) []byte {
		b = zeros(u16(zeros(b, 6), 1), 16)
		b = u16(u16(b, uint16(t.Width)), uint16(t.Height))
		b = u16(u32(u32(u32(b, 72<<16), 72<<16), 0), 1) // dpi, samples in a frame
		b = u16(u16(zeros(b, 32), 24), 0xffff)          // no name of a compressor; colours in 24 bits
		return appendBox(b, config, func(b []byte) []byte { return append(b, t.Private...) })
	})
}

// appendOpus turns an OpusHead (RFC 7845 5.1) into what MP4 wants: another version and byte order.
func appendOpus(b, head []byte) []byte {
	b = append(b, 0, head[9])
	b = u16(b, binary.LittleEndian.Uint16(head[10:]))
	b = u32(b, binary.LittleEndian.Uint32(head[12:]))
	b = u16(b, binary.LittleEndian.Uint16(head[16:]))
	return append(b, head[18:]...)
}

func ticks(track int) uint32 {
	if track == matroska.AudioNumber {
		return opusHz
	}
	return videoHz
}

// MediaType is the type of a file with the codecs in it (RFC 6381; ISO 14496-15 annex E for H.265).
func MediaType(tracks []matroska.Track) string {
	text := ""
	for _, t := range tracks {
		if check(t) != nil {
			continue
		}
		if text != "" {
			text += ","
		}
		p := t.Private
		switch t.Codec {
		case messages.H264:
			text += fmt.Sprintf("avc1.%02x%02x%02x", p[1], p[2], p[3])
		case messages.H265:
			tier := "LH"[p[1]>>5&1]
			text += fmt.Sprintf("hvc1.%d.%x.%c%d.%x", p[1]&0x1f, bits.Reverse32(binary.BigEndian.Uint32(p[2:])), tier, p[12], p[6])
		case messages.Opus:
			text += "opus"
		}
	}
	return `video/mp4; codecs="` + text + `"`
}
