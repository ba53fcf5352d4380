package actors

import "github.com/prometheus/client_golang/prometheus"

// collector shows a tree's mailboxes at /metrics, read when somebody asks.
type collector struct {
	sys      *System
	messages *prometheus.Desc
	depth    *prometheus.Desc
	actors   *prometheus.Desc
	panics   *prometheus.Desc
}

// NewCollector makes the counters of every kind of actor in the tree a Prometheus collector:
// kvs_mailbox_messages_total{kind,outcome}, kvs_mailbox_depth, kvs_actors and kvs_actor_panics_total.
func NewCollector(sys *System) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"kind"}, labels...), nil)
	}
	return &collector{
		sys:      sys,
		messages: desc("kvs_mailbox_messages_total", "Messages that reached the mailboxes of a kind of actor, by what became of them.", "outcome"),
		depth:    desc("kvs_mailbox_depth", "Messages that wait in the mailboxes of a kind of actor."),
		actors:   desc("kvs_actors", "Actors of a kind that are alive."),
		panics:   desc("kvs_actor_panics_total", "Messages at which an actor of a kind panicked."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.messages, c.depth, c.actors, c.panics} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	for _, m := range c.sys.Mailboxes() {
		counter := func(d *prometheus.Desc, n uint64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append([]string{m.Kind}, labels...)...)
		}
		gauge := func(d *prometheus.Desc, n int) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), m.Kind)
		}
		counter(c.messages, m.Processed, "processed")
		counter(c.messages, m.Overflow, "overflow")
		counter(c.messages, m.Stopped, "stopped")
		counter(c.messages, m.Stale, "stale")
		gauge(c.depth, m.Depth)
		gauge(c.actors, m.Actors)
		counter(c.panics, m.Panics)
	}
}
