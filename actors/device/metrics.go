package device

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/heliograph-rtc/heliograph/actors"
	"github.com/heliograph-rtc/heliograph/transport/rtc"
)

// metrics are the device's counters at /metrics. They are safe for all actors to use.
type metrics struct {
	registry *prometheus.Registry

	phases           *prometheus.HistogramVec
	state            *prometheus.GaugeVec
	viewers          prometheus.Gauge
	viewersRefused   prometheus.Counter
	reconnects       prometheus.Counter
	replaced         prometheus.Counter
	failures         *prometheus.CounterVec
	messagesBad      prometheus.Counter
	refusedByService prometheus.Counter
	outboxFull       prometheus.Counter
	offersBad        prometheus.Counter
	codecsRefused    *prometheus.CounterVec
	candidatesBad    prometheus.Counter
	candidatesEarly  prometheus.Counter
	reloads          *prometheus.CounterVec // outcome
	pathsCollapsed   prometheus.Counter
	iceRestarts      prometheus.Counter
	dataDropped      prometheus.Counter
	dataMessages     *prometheus.CounterVec
	dataRequests     *prometheus.CounterVec
	hooks            *prometheus.CounterVec
	talks            prometheus.Counter
	talkFailures     prometheus.Counter
	talkPackets      *prometheus.CounterVec
	unitsBad         prometheus.Counter
	unitsEarly       prometheus.Counter
	groupsLetGo      prometheus.Counter
	wishesMerged     prometheus.Counter
	keyFramesAsked   prometheus.Counter
	bitrateAsked     prometheus.Gauge
	storageJoins     *prometheus.CounterVec
	storageRejoins   prometheus.Counter
	storageFailures  prometheus.Counter
	pictureStep      prometheus.Gauge
}

// registry makes metrics and knows them from then on.
type registry struct{ *prometheus.Registry }

func (r registry) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "kvs", Name: name, Help: help})
	r.MustRegister(c)
	return c
}

func (r registry) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "kvs", Name: name, Help: help}, labels)
	r.MustRegister(c)
	return c
}

func (r registry) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "kvs", Name: name, Help: help})
	r.MustRegister(g)
	return g
}

func newMetrics(sys *actors.System, engine *rtc.Engine) *metrics {
	r := registry{prometheus.NewRegistry()}
	m := &metrics{
		registry: r.Registry,
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "kvs", Name: "setup_phase_seconds", Help: "How long each setup phase took, in seconds.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"phase", "role"}),
		state: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "kvs", Name: "session_state", Help: "1 for the state the signaling session is in.",
		}, []string{"state"}),
		viewers:          r.gauge("viewers", "Viewers that have a slot."),
		viewersRefused:   r.counter("viewers_refused_total", "Offers refused because all slots were taken."),
		reconnects:       r.counter("session_reconnects_total", "Times the signaling session was lost."),
		replaced:         r.counter("session_replaced_total", "Signaling sockets replaced before the old one was given up."),
		failures:         r.counters("session_failures_total", "Failures of the signaling session by what they mean.", "class"),
		messagesBad:      r.counter("signaling_messages_bad_total", "Signaling messages that could not be understood."),
		refusedByService: r.counter("signaling_messages_refused_total", "Messages that the service refused for good."),
		outboxFull:       r.counter("signaling_outbox_full_total", "Messages dropped because the outbox was full."),
		offersBad:        r.counter("offers_bad_total", "Offers that could not be answered."),
		codecsRefused:    r.counters("viewers_codec_refused_total", "Offers refused because the viewer cannot decode the stream, by the stream's codec.", "codec"),
		candidatesBad:    r.counter("candidates_bad_total", "Remote candidates that could not be used."),
		pathsCollapsed:   r.counter("paths_collapsed_total", "Times a viewer's path fell to less than half of what it was sent; it goes on with a key frame."),
		candidatesEarly:  r.counter("candidates_early_dropped_total", "Candidates before an offer, beyond what is held, and of viewers that were turned away."),
		reloads:          r.counters("setting_reloads_total", "Changes of the settings while the device ran, by outcome: taken, or refused and the old ones kept.", "outcome"),
		iceRestarts:      r.counter("ice_restarts_total", "Times a connected viewer got a new path by restarting ICE."),
		dataDropped:      r.counter("data_messages_dropped_total", "Data-channel replies that could not be sent."),
		dataMessages:     r.counters("data_messages_total", "Data-channel messages of viewers by kind.", "kind"),
		dataRequests:     r.counters("data_requests_total", "Data-channel requests by what became of them.", "request", "outcome"),
		hooks:            r.counters("hooks_total", "The owner's commands that viewers asked for, by what became of them.", "outcome"),
		talks:            r.counter("talks_total", "Times a viewer began to talk to the audio sink."),
		talkFailures:     r.counter("talk_failures_total", "Talks that the audio sink failed."),
		talkPackets:      r.counters("talk_packets_total", "Packets of viewers' sound for the audio sink, by what became of them.", "outcome"),
		unitsBad:         r.counter("access_units_bad_total", "Access units that could not be packetised."),
		unitsEarly:       r.counter("access_units_early_total", "Video of a source that just started, before its first key frame."),
		groupsLetGo:      r.counter("groups_let_go_total", "Groups of pictures too large to hold for new viewers."),
		wishesMerged:     r.counter("key_frame_wishes_merged_total", "Key-frame wishes answered by an earlier one."),
		keyFramesAsked:   r.counter("key_frames_asked_total", "Key frames asked of the source."),
		storageJoins:     r.counters("storage_joins_total", "Joins of the storage session by what they brought.", "outcome"),
		storageRejoins:   r.counter("storage_rejoins_total", "Times a storage peer took over from one that delivered."),
		storageFailures:  r.counter("storage_failures_total", "Storage peers that ended, and joins that were given up."),
		bitrateAsked:     r.gauge("bitrate_asked_bps", "Bits per second of video that the source was asked for; 0: its own rate."),
		pictureStep:      r.gauge("picture_step", "0: the full picture; 1: half the pictures per second; 2: half width and height as well."),
	}
	m.registry.MustRegister(newEngineCollector(engine), m.phases, m.state,
		actors.NewCollector(sys), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, f := range failureClasses {
		m.failures.WithLabelValues(f.class)
	}
	m.sessionState(stateIdle)
	return m
}

