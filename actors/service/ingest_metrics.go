package service

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/heliograph-rtc/heliograph/messages"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// ingestMetrics count what the storage sessions of this node do and take in.
type ingestMetrics struct {
	participants *prometheus.GaugeVec   // role
	ended        *prometheus.CounterVec // reason
	packets      *prometheus.CounterVec // track
	frames       *prometheus.CounterVec // track
	bytes        *prometheus.CounterVec // track
	voices       *prometheus.CounterVec // outcome
	dropped      prometheus.Counter
}

func newIngestMetrics() *ingestMetrics {
	vector := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kvs_ingest_" + name, Help: help}, []string{label})
	}
	return &ingestMetrics{
		participants: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kvs_ingest_participants", Help: "Participants of storage sessions by role."}, []string{"role"}),
		ended:        vector("ended_total", "Participants of storage sessions that ended, by reason.", "reason"),
		packets:      vector("packets_total", "RTP packets that masters sent into storage sessions, by track.", "track"),
		frames:       vector("frames_total", "Frames that masters sent into storage sessions, by track.", "track"),
		bytes:        vector("bytes_total", "Payload that masters sent into storage sessions, by track.", "track"),
		voices:       vector("voice_packets_total", "RTP packets of sound that viewers sent into storage sessions, by outcome.", "outcome"),
		dropped:      prometheus.NewCounter(prometheus.CounterOpts{Name: "kvs_ingest_dropped_total", Help: "Signaling messages that no storage session could take or send."}),
	}
}

func (m *ingestMetrics) register(r *prometheus.Registry) {
	r.MustRegister(m.participants, m.ended, m.packets, m.frames, m.bytes, m.voices, m.dropped)
}

// add counts what is new of the masters; it tells whether anything is.
func (m *ingestMetrics) add(before, now [2]rtc.TrackCount) (more bool) {
	for _, track := range []messages.Track{messages.Video, messages.Audio} {
		was, is, name := before[track], now[track], track.String()
		m.packets.WithLabelValues(name).Add(float64(is.Packets - was.Packets))
		m.frames.WithLabelValues(name).Add(float64(is.Frames - was.Frames))
		m.bytes.WithLabelValues(name).Add(float64(is.Bytes - was.Bytes))
		more = more || is.Packets > was.Packets
	}
	return more
}

// addVoices counts what is new of the viewers' sound.
func (m *ingestMetrics) addVoices(before, now rtc.VoiceCount) {
	for outcome, more := range map[string]uint64{
		"passed": now.Passed - before.Passed, "busy": now.Busy - before.Busy,
		"rate": now.Rate - before.Rate, "unheard": now.Unheard - before.Unheard,
	} {
		m.voices.WithLabelValues(outcome).Add(float64(more))
	}
}
