package bench

import (
	"time"

	"github.com/heliograph-rtc/heliograph/bench/impair"
	"github.com/heliograph-rtc/heliograph/bench/report"
	"github.com/heliograph-rtc/heliograph/messages"
)

// Row is what a viewer saw. Times that never came are nil.
type Row struct {
	Viewer            int
	ClientID          string
	Error             string
	Answer            any // time.Duration from the offer; nil: none came
	FirstRTP          any // time.Duration from the offer; nil: none came
	FirstKeyFrame     any // the same, to the last packet of the first decodable key frame
	Frames            uint64
	CatchUpFrames     uint64 // of Frames: older than the moment of joining
	KeyFrames         uint64
	FPS, SourceFPS    float64
	BitrateBps        float64
	PacketsLost       uint64
	Freezes           uint64
	Frozen            time.Duration
	LatencyP50        any // time.Duration
	LatencyP99        any
	AudioPackets      uint64
	AudioLost         uint64
	KeyFrameWishes    uint64
	Pongs             uint64
	CandidatesDropped uint64
	SignalingLost     bool
	Pair              string
	Phases            messages.Phases
	Network           impair.Stats
}

// Row is valid when Run has returned.
func (v *Viewer) Row() Row { return v.row }

// OK tells whether the viewer joined, saw a picture, and was not cut off.
func (r Row) OK() bool { return r.Error == "" && r.FirstKeyFrame != nil }

func (v *Viewer) result(pair string) Row {
	video, audio := v.video, v.audio
	r := Row{
		Viewer: v.cfg.Number, ClientID: v.cfg.ClientID, Pair: pair,
		Frames: video.Pictures, CatchUpFrames: video.CatchUp, KeyFrames: video.KeyFrames,
		FPS: video.FPS(), SourceFPS: video.SourceFPS(), BitrateBps: video.BitrateBps() + audio.BitrateBps(),
		PacketsLost: video.Lost() + audio.Lost(), AudioLost: audio.Lost(), AudioPackets: audio.Packets,
		Freezes: video.Freezes, Frozen: video.Frozen, KeyFrameWishes: video.KeyFrameWishes,
		LatencyP50: video.Latency.Quantile(0.5), LatencyP99: video.Latency.Quantile(0.99),
		Pongs: v.pongs.Load(), CandidatesDropped: v.candidatesDropped.Load(), SignalingLost: v.signalingLost.Load(),
		Network: v.network.Stats(),
	}
	first := video.First
	if first.IsZero() || !audio.First.IsZero() && audio.First.Before(first) {
		first = audio.First
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.answered.IsZero() {
		r.Answer = v.answered.Sub(v.offerSent)
	}
	if !first.IsZero() {
		r.FirstRTP = first.Sub(v.offerSent)
		v.phases[messages.PhaseFirstFrame] = first.Sub(v.offerSent)
	}
	if !video.FirstKey.IsZero() {
		r.FirstKeyFrame = video.FirstKey.Sub(v.offerSent)
	}
	r.Phases = v.phases
	return r
}

// fields is the row of the report (design.md section 7); what the contract does not name comes after it.
func (r Row) fields() report.Row {
	row := report.Row{
		{Name: "viewer", Value: r.Viewer}, {Name: "ok", Value: r.OK()}, {Name: "error", Value: r.Error},
		{Name: "first_rtp_s", Value: r.FirstRTP}, {Name: "first_key_frame_s", Value: r.FirstKeyFrame},
		{Name: "frames", Value: r.Frames}, {Name: "fps", Value: r.FPS}, {Name: "bitrate_bps", Value: r.BitrateBps},
		{Name: "packets_lost", Value: r.PacketsLost}, {Name: "freezes", Value: r.Freezes},
		{Name: "latency_p50_s", Value: r.LatencyP50}, {Name: "latency_p99_s", Value: r.LatencyP99}, {Name: "pair", Value: r.Pair},
	}
	for _, name := range messages.PhaseNames {
		if took, ok := r.Phases[name]; ok {
			row = append(row, report.Field{Name: name + "_s", Value: took})
		}
	}
	return append(row, report.Row{
		{Name: "source_fps", Value: r.SourceFPS}, {Name: "catch_up_frames", Value: r.CatchUpFrames},
		{Name: "key_frames", Value: r.KeyFrames}, {Name: "frozen_s", Value: r.Frozen},
		{Name: "audio_packets", Value: r.AudioPackets}, {Name: "audio_packets_lost", Value: r.AudioLost},
		{Name: "key_frame_wishes", Value: r.KeyFrameWishes}, {Name: "candidates_dropped", Value: r.CandidatesDropped},
		{Name: "signaling_lost", Value: r.SignalingLost}, {Name: "client_id", Value: r.ClientID},
		{Name: "network", Value: r.Network},
	}...)
}
