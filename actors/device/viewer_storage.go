package device

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// What a viewer does otherwise when it is the peer of a storage session: it begins with the next key
// frame, so that no time is squeezed, and sends H.264 with Opus or nothing (kvs-protocol.md 4.4).

// soundlessMax is after how many pictures without sound a source is held to have none: about 5 s.
const soundlessMax = 150

// storageTalker is who talks through a storage session, to the sink; no client id has this character.
const storageTalker = "~storage"

func newStorageViewer(p *parts, epoch uint64, config rtc.PeerConfig) actor.Actor {
	v := newViewer(p, "", epoch, config)
	v.parent, v.signaling, v.stores = pathStorage, p.cfg.storagePath(), true
	return v
}

// beginStored asks for the key frame to begin with.
func (v *viewer) beginStored(ctx actor.Context) {
	v.stream.begin(nil, time.Now())
	ctx.Send(v.sys.PID(pathEncoder), &messages.KeyFrameWish{})
}

// fits tells whether a frame can be stored; the storage session hears when not.
func (v *viewer) fits(ctx actor.Context, frame *messages.Frame) bool {
	reason := ""
	switch codec := frame.Unit.Codec; {
	case frame.Unit.Track == messages.Audio:
		v.sounds = true
		if codec != messages.Opus {
			reason = "a storage session needs Opus, the source's sound is " + string(codec) + ": set --audio opus"
		}
	case codec != messages.H264:
		reason = "a storage session needs H.264, the source's video is " + string(codec) + ": set --video-codec h264"
	case !v.sounds && v.stream.frames[messages.Video] > soundlessMax:
		reason = "a storage session needs sound, the source has none: set --audio auto or silence"
	}
	if reason != "" {
		ctx.Send(v.sys.PID(v.parent), &unfit{v.epoch, reason})
	}
	return reason == ""
}
