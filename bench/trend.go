package bench

import (
	"math"
	"slices"
)

// trend tells whether a figure grows: by the median of all slopes between two samples (Sen), and by how
// probable it is that samples without a trend are as much in ascending order (Mann and Kendall). One
// sample that something else disturbed moves neither.
type trend struct {
	growth float64 // from the first sample to the last, along the median slope
	chance float64 // the probability, by the normal approximation
}

// trendOf takes samples at equal distances.
func trendOf(samples []float64) trend {
	n := len(samples)
	if n < 3 {
		return trend{chance: 1}
	}
	slopes, order := make([]float64, 0, n*(n-1)/2), 0.0
	for i, before := range samples {
		for j, after := range samples[i+1:] {
			slopes = append(slopes, (after-before)/float64(j+1))
			order += sign(after - before)
		}
	}
	slices.Sort(slopes)
	middle := (slopes[(len(slopes)-1)/2] + slopes[len(slopes)/2]) / 2
	return trend{growth: middle * float64(n-1), chance: chanceOf(samples, order)}
}

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

// chanceOf corrects the variance for samples that are equal.
func chanceOf(samples []float64, order float64) float64 {
	weight := func(n float64) float64 { return n * (n - 1) * (2*n + 5) / 18 }
	variance := weight(float64(len(samples)))
	equal := make(map[float64]float64)
	for _, v := range samples {
		equal[v]++
	}
	for _, n := range equal {
		variance -= weight(n)
	}
	if variance <= 0 || order <= 0 {
		return 1
	}
	return math.Erfc((order-1)/math.Sqrt(2*variance)) / 2
}

// line fits y = from + slope * x by least squares.
func line(x, y []float64) (from, slope float64) {
	n := float64(len(x))
	var sumX, sumY, sumXX, sumXY float64
	for i := range x {
		sumX, sumY, sumXX, sumXY = sumX+x[i], sumY+y[i], sumXX+x[i]*x[i], sumXY+x[i]*y[i]
	}
	slope = (n*sumXY - sumX*sumY) / (n*sumXX - sumX*sumX)
	return (sumY - slope*sumX) / n, slope
}
