package media

// bitReader reads the fields of a parameter set or slice header. Past the end it gives zeros and short
// is set.
type bitReader struct {
	data  []byte
	at    int // in bits
	short bool
}

// read returns the next n bits, 32 at most.
func (r *bitReader) read(n int) uint32 {
	var v uint32
	for range n {
		v = v<<1 | r.bit()
	}
	return v
}

func (r *bitReader) bit() uint32 {
	if r.at >= 8*len(r.data) {
		r.short = true
		return 0
	}
	b := r.data[r.at/8] >> (7 - r.at%8) & 1
	r.at++
	return uint32(b)
}

func (r *bitReader) skip(n int) {
	r.at += n
	r.short = r.short || r.at > 8*len(r.data)
}

// ue reads an unsigned Exp-Golomb code (H.264 9.1, H.265 9.2).
func (r *bitReader) ue() uint32 {
	zeros := 0
	for !r.short && r.bit() == 0 {
		zeros++
	}
	if zeros > 31 {
		r.short = true
	}
	if r.short {
		return 0
	}
	return 1<<zeros - 1 + r.read(zeros)
}

// se reads a signed Exp-Golomb code (H.264 9.1.1).
func (r *bitReader) se() int32 {
	v := r.ue()
	if v&1 == 1 {
		return int32(v/2 + 1)
	}
	return -int32(v / 2)
}

// WithoutEmulation removes the emulation prevention bytes of a NAL unit (H.264 7.4.1, H.265 7.4.2).
func WithoutEmulation(nal []byte) []byte {
	out := make([]byte, 0, len(nal))
	zeros := 0
	for _, b := range nal {
		if b == 3 && zeros >= 2 {
			zeros = 0
			continue
		}
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
		out = append(out, b)
	}
	return out
}
