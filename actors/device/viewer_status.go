package device

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/heliograph-rtc/heliograph/messages"
)

// What a viewer tells of itself: its row in /sessions and the table of its setup phases.

// sample is a point of the byte counter, to tell a bitrate.
type sample struct {
	at    time.Time
	bytes uint64
}

func (v *viewer) report(ctx actor.Context) {
	v.told = time.Now()
	ctx.Send(v.sys.PID(v.parent), v.ownStatus())
}

// ownStatus is how the viewer is now.
func (v *viewer) ownStatus() *messages.ViewerStatus {
	status := v.status
	status.Phases = make(map[string]float64, len(v.phases))
	for name, took := range v.phases {
		status.Phases[name] = took.Seconds()
	}
	if v.stream != nil {
		v.fillCounters(&status)
	}
	return &status
}

func (v *viewer) fillCounters(status *messages.ViewerStatus) {
	status.VideoFrames, status.AudioFrames = v.stream.frames[messages.Video], v.stream.frames[messages.Audio]
	status.PacketsSent, status.BytesSent, status.FramesDropped = v.stream.packets, v.stream.bytes, v.stream.dropped
	status.FramesShed = v.stream.shed
	estimate := v.peer.Estimate()
	status.EstimateBps, status.Limited, status.Loss, status.RoundTrip = estimate.Bps, estimate.Limited, estimate.Loss, estimate.RoundTrip.Seconds()
	resent := v.peer.Resent()
	status.PacketsResent, status.ResendsRefused = resent.Sent, resent.Late+resent.Refused
	received := v.peer.Received()
	status.AudioReceived, status.DataReceived = received.AudioPackets, received.DataMessages
	now := sample{time.Now(), v.stream.bytes}
	if took := now.at.Sub(v.reported.at).Seconds(); took > 0.5 {
		if !v.reported.at.IsZero() {
			v.status.BitrateBps = uint64(float64(now.bytes-v.reported.bytes) * 8 / took)
		}
		v.reported = now
	}
	status.BitrateBps = v.status.BitrateBps
}

// The names of the phases as the C reference prints them (kvs-protocol.md 8.1).
var referenceNames = map[string]string{
	messages.PhaseGetCredentials:     "Get Authentication Temporary Credentials",
	messages.PhaseDescribeChannel:    "Describe Signaling Channel",
	messages.PhaseGetEndpoints:       "Get Signaling Endpoints",
	messages.PhaseGetIceServers:      "Get Ice Server List",
	messages.PhaseConnectWebsocket:   "Connect Websocket Server",
	messages.PhaseGatherHost:         "Gather ICE Host Candidate",
	messages.PhaseGatherSrflx:        "Gather ICE Srflx Candidate",
	messages.PhaseGatherRelay:        "Gather ICE Relay Candidate",
	messages.PhaseJoinStorageSession: "Join Storage Session",
	messages.PhaseFindPair:           "Find Peer-To-Peer Connection",
	messages.PhaseDTLSHandshake:      "DTLS Handshaking",
	messages.PhaseFirstFrame:         "First Frame",
}

// printPhases writes the phases of one viewer as the reference's table, in one write.
func printPhases(w io.Writer, clientID string, phases messages.Phases) {
	var b strings.Builder
	fmt.Fprintf(&b, "================ Metrics Start (%s) ================\n", clientID)
	for _, name := range messages.PhaseNames {
		if took, ok := phases[name]; ok {
			fmt.Fprintf(&b, "Duration of %s: %.3f ms\n", referenceNames[name], took.Seconds()*1000)
		} else {
			fmt.Fprintf(&b, "Duration of %s: -\n", referenceNames[name])
		}
	}
	b.WriteString("================ Metrics End ================\n")
	_, _ = io.WriteString(w, b.String()) // the terminal is gone: nothing to do about it
}
