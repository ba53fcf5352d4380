package media

// The source format, described for those who write sources in deploy/source-format.md: access units
// behind headers of 16 bytes on a program's stdout, commands in lines on its stdin.

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	pipeMagic       = 0xA5 // no Annex-B stream begins with it
	pipeHeaderBytes = 16

	pipeFlagMonotonic = 1 << 0 // the time is CLOCK_MONOTONIC's of this machine

	// UnitBytesMax bounds one video access unit; a key frame of 4K at high quality has 1 or 2 MB.
	UnitBytesMax = 8 << 20
	// soundBytesMax bounds one audio packet: 120 ms of Opus at its highest rate (RFC 6716 3.2.5).
	soundBytesMax = 8 << 10
	// g711BytesMax is as long a time, and fits one RTP packet.
	g711BytesMax = 960

	pipePTSMax = 1000 * 24 * time.Hour // so that no sum of times overflows
)

// pipeCodecs are the numbers of the codecs in the header.
var pipeCodecs = [...]messages.Codec{1: messages.H264, 2: messages.H265, 3: messages.Opus, 4: messages.PCMU, 5: messages.PCMA}

// PipeUnit is one access unit in the source format.
type PipeUnit struct {
	Codec     messages.Codec
	PTS       time.Duration // when it was taken, on the clock of the source
	Monotonic bool          // that clock is CLOCK_MONOTONIC of this machine
	Data      []byte        // video: Annex-B; audio: one packet
}

// WritePipeUnit writes a unit in one call of Write.
func WritePipeUnit(w io.Writer, u PipeUnit) error {
	var header [pipeHeaderBytes]byte
	header[0] = pipeMagic
	for number, codec := range pipeCodecs {
		if codec == u.Codec {
			header[1] = byte(number)
		}
	}
	if u.Monotonic {
		header[2] = pipeFlagMonotonic
	}
	binary.BigEndian.PutUint32(header[4:], uint32(len(u.Data)))
	binary.BigEndian.PutUint64(header[8:], uint64(u.PTS))
	if err := checkPipeHeader(header[:]); err != nil {
		return fmt.Errorf("write unit: %w", err)
	}
	_, err := w.Write(append(header[:], u.Data...))
	return err
}

// PipeReader reads units in the source format.
type PipeReader struct {
	r     *bufio.Reader
	units int
}

// NewPipeReader returns a reader of r.
func NewPipeReader(r io.Reader) *PipeReader { return &PipeReader{r: bufio.NewReader(r)} }

// Next returns the next unit, whose data is the caller's to keep; io.EOF at the end of the stream.
func (p *PipeReader) Next() (PipeUnit, error) {
	var header [pipeHeaderBytes]byte
	if _, err := io.ReadFull(p.r, header[:]); err != nil {
		return PipeUnit{}, p.broken(err)
	}
	if err := checkPipeHeader(header[:]); err != nil {
		return PipeUnit{}, p.failed(err)
	}
	u := PipeUnit{
		Codec: pipeCodecs[header[1]], Monotonic: header[2]&pipeFlagMonotonic != 0,
		PTS: time.Duration(binary.BigEndian.Uint64(header[8:])), Data: make([]byte, binary.BigEndian.Uint32(header[4:])),
	}
	if _, err := io.ReadFull(p.r, u.Data); err != nil {
		return PipeUnit{}, p.broken(errors.Join(err, io.ErrUnexpectedEOF))
	}
	p.units++
	return u, nil
}

// checkPipeHeader tells what is wrong with a header.
func checkPipeHeader(header []byte) error {
	size, pts := binary.BigEndian.Uint32(header[4:]), int64(binary.BigEndian.Uint64(header[8:]))
	switch codec := header[1]; {
	case header[0] != pipeMagic:
		return fmt.Errorf("no header where one must be: it begins with 0x%02x instead of 0x%02x; does the program print text to stdout?", header[0], pipeMagic)
	case codec == 0 || int(codec) >= len(pipeCodecs):
		return fmt.Errorf("codec %d is not known", codec)
	case header[2]&^pipeFlagMonotonic != 0 || header[3] != 0:
		return fmt.Errorf("flags 0x%02x%02x are not known; reserved bits must be 0", header[2], header[3])
	case size == 0:
		return errors.New("the unit is empty")
	case pipeCodecs[codec].Track() == messages.Audio && size > soundMax(pipeCodecs[codec]):
		return fmt.Errorf("an audio packet of %d bytes, at most %d are allowed", size, soundMax(pipeCodecs[codec]))
	case size > UnitBytesMax:
		return fmt.Errorf("an access unit of %d bytes, at most %d are allowed", size, UnitBytesMax)
	case pts < 0 || pts > int64(pipePTSMax):
		return fmt.Errorf("the time %d ns is outside 0 to %v", pts, pipePTSMax)
	}
	return nil
}

func soundMax(codec messages.Codec) uint32 {
	if codec == messages.Opus {
		return soundBytesMax
	}
	return g711BytesMax
}

// broken tells the stream's end between units from one inside a unit.
func (p *PipeReader) broken(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the stream ends inside it")
	}
	if err == io.EOF {
		return err
	}
	return p.failed(err)
}

func (p *PipeReader) failed(err error) error {
	return fmt.Errorf("read unit %d of the source: %w", p.units+1, err)
}
