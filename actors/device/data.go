package device

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/messages"
)

// data answers what a viewer sends by its data channels (deploy/data-channel.md). In order:
//
//	onPeerData   bounds size and rate; plain text and bytes go back as they came
//	onRequest    decodes a request and gives it to its method
//	dataWait     what another actor must answer waits under a ticket, few at a time
//	onSnapshot, onHookDone, onDataLate   take the ticket back and answer
//
// The viewer owns it.
type data struct {
	pace      *rate.Limiter // of messages
	snapshots *rate.Limiter
	told      time.Time // of a message beyond the pace
	ticket    uint64    // of the request that waited last
	waiting   map[uint64]*waiting
	ceiling   bool // this viewer has asked for a bitrate
}

// waiting is a request that another actor must answer.
type waiting struct {
	channel string
	request request
	timer   *actors.Timer
}

const (
	dataPerS            = 50
	dataBurst           = 100
	dataWaitingMax      = 4
	dataWithin          = 15 * time.Second
	dataTellEvery       = time.Second // that messages come too fast
	snapshotEvery       = time.Second
	snapshotPartBytes   = 16 << 10  // what every data channel takes in one message (RFC 8831 6.6)
	requestUnknownLabel = "unknown" // in metrics
)

func newData() *data {
	return &data{pace: rate.NewLimiter(dataPerS, dataBurst), snapshots: rate.NewLimiter(rate.Every(snapshotEvery), 2), waiting: map[uint64]*waiting{}}
}

// onPeerData: the text "ping" is answered with "pong", a request as it asks; whatever else comes goes
// back as it came.
func (v *viewer) onPeerData(ctx actor.Context, msg *messages.PeerData) {
	switch {
	case !v.data.pace.Allow():
		v.metrics.data("too_fast")
		v.tellTooFast(msg.Channel)
	case msg.Oversized:
		v.metrics.data("oversized")
		v.respond(msg.Channel, request{}, response{Error: &refusal{codeTooLarge, "a message has 65536 bytes at most"}})
	case !msg.Text:
		v.metrics.data("binary")
		v.send(msg.Channel, false, msg.Data)
	case string(msg.Data) == "ping":
		v.metrics.data("plain")
		v.send(msg.Channel, true, []byte("pong"))
	case isRequest(msg.Data):
		v.metrics.data("request")
		v.onRequest(ctx, msg)
	default:
		v.metrics.data("plain")
		v.log.Debug("plain text on a data channel", zap.Int("bytes", len(msg.Data)))
		v.send(msg.Channel, true, msg.Data)
	}
}

// tellTooFast says seldom that messages are dropped: an answer to each would be the flood's echo.
func (v *viewer) tellTooFast(channel string) {
	if now := time.Now(); now.Sub(v.data.told) >= dataTellEvery {
		v.data.told = now
		v.respond(channel, request{}, response{Error: &refusal{codeTooMany, "messages come faster than 50 a second; some were dropped"}})
	}
}

func (v *viewer) onRequest(ctx actor.Context, msg *messages.PeerData) {
	r, bad := decodeRequest(msg.Data)
	if bad != nil {
		v.respond(msg.Channel, r, response{Error: bad})
		return
	}
	switch r.Name {
	case "ping":
		v.respond(msg.Channel, r, response{Result: map[string]any{"time": time.Now().UTC()}})
	case "stats":
		v.respond(msg.Channel, r, response{Result: v.ownStatus()})
	case "keyframe":
		v.onPeerKeyFrameWish(ctx)
		v.respond(msg.Channel, r, response{Result: struct{}{}})
	case "snapshot":
		v.onSnapshotRequest(ctx, msg.Channel, r)
	case "bitrate":
		v.onBitrateRequest(ctx, msg.Channel, r)
	case "exec":
		v.onExecRequest(ctx, msg.Channel, r)
	default:
		v.respond(msg.Channel, r, response{Error: &refusal{codeUnknown, "there are ping, stats, keyframe, snapshot, bitrate and exec"}})
	}
}

func (v *viewer) onSnapshotRequest(ctx actor.Context, channel string, r request) {
	if !v.data.snapshots.Allow() {
		v.respond(channel, r, response{Error: &refusal{codeTooMany, "one snapshot a second"}})
		return
	}
	if ticket, ok := v.dataWait(channel, r); ok {
		ctx.Request(v.sys.PID(pathFanout), &messages.SnapshotWanted{Ticket: ticket})
	}
}

func (v *viewer) onBitrateRequest(ctx actor.Context, channel string, r request) {
	switch {
	case !v.grants.allow(v.clientID, grantBitrate):
		v.respond(channel, r, response{Error: &refusal{codeNotAllowed, "the device's owner has not granted bitrate to this client id"}})
		return
	case r.Bps == nil || *r.Bps < 0 || *r.Bps > requestBpsMax:
		v.respond(channel, r, response{Error: &refusal{codeBadRequest, "bitrate needs bps: bits per second, or 0 for the device's own choice"}})
		return
	}
	v.data.ceiling = true
	ctx.Send(v.sys.PID(pathEncoder), &messages.BitrateCeiling{ClientID: v.clientID, Epoch: v.epoch, Bps: *r.Bps})
	v.respond(channel, r, response{Result: map[string]any{"bps": *r.Bps}})
}

