package fmp4

import (
	"encoding/binary"
	"time"
)

// appendBox writes a box (ISO 14496-12 4.2); content appends what is in it.
func appendBox(b []byte, kind string, content func([]byte) []byte) []byte {
	at := len(b)
	b = content(append(append(b, 0, 0, 0, 0), kind...))
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at))
	return b
}

// appendFull writes a box with version and flags.
func appendFull(b []byte, kind string, version byte, flags uint32, content func([]byte) []byte) []byte {
	return appendBox(b, kind, func(b []byte) []byte {
		return content(u32(b, uint32(version)<<24|flags))
	})
}

func u16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func u32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func u64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

func zeros(b []byte, n int) []byte { return append(b, make([]byte, n)...) }

// epoch is what times of creation count from, in seconds.
var epoch = time.Date(1904, 1, 1, 0, 0, 0, 0, time.UTC)

// matrix is the one that changes nothing.
func matrix(b []byte) []byte {
	for _, v := range []uint32{0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000} {
		b = u32(b, v)
	}
	return b
}
