package service

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	transport "github.com/heliograph-rtc/heliograph/transport/relay"
)

// relayMetrics reads the counters of the relay that serves. They begin anew with it, as Prometheus
// expects of a restart; nothing is shown while none serves.
type relayMetrics struct {
	serving atomic.Pointer[transport.Relay] // the relay actor's to set

	live, made, refused, dropped, bytes *prometheus.Desc
}

func newRelayMetrics() *relayMetrics {
	describe := func(name, help, label string) *prometheus.Desc {
		return prometheus.NewDesc("kvs_relay_"+name, help, []string{label}, nil)
	}
	return &relayMetrics{
		live:    describe("allocations", "Live TURN allocations, by the client's transport.", "transport"),
		made:    describe("allocations_total", "TURN allocations made, by the client's transport.", "transport"),
		refused: describe("refused_total", "What the relay refused: credentials, allocations beyond a quota, peers, connections, frames.", "reason"),
		dropped: describe("dropped_total", "Datagrams that the relay dropped: over the bandwidth, to or from its own addresses, stray DTLS records.", "reason"),
		bytes:   describe("bytes_total", "Relayed payload, by direction.", "direction"),
	}
}

// Describe implements prometheus.Collector.
func (m *relayMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.live, m.made, m.refused, m.dropped, m.bytes} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *relayMetrics) Collect(out chan<- prometheus.Metric) {
	relay := m.serving.Load()
	if relay == nil {
		return
	}
	s := relay.Stats()
	counters := func(d *prometheus.Desc, values map[string]uint64) {
		for label, value := range values {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), label)
		}
	}
	for transport, t := range s.Transports {
		out <- prometheus.MustNewConstMetric(m.live, prometheus.GaugeValue, float64(t.Allocations), transport)
		counters(m.made, map[string]uint64{transport: t.Allocated})
	}
	counters(m.refused, map[string]uint64{
		"credentials": s.AuthFailures, "quota": s.QuotaRefused, "peer": s.PeersRefused,
		"connection": s.ConnsRefused, "frame": s.FramesRefused,
	})
	counters(m.dropped, map[string]uint64{
		"bandwidth": s.OverBandwidth, "misdirected": s.Misdirected, "dtls": s.DatagramsRefused,
	})
	counters(m.bytes, map[string]uint64{"to_peers": s.BytesToPeers, "from_peers": s.BytesFrom})
}
