package bench

import (
	"math"
	"testing"
)

func TestTrendTellsGrowthFromDisturbance(t *testing.T) {
	for name, c := range map[string]struct {
		samples []float64
		growth  float64
		certain bool
	}{
		"steady":      {[]float64{5, 5, 5, 5, 5, 5}, 0, false},
		"leak":        {[]float64{10, 12, 14, 16, 18, 20}, 10, true},
		"disturbed":   {[]float64{10, 10, 400, 10, 10, 10}, 0, false},
		"both":        {[]float64{10, 12, 14, 500, 18, 20, 22}, 12, true},
		"falls":       {[]float64{20, 18, 16, 14, 12}, -8, false},
		"to and fro":  {[]float64{1, 2, 1, 2, 1, 2, 1, 2}, 0, false},
		"too few":     {[]float64{1, 2}, 0, false},
		"nothing yet": {nil, 0, false},
	} {
		got := trendOf(c.samples)
		if math.Abs(got.growth-c.growth) > 0.5 || (got.chance < soakChance) != c.certain {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// Kendall's own example of n = 5 in order has an exact probability of 1/120.
	if got := trendOf([]float64{1, 2, 3, 4, 5}).chance; got < 1./120 || got > 0.02 {
		t.Errorf("five in order: %v", got)
	}
}
