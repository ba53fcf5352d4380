package report

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	latencyMax    = time.Hour
	latencyDigits = 3 // significant digits that a quantile keeps

	distributionTicks = 5 // points of a distribution until half of what is left is passed
)

// Latency collects durations and tells their quantiles. The zero value is empty. It is not for
// concurrent use.
type Latency struct {
	hist *hdrhistogram.Histogram
}

// Record adds one duration, in microseconds; negative ones count as 0, those over an hour as an hour.
func (l *Latency) Record(d time.Duration) {
	if l.hist == nil {
		l.hist = hdrhistogram.New(1, latencyMax.Microseconds(), latencyDigits)
	}
	// The value lies in the histogram's range, so that it cannot be refused.
	_ = l.hist.RecordValue(min(max(d, 0), latencyMax).Microseconds())
}

// Add adds all durations of another collection.
func (l *Latency) Add(other *Latency) {
	if other.hist == nil {
		return
	}
	if l.hist == nil {
		l.hist = hdrhistogram.New(1, latencyMax.Microseconds(), latencyDigits)
	}
	l.hist.Merge(other.hist)
}

// Count returns how many durations there are.
func (l *Latency) Count() int64 {
	if l.hist == nil {
		return 0
	}
	return l.hist.TotalCount()
}

// Quantile returns the duration that a share q (0 to 1) of all does not exceed, as a field's value:
// nil when nothing was recorded.
func (l *Latency) Quantile(q float64) any {
	if l.Count() == 0 {
		return nil
	}
	return time.Duration(l.hist.ValueAtQuantile(q*100)) * time.Microsecond
}

// Distribution tells how many of all durations were as short: pairs of a share below 1 and seconds, as
// fine towards the slowest as there are durations. It is a field's value for drawings.
func (l *Latency) Distribution() [][2]float64 {
	pairs := [][2]float64{}
	if l.Count() == 0 {
		return pairs
	}
	for _, b := range l.hist.CumulativeDistributionWithTicks(distributionTicks) {
		if b.Quantile < 100 {
			pairs = append(pairs, [2]float64{math.Round(b.Quantile*1e4) / 1e6, float64(b.ValueAt) / 1e6})
		}
	}
	return pairs
}
