package matroska

import (
	"encoding/binary"
	"errors"
	"math"
	"math/bits"
)

// Element ids (RFC 8794, RFC 9559).
const (
	idEBML           = 0x1A45DFA3
	idVersion        = 0x4286
	idReadVersion    = 0x42F7
	idIDLengthMax    = 0x42F2
	idSizeLengthMax  = 0x42F3
	idDocType        = 0x4282
	idDocVersion     = 0x4287
	idDocReadVersion = 0x4285
	idVoid           = 0xEC

	idSegment      = 0x18538067
	idSeekHead     = 0x114D9B74
	idSeek         = 0x4DBB
	idSeekID       = 0x53AB
	idSeekPosition = 0x53AC

	idInfo           = 0x1549A966
	idTimestampScale = 0x2AD7B1
	idDuration       = 0x4489
	idDateUTC        = 0x4461
	idMuxingApp      = 0x4D80
	idWritingApp     = 0x5741

	idTracks         = 0x1654AE6B
	idTrackEntry     = 0xAE
	idTrackNumber    = 0xD7
	idTrackUID       = 0x73C5
	idTrackType      = 0x83
	idFlagLacing     = 0x9C
	idCodecID        = 0x86
	idCodecPrivate   = 0x63A2
	idSeekPreRoll    = 0x56BB
	idVideo          = 0xE0
	idPixelWidth     = 0xB0
	idPixelHeight    = 0xBA
	idAudio          = 0xE1
	idSamplingRate   = 0xB5
	idChannels       = 0x9F
	idTags           = 0x1254C367
	idTag            = 0x7373
	idTargets        = 0x63C0
	idSimpleTag      = 0x67C8
	idTagName        = 0x45A3
	idTagString      = 0x4487
	idCluster        = 0x1F43B675
	idTimestamp      = 0xE7
	idSimpleBlock    = 0xA3
	idCues           = 0x1C53BB6B
	idCuePoint       = 0xBB
	idCueTime        = 0xB3
	idCuePositions   = 0xB7
	idCueTrack       = 0xF7
	idCueClusterPosn = 0xF1
)

const (
	unknownSize = -1
	// unknown8 is the size of a Segment that still grows, in 8 bytes (RFC 8794 6.2).
	unknown8 = 1<<56 - 1
)

var (
	errCut  = errors.New("the element is cut short")
	errVint = errors.New("an element's id or size is malformed")
)

func appendID(b []byte, id uint32) []byte {
	n := (bits.Len32(id) + 7) / 8
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(id>>(8*i)))
	}
	return b
}

// appendSize writes a size in as few bytes as hold it; all ones would mean unknown.
func appendSize(b []byte, size int) []byte {
	n := 1
	for n < 8 && uint64(size) >= 1<<(7*n)-1 {
		n++
	}
	return appendSizeIn(b, uint64(size), n)
}

// appendSizeIn writes a size in n bytes, so that it can be written over later.
func appendSizeIn(b []byte, size uint64, n int) []byte {
	size |= 1 << (7 * n)
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(size>>(8*i)))
	}
	return b
}

func appendElement(b []byte, id uint32, payload []byte) []byte {
	return append(appendSize(appendID(b, id), len(payload)), payload...)
}

func appendUint(b []byte, id uint32, v uint64) []byte {
	n := max(1, (bits.Len64(v)+7)/8)
	b = appendSize(appendID(b, id), n)
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(v>>(8*i)))
	}
	return b
}

// appendUint8 writes a number in eight bytes, so that it can be written over later.
func appendUint8(b []byte, id uint32, v uint64) []byte {
	return binary.BigEndian.AppendUint64(appendSize(appendID(b, id), 8), v)
}

func appendFloat(b []byte, id uint32, v float64) []byte {
	return appendUint8(b, id, math.Float64bits(v))
}

func appendString(b []byte, id uint32, v string) []byte { return appendElement(b, id, []byte(v)) }

// appendMaster writes an element whose children fill appends.
func appendMaster(b []byte, id uint32, fill func([]byte) []byte) []byte {
	return appendElement(b, id, fill(nil))
}

// appendVoid fills n bytes, at least two and at most 129.
func appendVoid(b []byte, n int) []byte {
	b = appendSizeIn(append(b, idVoid), uint64(n-2), 1)
	return append(b, make([]byte, n-2)...)
}

// readHead reads the id and the size of the element at the start of b, and how long both are together.
func readHead(b []byte) (id uint32, size int64, head int, err error) {
	if len(b) == 0 {
		return 0, 0, 0, errCut
	}
	n := bits.LeadingZeros8(b[0]) + 1
	if n > 4 {
		return 0, 0, 0, errVint
	}
	if len(b) < n+1 {
		return 0, 0, 0, errCut
	}
	for _, c := range b[:n] {
		id = id<<8 | uint32(c)
	}
	m := bits.LeadingZeros8(b[n]) + 1
	if m > 8 {
		return 0, 0, 0, errVint
	}
	if len(b) < n+m {
		return 0, 0, 0, errCut
	}
	size = int64(b[n]) & (1<<(8-m) - 1)
	for _, c := range b[n+1 : n+m] {
		size = size<<8 | int64(c)
	}
	if size == 1<<(7*m)-1 {
		size = unknownSize
	}
	return id, size, n + m, nil
}

// headBytesMax holds the longest id and size.
const headBytesMax = 12

// eachElement yields the children of an element's payload; err is set when they do not fill it exactly.
func eachElement(b []byte, each func(id uint32, payload []byte) error) error {
	for len(b) > 0 {
		id, size, head, err := readHead(b)
		if err != nil {
			return err
		}
		if size < 0 || size > int64(len(b)-head) {
			return errCut
		}
		end := head + int(size)
		if err := each(id, b[head:end:end]); err != nil {
			return err
		}
		b = b[end:]
	}
	return nil
}

func readUint(b []byte) uint64 {
	var v uint64
	for _, c := range b[:min(8, len(b))] {
		v = v<<8 | uint64(c)
	}
	return v
}

func readFloat(b []byte) float64 {
	switch len(b) {
	case 4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	case 8:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return 0
}
