package media

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

// File is a source that plays a file of H.264 or H.265 (Annex-B) in a loop, at a fixed rate.
type File struct {
	codec messages.Codec
	path  string
	every time.Duration // one picture
}

// The rates of pictures a file may be played at.
const (
	FileFPSDefault = 30
	fileFPSMax     = 240
)

// NewFile returns the source. It reads the first picture, so that what is no video is told at once.
func NewFile(codec messages.Codec, path string, fps float64) (*File, error) {
	if !(fps > 0 && fps <= fileFPSMax) {
		return nil, fmt.Errorf("open %s: %v frames per second; more than 0, at most %d", path, fps, fileFPSMax)
	}
	f := &File{codec: codec, path: path, every: time.Duration(float64(time.Second) / fps)}
	n := 0
	err := f.play(func(unit *messages.AccessUnit) error {
		if n++; !unit.KeyFrame {
			return fmt.Errorf("it does not begin with a key frame of %s", codec)
		}
		return errEnough
	})
	switch {
	case errors.Is(err, errEnough):
		return f, nil
	case err == nil:
		err = errors.New("it holds no picture")
	}
	return nil, fmt.Errorf("open %s as %s: %w", path, codec, err)
}

var errEnough = errors.New("enough")

// Name implements Source.
func (f *File) Name() string { return f.path }

// VideoCodec implements Source.
func (f *File) VideoCodec() messages.Codec { return f.codec }

// AudioCodec implements Source: such a file has no sound.
func (f *File) AudioCodec() messages.Codec { return "" }

// RequestKeyFrame implements Source: the file is what it is.
func (f *File) RequestKeyFrame() bool { return false }

// RequestBitrate implements Source: likewise.
func (f *File) RequestBitrate(int) bool { return false }

// RequestPicture implements Source: likewise.
func (f *File) RequestPicture(int, int) bool { return false }

// Run implements Source. Pictures are due at the run's start plus their number times the rate. When emit
// blocked for longer than sampleLateMax, the rest of the file is late by that from there on.
func (f *File) Run(ctx context.Context, emit func(*messages.AccessUnit) error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	start, behind := time.Now(), time.Duration(0)
	for pts := time.Duration(0); ; {
		err := f.play(func(unit *messages.AccessUnit) error {
			unit.PTS, unit.Duration, unit.Captured = pts+behind, f.every, start.Add(pts+behind)
			late := time.Since(unit.Captured)
			if late > sampleLateMax {
				behind += late
				unit.PTS, unit.Captured, late = unit.PTS+late, unit.Captured.Add(late), 0
			}
			pts += f.every
			timer.Reset(-late)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := emit(unit); err != nil {
				return fmt.Errorf("emit unit: %w", err)
			}
			return nil
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("play %s: %w", f.path, err)
		}
	}
}

// play gives out the file's pictures once, as fast as they are taken.
func (f *File) play(take func(*messages.AccessUnit) error) error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	var video inspector
	r := newAnnexB(bufio.NewReaderSize(file, readBytes), f.codec)
	for n := time.Duration(0); ; n++ {
		data, _, err := r.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		unit := &messages.AccessUnit{Codec: f.codec, Data: data, PTS: n}
		if err := video.inspect(unit); err != nil {
			return err
		}
		if err := take(unit); err != nil {
			return err
		}
	}
}
