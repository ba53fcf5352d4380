package service

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/heliograph-rtc/heliograph/media/recorder"
)

// recordingMetrics count what the recordings of this node keep.
type recordingMetrics struct{ units, bytes, segments, dropped, gaps, removed, overflow, failures prometheus.Counter }

func newRecordingMetrics() *recordingMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "kvs_recording_" + name + "_total", Help: help})
	}
	return &recordingMetrics{
		units:    counter("units", "Access units of storage sessions that came to a recorder."),
		bytes:    counter("bytes", "Bytes of access units that are recorded."),
		segments: counter("segments", "Segments begun."),
		dropped:  counter("units_dropped", "Access units that are not recorded: before a key frame, behind a loss, for want of room."),
		gaps:     counter("gaps", "Times a recording has a gap."),
		removed:  counter("segments_removed", "Segments removed by retention or to make room."),
		overflow: counter("packets_dropped", "Packets that a recorder was too slow for."),
		failures: counter("failures", "Times a recorder gave up."),
	}
}

func (m *recordingMetrics) register(r *prometheus.Registry) {
	r.MustRegister(m.units, m.bytes, m.segments, m.dropped, m.gaps, m.removed, m.overflow, m.failures)
}

// add counts what is new, and returns it for the next time.
func (m *recordingMetrics) add(before, now recorder.Stats) recorder.Stats {
	m.units.Add(float64(now.Units - before.Units))
	m.bytes.Add(float64(now.Bytes - before.Bytes))
	m.segments.Add(float64(now.Segments - before.Segments))
	m.dropped.Add(float64(now.Dropped - before.Dropped))
	m.gaps.Add(float64(now.Gaps - before.Gaps))
	m.removed.Add(float64(now.Removed - before.Removed))
	return now
}
