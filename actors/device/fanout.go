package device

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// fanout packetises each access unit once and tells the same frame to every subscribed viewer. It
// holds the current group of pictures, so that a viewer that subscribes starts on a key frame at
// once. It owns the packetiser and the group; frames are shared and never written.
type fanout struct {
	*parts
	packetizer  *rtc.Packetizer
	subscribers map[string]*actor.PID
	group       []*messages.Frame // the video frames since the last key frame, that one first
	groupBytes  int
	key         *messages.AccessUnit // the newest key frame, also of a group that was let go
}

// The bounds of the held group. A source whose groups are longer gives its viewers no catch-up: they
// begin with the next key frame.
const (
	groupFramesMax = 600
	groupBytesMax  = 8 << 20
	// groupYoungMax is how old a group may be to begin with. Of an older one the viewer gets what there
	// is, and a source that can is asked for a key frame, which overtakes the rest of it.
	groupYoungMax = 500 * time.Millisecond
	// rtpPayloadBytesMax leaves room for the RTP header with extensions, the SRTP tag, and TURN's
	// channel header within an IPv6 packet of 1280 bytes, the least every path carries (RFC 8200, 5).
	rtpPayloadBytesMax = 1150
)

func newFanout(p *parts) *fanout {
	return &fanout{parts: p, packetizer: rtc.NewPacketizer(rtpPayloadBytesMax), subscribers: map[string]*actor.PID{}}
}

// Receive implements actor.Actor.
func (f *fanout) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		f.onStarted(ctx)
	case *messages.AccessUnit:
		f.onUnit(ctx, msg)
	case *messages.Subscribe:
		f.onSubscribe(ctx)
	case *actor.Terminated:
		f.onTerminated(ctx, msg)
	case *messages.WatchedWanted:
		f.tellWatched(ctx)
	case *messages.SnapshotWanted:
		ctx.Respond(&messages.Snapshot{Ticket: msg.Ticket, Unit: f.key})
	case *messages.SourceRests:
		f.group, f.groupBytes = nil, 0 // what it holds grows old
	}
}

// onStarted: who subscribes has missed it.
func (f *fanout) onStarted(ctx actor.Context) {
	ctx.Send(f.sys.PID(pathViewers), &messages.RollCall{})
	if f.cfg.StorageChannel != "" {
		ctx.Send(f.sys.PID(pathStorage), &messages.RollCall{})
	}
}

func (f *fanout) onUnit(ctx actor.Context, unit *messages.AccessUnit) {
	frame, err := f.packetizer.Frame(unit)
	if err != nil {
		f.metrics.unitsBad.Inc()
		f.sys.Log().Debug("packetise access unit failed", zap.Error(err))
		return
	}
	if unit.Track == messages.Video {
		f.hold(frame)
	}
	for _, viewer := range f.subscribers {
		ctx.Send(viewer, frame)
	}
}

// hold keeps the frame as part of the current group; a group that grows past its bounds is let go.
func (f *fanout) hold(frame *messages.Frame) {
	switch {
	case frame.Unit.KeyFrame:
		f.key = frame.Unit
		f.group, f.groupBytes = nil, 0 // a new slice: the old one is on its way to viewers
	case len(f.group) == 0:
		return
	}
	f.group = append(f.group, frame)
	f.groupBytes += len(frame.Unit.Data)
	if len(f.group) > groupFramesMax || f.groupBytes > groupBytesMax {
		f.group, f.groupBytes = nil, 0
		f.metrics.groupsLetGo.Inc()
	}
}

func (f *fanout) onSubscribe(ctx actor.Context) {
	viewer := ctx.Sender()
	if viewer == nil {
		return
	}
	ctx.Watch(viewer)
	f.subscribers[viewer.Id] = viewer
	f.tellWatched(ctx)
	ctx.Send(viewer, &messages.CatchUp{Frames: f.group[:len(f.group):len(f.group)]})
	if len(f.group) == 0 || f.newest().Sub(f.group[0].Unit.Captured) > groupYoungMax {
		ctx.Send(f.sys.PID(pathEncoder), &messages.KeyFrameWish{})
	}
}

func (f *fanout) onTerminated(ctx actor.Context, msg *actor.Terminated) {
	delete(f.subscribers, msg.Who.Id)
	f.tellWatched(ctx)
}

// tellWatched lets the source rest, or wakes it, where it runs on demand.
func (f *fanout) tellWatched(ctx actor.Context) {
	if f.cfg.SourceOnDemand {
		ctx.Send(f.sys.PID(pathEncoder), &messages.Watched{Viewers: len(f.subscribers)})
	}
}

func (f *fanout) newest() time.Time { return f.group[len(f.group)-1].Unit.Captured }
