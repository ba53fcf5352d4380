package service

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/transport/backplane"
)

// metrics are the service's counters. Every label has a fixed set of values.
type metrics struct {
	registry    *prometheus.Registry
	connections *prometheus.GaugeVec   // role
	forwarded   *prometheus.CounterVec // kind
	refused     *prometheus.CounterVec // type
	malformed   prometheus.Counter
	limited     *prometheus.CounterVec // kind
	ended       *prometheus.CounterVec // reason
	relay       *relayMetrics
	ingest      *ingestMetrics
	recording   *recordingMetrics
	reloads     *prometheus.CounterVec // outcome
	faults      *prometheus.CounterVec // kind
}

func newMetrics(sys *actors.System, back *backplane.Backplane) *metrics {
	vector := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		registry:    prometheus.NewRegistry(),
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kvs_service_connections", Help: "Connections of this node by role."}, []string{"role"}),
		forwarded:   vector("kvs_service_messages_total", "Signaling messages that were passed on, by kind.", "kind"),
		refused:     vector("kvs_service_refused_total", "Requests that were refused, by exception.", "type"),
		malformed:   prometheus.NewCounter(prometheus.CounterOpts{Name: "kvs_service_malformed_total", Help: "Signaling messages that broke the protocol's form."}),
		limited:     vector("kvs_service_limited_total", "Signaling messages beyond a socket's rate, by kind.", "kind"),
		ended:       vector("kvs_service_ended_total", "Connections that ended, by reason.", "reason"),
		relay:       newRelayMetrics(),
		faults:      vector("kvs_service_faults_total", "How often a fault that a test has set did strike, by kind.", "kind"),
		ingest:      newIngestMetrics(),
		recording:   newRecordingMetrics(),
		reloads:     vector("kvs_service_key_reloads_total", "Changes of the key files, by outcome: taken, or refused and the old keys kept.", "outcome"),
	}
	m.registry.MustRegister(m.connections, m.forwarded, m.refused, m.malformed, m.limited, m.ended, m.relay, m.reloads, m.faults,
		actors.NewCollector(sys), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.ingest.register(m.registry)
	m.recording.register(m.registry)
	for name, read := range map[string]func(backplane.Stats) uint64{
		"sent":      func(s backplane.Stats) uint64 { return s.Sent },
		"delivered": func(s backplane.Stats) uint64 { return s.Delivered },
		"stored":    func(s backplane.Stats) uint64 { return s.Stored },
		"dropped":   func(s backplane.Stats) uint64 { return s.Dropped },
	} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "kvs_backplane_messages_total", Help: "Messages at the backplane, by what became of them.",
			ConstLabels: prometheus.Labels{"outcome": name},
		}, func() float64 { return float64(read(back.Stats())) }))
	}
	return m
}

func (m *metrics) refusal(kind string) { m.refused.WithLabelValues(kind).Inc() }
