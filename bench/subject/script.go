package subject

// The source of both senders. It emits nothing until it is told to play; then it walks its timetable
// for so long and rests again, so that costs and counters can be read while nothing is under way. Other
// orders than to play are span.go's.

import (
	"context"
	"time"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

// Script is what a sender plays: every Every so many pictures at once, and perhaps sound. The pictures
// need not decode, but they have the shape that a packetiser and a fan-out look at: parameter sets
// before an IDR slice, slices that begin where they should, no start code inside.
type Script struct {
	Every    time.Duration
	Pictures int // at once
	Slices   int // of one picture
	Bytes    int // of one picture, about
	KeyEvery int // pictures
	KeyBytes int
	Opus     int // bytes of a packet, 50 a second; 0: no sound
}

const (
	opusEvery = 20 * time.Millisecond
	opusTOC   = 0xfc // fullband, 20 ms, stereo (RFC 6716 3.1)
)

// Constrained baseline, 1280x720.
var parameterSets = []byte("\x00\x00\x00\x01\x67\x42\xc0\x1f\xda\x01\x40\x16\xec\x04\x40\x00\x00\x03\x00\x40\x00\x00\x0f\x03\xc6\x0c\xa8" +
	"\x00\x00\x00\x01\x68\xce\x32\xc8")

// script is the Script at work.
type script struct {
	Script
	key, other, sound []byte
	alarm             func(context.Context) (media.Alarm, error)
	orders            chan order
	played            chan struct{}

	pictures int // Run's: emitted so far
}

var _ media.Source = (*script)(nil)

func newScript(s Script) *script {
	sound := filler(s.Opus)
	if s.Opus > 0 {
		sound[0] = opusTOC
	}
	return &script{
		Script: s, sound: sound, alarm: media.NewAlarm, orders: make(chan order), played: make(chan struct{}),
		key: picture(parameterSets, 0x65, s.KeyBytes, s.Slices), other: picture(nil, 0x41, s.Bytes, s.Slices),
	}
}

// picture makes an access unit of slices with the given NAL header. A slice header begins with
// first_mb_in_slice, which is 0, one set bit, in the first slice only (ITU-T H.264 7.3.3).
func picture(sets []byte, header byte, size, slices int) []byte {
	au := append([]byte(nil), sets...)
	for i := range slices {
		slice := filler(size / slices)
		slice[0], slice[1] = header, 0x88
		if i > 0 {
			slice[1] = 0x4c
		}
		au = append(append(au, 0, 0, 0, 1), slice...)
	}
	return au
}

// filler has no zeros, hence no start code (ITU-T H.264 annex B).
func filler(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(1 + i*31%255)
	}
	return b
}

// play makes Run play and waits until it has.
func (s *script) play(ctx context.Context, d time.Duration) error {
	return s.run(ctx, func(ctx context.Context, began time.Time, emit func(*messages.AccessUnit) error) error {
		return s.walk(ctx, began, d, emit)
	})
}

// Name implements media.Source.
func (s *script) Name() string { return "script" }

// VideoCodec implements media.Source.
func (s *script) VideoCodec() messages.Codec { return messages.H264 }

// AudioCodec implements media.Source.
func (s *script) AudioCodec() messages.Codec { return messages.Opus }

// RequestKeyFrame implements media.Source: the timetable is fixed.
func (s *script) RequestKeyFrame() bool { return false }

// RequestBitrate implements media.Source: likewise.
func (s *script) RequestBitrate(int) bool { return false }

// RequestPicture implements media.Source: likewise.
func (s *script) RequestPicture(int, int) bool { return false }

// Run implements media.Source. A sender that falls behind is given everything all the same, without
// rests: each variant has the same to send.
func (s *script) Run(ctx context.Context, emit func(*messages.AccessUnit) error) error {
	began := time.Now()
	for {
		select {
		case do := <-s.orders:
			if err := do(ctx, began, emit); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case s.played <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// walk emits what is due within d from now.
func (s *script) walk(ctx context.Context, began time.Time, d time.Duration, emit func(*messages.AccessUnit) error) error {
	alarm, err := s.alarm(ctx)
	if err != nil {
		return err
	}
	defer alarm.Close()
	start := time.Now()
	video, audio := time.Duration(0), time.Duration(0)
	if s.Opus == 0 {
		audio = d
	}
	for video < d || audio < d {
		due := start.Add(min(video, audio))
		if err := alarm.Wait(due); err != nil {
			return err
		}
		var err error
		if audio < video {
			audio += opusEvery
			err = emit(&messages.AccessUnit{
				Track: messages.Audio, Codec: messages.Opus, Data: s.sound, PTS: due.Sub(began), Duration: opusEvery, Captured: due,
			})
		} else {
			video += s.Every
			err = s.show(due, due.Sub(began), emit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// show emits the pictures of one instant.
func (s *script) show(due time.Time, pts time.Duration, emit func(*messages.AccessUnit) error) error {
	step := s.Every / time.Duration(s.Pictures)
	for i := range s.Pictures {
		unit := &messages.AccessUnit{
			Track: messages.Video, Codec: messages.H264, Data: s.other,
			PTS: pts + time.Duration(i)*step, Duration: step, Captured: due,
		}
		if s.pictures%s.KeyEvery == 0 {
			unit.Data, unit.KeyFrame = s.key, true
		}
		s.pictures++
		if err := emit(unit); err != nil {
			return err
		}
	}
	return nil
}
