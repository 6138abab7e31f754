package source

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"smtplb/bench/result"
)

// Values are nanoseconds, to three digits, from 64 ns on.
const (
	finest    = 100
	longest   = int64(time.Hour) // longer ones count as that in percentiles
	precision = 3                // digits
	// A second's percentiles are for a plot: a percent is fine enough.
	secondPrecision = 2
	curveTicks      = 8 // points of a curve for each halving of the distance to 100 %
)

// histogram is a distribution of durations. The zero value is empty. What it
// costs in memory, 200 KB, it costs with the first value.
type histogram struct {
	counts        *hdrhistogram.Histogram
	n             int64
	sum, min, max time.Duration // exact, where the counts are to three digits
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	if h.counts == nil {
		h.counts = hdrhistogram.New(finest, longest, precision)
	}
	record(h.counts, d)
	if h.n == 0 || d < h.min {
		h.min = d
	}
	h.n++
	h.sum += d
	h.max = max(h.max, d)
}

// record cannot fail: the value is within the histogram's bounds.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(int64(d), 0), longest))
}

// merge adds what another histogram holds.
func (h *histogram) merge(other *histogram) {
	if other.n == 0 {
		return
	}
	if h.counts == nil {
		h.counts = hdrhistogram.New(finest, longest, precision)
	}
	h.counts.Merge(other.counts)
	if h.n == 0 || other.min < h.min {
		h.min = other.min
	}
	h.n += other.n
	h.sum += other.sum
	h.max = max(h.max, other.max)
}

// latency is the distribution for a report. The histogram is not empty.
func (h *histogram) latency() result.Latency {
	at := h.counts.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9, 99.99})
	// The highest value that a bucket stands for may lie above all that were seen.
	ms := func(v int64) float64 { return milliseconds(min(max(time.Duration(v), h.min), h.max)) }
	l := result.Latency{
		Count:  h.n,
		MeanMS: milliseconds(h.sum / time.Duration(h.n)),
		MinMS:  milliseconds(h.min),
		P50MS:  ms(at[0]),
		P90MS:  ms(at[1]),
		P99MS:  ms(at[2]),
		P999MS: ms(at[3]), P9999MS: ms(at[4]),
		MaxMS: milliseconds(h.max),
	}
	for _, b := range h.counts.CumulativeDistributionWithTicks(curveTicks) {
		l.Curve = append(l.Curve, result.Point{Percentile: b.Quantile, MS: ms(b.ValueAt)})
	}
	return l
}

// milliseconds is d as reports have it.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
