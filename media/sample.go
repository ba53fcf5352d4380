package media

// Flow: NewSample cuts the embedded streams once into one loop of units in order of time; Run walks
// it for ever, sleeping on one alarm until each unit is due. Run's caller owns all state of a run.

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/heliograph-rtc/heliograph/messages"
)

const (
	// SampleLoop is how long the sample is before it begins again.
	SampleLoop         = 10 * time.Second
	samplePicturesPerS = 30
	samplePacket       = 20 * time.Millisecond

	// sampleLateMax is how far emission may fall behind before units are skipped: one group of
	// pictures, because video goes on at a key frame only and so loses up to that much.
	sampleLateMax = 2 * time.Second
)

var (
	//go:embed sample/sample.h264
	sampleH264 []byte
	//go:embed sample/sample.ogg
	sampleOgg []byte
)

// Sample is the built-in source: an endless loop of ten seconds, H.264 constrained baseline
// 1280x720 at 30 pictures per second with a key frame every two seconds, and Opus.
type Sample struct {
	units   []messages.AccessUnit // one loop in order of PTS; Captured is set when emitted
	alarm   func(context.Context) (Alarm, error)
	skipped atomic.Uint64
}

// NewSample returns the built-in source. It fails only when the embedded files are damaged.
func NewSample() (Source, error) { return newSample(sampleH264) }

// SampleWith returns the source with other pictures: as many of H.264, in Annex-B, as the sample has.
func SampleWith(pictures []byte) (*Sample, error) { return newSample(pictures) }

func newSample(video []byte) (*Sample, error) {
	pictures := splitAccessUnits(video)
	packets, err := SampleAudio()
	if err != nil {
		return nil, err
	}
	if want := int(SampleLoop/time.Second) * samplePicturesPerS; len(pictures) != want || !H264KeyFrame(pictures[0]) {
		return nil, fmt.Errorf("load sample video: %d pictures instead of %d, or no key frame first; run media/sample/make.sh", len(pictures), want)
	}
	s := &Sample{units: make([]messages.AccessUnit, 0, len(pictures)+len(packets)), alarm: NewAlarm}
	for i, picture := range pictures {
		pts := time.Duration(i) * time.Second / samplePicturesPerS
		next := time.Duration(i+1) * time.Second / samplePicturesPerS
		s.units = append(s.units, messages.AccessUnit{
			Track: messages.Video, Codec: messages.H264, Data: picture, KeyFrame: H264KeyFrame(picture),
			PTS: pts, Duration: next - pts,
		})
	}
	for i, packet := range packets {
		s.units = append(s.units, messages.AccessUnit{
			Track: messages.Audio, Codec: messages.Opus, Data: packet,
			PTS: time.Duration(i) * samplePacket, Duration: samplePacket,
		})
	}
	slices.SortStableFunc(s.units, func(a, b messages.AccessUnit) int { return int(a.PTS - b.PTS) })
	return s, nil
}

// SampleUnits returns one loop of the sample, SampleLoop long, in order of PTS. Callers must not write into
// its data.
func SampleUnits() ([]messages.AccessUnit, error) {
	s, err := newSample(sampleH264)
	if err != nil {
		return nil, err
	}
	return s.units, nil
}

// SampleAudio returns the sample's Opus packets, 20 ms each. Callers must not write into them.
func SampleAudio() ([][]byte, error) {
	packets, err := splitOpus(sampleOgg)
	if err != nil {
		return nil, fmt.Errorf("load sample audio: %w; run media/sample/make.sh", err)
	}
	if want := int(SampleLoop / samplePacket); len(packets) != want {
		return nil, fmt.Errorf("load sample audio: %d packets instead of %d; run media/sample/make.sh", len(packets), want)
	}
	return packets, nil
}

// Name implements Source.
func (s *Sample) Name() string { return "sample" }

// VideoCodec implements Source.
func (s *Sample) VideoCodec() messages.Codec { return messages.H264 }

// AudioCodec implements Source.
func (s *Sample) AudioCodec() messages.Codec { return messages.Opus }

// RequestKeyFrame implements Source: the loop cannot make one; the next is two seconds away at most.
func (s *Sample) RequestKeyFrame() bool { return false }

// RequestBitrate implements Source: the loop is what it is.
func (s *Sample) RequestBitrate(int) bool { return false }

// RequestPicture implements Source: likewise.
func (s *Sample) RequestPicture(int, int) bool { return false }

// Skipped returns how many units were left out because emit was too slow.
func (s *Sample) Skipped() uint64 { return s.skipped.Load() }

// Run implements Source. Every run begins at the loop's start with PTS 0. The schedule is the start
// plus PTS, so that it does not drift; Captured is the scheduled time, not that of the wake-up.
//
// When emit blocked for longer than sampleLateMax, everything that is late is skipped and counted.
// Video then goes on at a key frame, so that no picture lacks what it refers to.
func (s *Sample) Run(ctx context.Context, emit func(*messages.AccessUnit) error) error {
	alarm, err := s.alarm(ctx)
	if err != nil {
		return fmt.Errorf("set an alarm: %w", err)
	}
	defer alarm.Close()
	start := time.Now()
	behind, needKeyFrame := false, false
	for loop := time.Duration(0); ; loop += SampleLoop {
		for i := range s.units {
			unit := s.units[i] // a copy: what was emitted is never written again
			unit.PTS += loop
			unit.Captured = start.Add(unit.PTS)

			late := time.Since(unit.Captured)
			behind = late > sampleLateMax || behind && late > 0
			if unit.Track == messages.Video {
				needKeyFrame = behind || needKeyFrame && !unit.KeyFrame
			}
			if behind || needKeyFrame && unit.Track == messages.Video {
				s.skipped.Add(1)
				continue
			}
			if err := alarm.Wait(unit.Captured); err != nil {
				return err
			}
			if err := emit(&unit); err != nil {
				return fmt.Errorf("emit unit: %w", err)
			}
		}
	}
}