// engineCollector reads what the engine counts.
type engineCollector struct {
	engine *rtc.Engine
	reads  []engineRead
}

// engineRead is one figure of the engine.
type engineRead struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(*rtc.Engine) float64
}

func newEngineCollector(engine *rtc.Engine) *engineCollector {
	c := &engineCollector{engine: engine}
	add := func(kind prometheus.ValueType, name, help string, read func(*rtc.Engine) float64) {
		c.reads = append(c.reads, engineRead{prometheus.NewDesc(name, help, nil, nil), kind, read})
	}
	add(prometheus.GaugeValue, "kvs_peer_connections", "Peer connections that are open, the spare one included.",
		func(e *rtc.Engine) float64 { return float64(e.Peers()) })
	add(prometheus.CounterValue, "kvs_udp_send_calls_total", "System calls that sent datagrams to viewers.",
		func(e *rtc.Engine) float64 { return float64(e.Sent().Calls) })
	add(prometheus.CounterValue, "kvs_udp_packets_batched_total", "Packets of frames that went out in batches.",
		func(e *rtc.Engine) float64 { return float64(e.Sent().Batched) })
	add(prometheus.CounterValue, "kvs_udp_packets_sealed_total", "Of these, packets that were sealed in the batch itself, past pion.",
		func(e *rtc.Engine) float64 { return float64(e.Sent().Sealed) })
	add(prometheus.CounterValue, "kvs_udp_packets_lost_total", "Packets that the network did not take.",
		func(e *rtc.Engine) float64 { return float64(e.Sent().Lost) })
	add(prometheus.CounterValue, "kvs_udp_segments_refused_total", "Segmented sends that the kernel refused; plain ones took their place.",
		func(e *rtc.Engine) float64 { return float64(e.Sent().SegmentsRefused) })
	add(prometheus.CounterValue, "kvs_spare_peers_used_total", "Viewers whose relayed candidates were ready when they came.",
		func(e *rtc.Engine) float64 { return float64(e.SparesUsed()) })
	return c
}

// Describe implements prometheus.Collector.
func (c *engineCollector) Describe(out chan<- *prometheus.Desc) {
	for _, r := range c.reads {
		out <- r.desc
	}
}

// Collect implements prometheus.Collector.
func (c *engineCollector) Collect(out chan<- prometheus.Metric) {
	for _, r := range c.reads {
		out <- prometheus.MustNewConstMetric(r.desc, r.kind, r.read(c.engine))
	}
}

func (m *metrics) phase(name string, took time.Duration) {
	m.phases.WithLabelValues(name, "master").Observe(took.Seconds())
}

func (m *metrics) sessionState(current string) {
	for _, state := range []string{stateIdle, stateDescribing, stateConnecting, stateOpen, stateBackingOff} {
		value := 0.0
		if state == current {
			value = 1
		}
		m.state.WithLabelValues(state).Set(value)
	}
}

// sound, data and request count by label; a request's name is the viewer's and counts only when known.
func (m *metrics) sound(outcome string) { m.talkPackets.WithLabelValues(outcome).Inc() }
func (m *metrics) data(kind string)     { m.dataMessages.WithLabelValues(kind).Inc() }

func (m *metrics) request(name, outcome string) {
	if !slices.Contains(requestNames, name) {
		name = requestUnknownLabel
	}
	m.dataRequests.WithLabelValues(name, outcome).Inc()
}
