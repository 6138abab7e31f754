package admin

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// medians are what half of the greetings of each backend stayed below since it
// came to be, in milliseconds, of those that have greeted.
func (o *observations) medians() map[backendKey]float64 {
	found := map[backendKey]float64{}
	table := o.table.Load()
	if table == nil {
		return found
	}
	for key, s := range *table {
		metric, ok := s.greeting.(prometheus.Metric)
		if !ok {
			continue
		}
		var m dto.Metric
		if metric.Write(&m) == nil && m.GetHistogram().GetSampleCount() > 0 {
			found[key] = 1e3 * median(m.GetHistogram())
		}
	}
	return found
}

// median is looked for in the buckets, as histogram_quantile of Prometheus does:
// in the one that holds it, values are taken to be spread evenly. Above the last
// bucket it is that one's bound.
func median(h *dto.Histogram) float64 {
	half := float64(h.GetSampleCount()) / 2
	var floor, below float64
	for _, b := range h.GetBucket() {
		count := float64(b.GetCumulativeCount())
		if count >= half && count > below {
			return floor + (b.GetUpperBound()-floor)*(half-below)/(count-below)
		}
		floor, below = b.GetUpperBound(), count
	}
	return floor
}
