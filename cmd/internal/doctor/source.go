package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/heliograph-rtc/heliograph/media"
	"github.com/heliograph-rtc/heliograph/messages"
)

// errSeen ends a source that has shown what was wanted.
var errSeen = errors.New("seen")

// source opens the source and waits for a key frame.
func (e *examination) source(ctx context.Context) {
	e.check(ctx, "source", "", e.cfg.SourceWait, func(ctx context.Context) finding {
		source, err := e.cfg.Source()
		if err != nil {
			return failed(err, "check --source")
		}
		key, sound, err := firstKeyFrame(ctx, source)
		switch {
		case key == nil && errors.Is(err, context.DeadlineExceeded):
			return finding{Fail, fmt.Sprintf("%s gave no key frame within %v", source.Name(), e.cfg.SourceWait),
				"check the camera or command, and that its encoder repeats key frames (every 1 to 2 s)"}
		case key == nil:
			return failed(fmt.Errorf("%s ended before its first key frame: %w", source.Name(), err), "check --source: run the command, or look at the file, by hand")
		}
		format, ok := media.FormatOf(key)
		if !ok {
			return finding{Fail, fmt.Sprintf("%s gave a key frame without a sequence parameter set that can be read", source.Name()), "have the encoder repeat parameter sets (rpicam-vid: --inline)"}
		}
		found := finding{detail: source.Name() + ": " + format.String() + sound}
		if format.Codec != messages.H264 {
			found.status, found.remedy = Warn, "viewers are offered H.264 alone so far: --video-codec h264"
		}
		return found
	})
}

// firstKeyFrame runs a source up to its first key frame; sound tells whether audio came before it.
func firstKeyFrame(ctx context.Context, source media.Source) (key *messages.AccessUnit, sound string, err error) {
	err = source.Run(ctx, func(unit *messages.AccessUnit) error {
		switch {
		case unit.Track == messages.Audio:
			sound = ", with " + string(unit.Codec)
		case unit.KeyFrame:
			key = unit
			return errSeen
		}
		return nil
	})
	if err == nil {
		err = errors.New("it has ended")
	}
	return key, sound, err
}
