package fmp4

import (
	"encoding/binary"
	"time"

	"github.com/heliograph-rtc/heliograph/media/matroska"
)

// Bytes of the boxes of a fragment.
const (
	boxBytes          = 8
	fragmentHeadBytes = boxBytes + 16 + boxBytes           // moof, mfhd, mdat
	trackHeadBytes    = boxBytes + 16 + 20 + trunHeadBytes // traf, tfhd, tfdt, trun
	trunHeadBytes     = 20
	videoSampleBytes  = 12
	audioSampleBytes  = 8
)

// How long the last sample of a fragment lasts, when there is none before it to tell.
const (
	videoLasts = time.Second / 30
	audioLasts = 20 * time.Millisecond
)

// FragmentBytes is the length of a fragment with so many samples of each track and so many bytes of them.
func FragmentBytes(video, audio int, data int64) int64 {
	n := int64(fragmentHeadBytes) + data
	if video > 0 {
		n += trackHeadBytes + int64(video)*videoSampleBytes
	}
	if audio > 0 {
		n += trackHeadBytes + int64(audio)*audioSampleBytes
	}
	return n
}

// Append writes a fragment. The times of the blocks count from the beginning of the file; sequence grows
// from fragment to fragment.
func Append(b []byte, sequence uint32, blocks []matroska.Block) []byte {
	begin := len(b)
	var tracks [2][]matroska.Block // video first
	for _, k := range blocks {
		switch k.Track {
		case matroska.VideoNumber:
			tracks[0] = append(tracks[0], k)
		case matroska.AudioNumber:
			tracks[1] = append(tracks[1], k)
		}
	}
	var offsets []int // where each run says where its data begins
	b = appendBox(b, "moof", func(b []byte) []byte {
		b = appendFull(b, "mfhd", 0, 0, func(b []byte) []byte { return u32(b, sequence) })
		for _, samples := range tracks {
			if len(samples) > 0 {
				b = appendBox(b, "traf", func(b []byte) []byte {
					b = appendRunHead(b, samples)
					offsets = append(offsets, len(b)+boxBytes+8)
					return appendRun(b, samples)
				})
			}
		}
		return b
	})
	return appendBox(b, "mdat", func(b []byte) []byte {
		for _, samples := range tracks {
			if len(samples) > 0 {
				binary.BigEndian.PutUint32(b[offsets[0]:], uint32(len(b)-begin))
				offsets = offsets[1:]
			}
			for _, k := range samples {
				b = append(b, k.Data...)
			}
		}
		return b
	})
}

// appendRunHead says whose samples they are and when the first is decoded.
func appendRunHead(b []byte, samples []matroska.Block) []byte {
	track := samples[0].Track
	b = appendFull(b, "tfhd", 0, 0x020000, func(b []byte) []byte { return u32(b, uint32(track)) }) // offsets from moof
	return appendFull(b, "tfdt", 1, 0, func(b []byte) []byte { return u64(b, uint64(inTicks(track, samples[0].Time))) })
}

// appendRun lists the samples. Video says of each whether it is a key frame; all of audio is.
func appendRun(b []byte, samples []matroska.Block) []byte {
	track := samples[0].Track
	flags := uint32(0x301) // offset, durations, sizes
	if track == matroska.VideoNumber {
		flags |= 0x400
	}
	return appendFull(b, "trun", 0, flags, func(b []byte) []byte {
		b = u32(u32(b, uint32(len(samples))), 0)
		for n, k := range samples {
			b = u32(u32(b, uint32(inTicks(track, lasts(samples, n)))), uint32(len(k.Data)))
			switch {
			case track != matroska.VideoNumber:
			case k.Key:
				b = u32(b, flagsSync)
			default:
				b = u32(b, flagsDepends)
			}
		}
		return b
	})
}

// lasts is the time to the next sample; the last one is as long as the one before it.
func lasts(samples []matroska.Block, n int) time.Duration {
	switch {
	case n+1 < len(samples):
		return max(samples[n+1].Time-samples[n].Time, 0)
	case n > 0:
		return max(samples[n].Time-samples[n-1].Time, 0)
	case samples[n].Track == matroska.AudioNumber:
		return audioLasts
	}
	return videoLasts
}

// inTicks is exact: times are whole milliseconds, and a tick is a whole part of one.
func inTicks(track int, d time.Duration) int64 {
	return int64(d) / int64(time.Millisecond) * int64(ticks(track)/1000)
}