// liftCeiling: what a viewer asked for ends with it.
func (v *viewer) liftCeiling(ctx actor.Context) {
	if v.data.ceiling {
		ctx.Send(v.sys.PID(pathEncoder), &messages.BitrateCeiling{ClientID: v.clientID, Epoch: v.epoch})
	}
}

func (v *viewer) onExecRequest(ctx actor.Context, channel string, r request) {
	if !v.grants.allow(v.clientID, grantExec+r.Command) {
		v.log.Warn("a viewer asked for a command that it may not run", zap.Int("name_bytes", len(r.Command)))
		v.respond(channel, r, response{Error: &refusal{codeNotAllowed, "the device's owner has not granted this command to this client id"}})
		return
	}
	if ticket, ok := v.dataWait(channel, r); ok {
		ctx.Request(v.sys.PID(pathHook), &messages.HookWanted{Ticket: ticket, ClientID: v.clientID, Command: r.Command})
	}
}

// dataWait gives a request a ticket; false: too many wait, which the viewer is told.
func (v *viewer) dataWait(channel string, r request) (uint64, bool) {
	if len(v.data.waiting) >= dataWaitingMax {
		v.respond(channel, r, response{Error: &refusal{codeTooMany, "four requests of this viewer wait already"}})
		return 0, false
	}
	v.data.ticket++
	v.data.waiting[v.data.ticket] = &waiting{channel, r, v.edges.After(dataWithin, &dataLate{v.data.ticket})}
	return v.data.ticket, true
}

// dataReady takes a ticket back; nil when it was late.
func (v *viewer) dataReady(ticket uint64) *waiting {
	w := v.data.waiting[ticket]
	if w != nil {
		w.timer.Stop()
		delete(v.data.waiting, ticket)
	}
	return w
}

// snapshotResult stands before the parts of a picture.
type snapshotResult struct {
	Codec    messages.Codec `json:"codec"`
	Bytes    int            `json:"bytes"`
	Parts    int            `json:"parts"` // binary messages that follow
	Captured time.Time      `json:"captured"`
}

func (v *viewer) onSnapshot(msg *messages.Snapshot) {
	w := v.dataReady(msg.Ticket)
	switch {
	case w == nil:
		return
	case msg.Unit == nil:
		v.respond(w.channel, w.request, response{Error: &refusal{codeUnavailable, "no key frame has come yet"}})
		return
	case !v.peer.HasRoom(w.channel, len(msg.Unit.Data)+requestBytesMax):
		v.respond(w.channel, w.request, response{Error: &refusal{codeTooLarge, "the key frame is larger than what may wait on a data channel"}})
		return
	}
	picture := msg.Unit.Data
	v.respond(w.channel, w.request, response{Result: snapshotResult{
		msg.Unit.Codec, len(picture), (len(picture) + snapshotPartBytes - 1) / snapshotPartBytes, msg.Unit.Captured.UTC(),
	}})
	for len(picture) > 0 {
		n := min(len(picture), snapshotPartBytes)
		v.send(w.channel, false, picture[:n])
		picture = picture[n:]
	}
}

func (v *viewer) onHookDone(msg *messages.HookDone) {
	w := v.dataReady(msg.Ticket)
	switch {
	case w == nil:
	case msg.Refused != "":
		v.respond(w.channel, w.request, response{Error: &refusal{codeFailed, msg.Refused}})
	default:
		v.respond(w.channel, w.request, response{Result: map[string]any{"status": msg.Status, "output": msg.Output, "took_s": msg.Took.Seconds()}})
	}
}

// onDataLate: whoever was to answer has ended meanwhile.
func (v *viewer) onDataLate(msg *dataLate) {
	if w := v.dataReady(msg.ticket); w != nil {
		v.respond(w.channel, w.request, response{Error: &refusal{codeFailed, "no answer in time"}})
	}
}

// respond answers a request and counts what became of it.
func (v *viewer) respond(channel string, r request, answer response) {
	answer.ID, answer.OK = r.ID, answer.Error == nil
	outcome := "ok"
	if answer.Error != nil {
		outcome = answer.Error.Code
	}
	v.metrics.request(r.Name, outcome)
	v.send(channel, true, answer.encode())
}

func (v *viewer) send(channel string, text bool, message []byte) {
	if err := v.peer.SendData(channel, text, message); err != nil {
		v.metrics.dataDropped.Inc()
		v.log.Debug("send data failed", zap.Error(err))
	}
}

// onPeerSound passes on what the viewer says. Those of a storage session are one to the sink, who goes on
// talking when the next peer takes over: the service hands one viewer's sound on at a time.
func (v *viewer) onPeerSound(ctx actor.Context, msg *messages.PeerSound) {
	spoken := &messages.Spoken{ClientID: v.clientID, Epoch: v.epoch, Sound: msg.Sound}
	if v.stores {
		spoken.ClientID, spoken.Epoch = storageTalker, 0
	}
	ctx.Send(v.sys.PID(pathSink), spoken)
}

// dataLate is when a request has waited too long.
type dataLate struct{ ticket uint64 }
