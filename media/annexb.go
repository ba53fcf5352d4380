package media

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// annexB cuts a byte stream (ITU-T H.264 and H.265, annex B) into access units as it comes. A unit is
// known to be whole when the next one begins.
type annexB struct {
	r     io.Reader
	codec messages.Codec // empty: told by the first NAL unit

	buf     []byte
	scanned int       // of buf: no NAL unit that begins before it needs another look
	began   time.Time // when the first bytes of buf came
	picture bool      // a slice was seen among them
	started bool      // a start code was seen
	ended   error
}

const (
	readBytes = 64 << 10
	// nalHeadBytes of a NAL unit decide what it is.
	nalHeadBytes = 3
)

func newAnnexB(r io.Reader, codec messages.Codec) *annexB { return &annexB{r: r, codec: codec} }

// next returns the next access unit, whose bytes are the caller's to keep, and when its first bytes
// came; io.EOF at the end of the stream.
func (a *annexB) next() (unit []byte, came time.Time, err error) {
	for {
		if at, found := a.boundary(); found {
			unit, came = a.cut(at)
			return unit, came, nil
		}
		switch {
		case a.ended != nil && a.picture:
			unit, came = a.cut(len(a.buf))
			return unit, came, nil
		case a.ended == io.EOF && len(a.buf) > 0 && !a.started:
			return nil, came, errNoAnnexB
		case a.ended != nil:
			return nil, came, a.ended
		case len(a.buf) > UnitBytesMax:
			return nil, came, fmt.Errorf("read Annex-B stream: no picture ends within %d bytes; is it H.264 or H.265 with start codes?", UnitBytesMax)
		}
		if err := a.read(); err != nil {
			return nil, came, err
		}
	}
}

var errNoAnnexB = errors.New("read Annex-B stream: it holds no start code; is it H.264 or H.265 with start codes?")

func (a *annexB) read() error {
	had := len(a.buf)
	a.buf = append(a.buf, make([]byte, readBytes)...)
	n, err := a.r.Read(a.buf[had:])
	a.buf, a.ended = a.buf[:had+n], err
	if had == 0 {
		a.began = time.Now()
	}
	if !a.started && len(a.buf) > nalHeadBytes && (a.buf[0] != 0 || a.buf[1] != 0) {
		return errNoAnnexB
	}
	return nil
}

// boundary looks for the place where the next access unit begins.
func (a *annexB) boundary() (int, bool) {
	for {
		i := bytes.Index(a.buf[a.scanned:], startCode)
		if i < 0 {
			a.scanned = max(a.scanned, len(a.buf)-len(startCode)+1)
			return 0, false
		}
		at := a.scanned + i
		a.started = true
		head := a.buf[at+len(startCode):]
		if len(head) < nalHeadBytes && a.ended == nil {
			a.scanned = at
			return 0, false
		}
		a.scanned = at + len(startCode)
		if len(head) == 0 {
			continue
		}
		if a.codec == "" {
			a.codec = guessCodec(head)
		}
		kind := kindOf(a.codec, head)
		if a.picture && kind.opens() {
			if a.buf[at-1] == 0 {
				at-- // the four-byte form
			}
			return at, true
		}
		a.picture = a.picture || kind.slice()
	}
}

// cut takes the bytes before at. The next unit's first bytes came with the last read.
func (a *annexB) cut(at int) ([]byte, time.Time) {
	unit, came := bytes.Clone(a.buf[:at]), a.began
	a.buf = append(a.buf[:0], a.buf[at:]...)
	a.scanned, a.picture, a.began = 0, false, time.Now()
	return unit, came
}
