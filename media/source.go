// Package media makes and takes apart encoded media. It knows no peer and no signaling.
//
// A Source emits access units in real time. Nothing here starts a goroutine: the owner calls Run in
// one of its own.
package media

import (
	"context"

	"github.com/heliograph-rtc/heliograph/messages"
)

// Source is where a stream comes from. Its methods may be called from any goroutine, Run by one.
type Source interface {
	// Run calls emit for every access unit, paced in real time, until ctx ends (it then returns
	// ctx.Err()) or emit fails. emit may block; the source then drops what has become late.
	Run(ctx context.Context, emit func(*messages.AccessUnit) error) error

	// RequestKeyFrame asks for a key frame soon; false when this source cannot make one on demand.
	RequestKeyFrame() bool

	// RequestBitrate asks for so many bits per second of video from now on, 0 for what the source
	// makes when nobody asks; false when it cannot change.
	RequestBitrate(bps int) bool

	// RequestPicture asks for a picture whose width and height are divided by size, and as many pictures
	// per second divided by rate, from now on; false when it cannot change.
	RequestPicture(size, rate int) bool

	// VideoCodec is the codec of its video; "" when that shows only once it runs.
	VideoCodec() messages.Codec

	// AudioCodec is likewise of its sound; "" also for a source without any.
	AudioCodec() messages.Codec

	// Name says what the source is, for logs and metrics.
	Name() string
}
