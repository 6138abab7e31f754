package source

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"smtplb/bench/result"
)

func durations(t *rapid.T) []time.Duration {
	return rapid.SliceOfN(rapid.Map(rapid.Int64Range(0, int64(10*time.Minute)), func(n int64) time.Duration { return time.Duration(n) }), 1, 200).Draw(t, "durations")
}

func TestPercentilesAreThoseOfTheValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := durations(t)
		var whole, first, second histogram
		for i, v := range values {
			whole.add(v)
			if i%2 == 0 {
				first.add(v)
			} else {
				second.add(v)
			}
		}
		first.merge(&second)
		slices.Sort(values)
		for _, l := range []struct {
			name string
			h    *histogram
		}{{"whole", &whole}, {"merged", &first}} {
			got := l.h.latency()
			if got.Count != int64(len(values)) || got.MinMS != milliseconds(values[0]) || got.MaxMS != milliseconds(values[len(values)-1]) {
				t.Fatalf("%s: %+v", l.name, got)
			}
			for _, p := range []struct{ percent, ms float64 }{
				{50, got.P50MS}, {90, got.P90MS}, {99, got.P99MS}, {99.9, got.P999MS}, {99.99, got.P9999MS},
			} {
				// The library rounds the rank, where other definitions take the next one.
				rank := max(int(p.percent/100*float64(len(values))+0.5), 1)
				want := milliseconds(values[rank-1])
				if math.Abs(p.ms-want) > 0.001*want+0.0001 {
					t.Errorf("%s: p%v is %v ms, want %v of %v", l.name, p.percent, p.ms, want, values)
				}
			}
			if !slices.IsSortedFunc(got.Curve, func(a, b result.Point) int { return int(math.Copysign(1, a.Percentile-b.Percentile)) }) {
				t.Errorf("%s: the curve goes back: %v", l.name, got.Curve)
			}
			if last := got.Curve[len(got.Curve)-1]; last.Percentile != 100 || last.MS != got.MaxMS {
				t.Errorf("%s: the curve ends with %+v, the longest is %v", l.name, last, got.MaxMS)
			}
		}
	})
}

func TestExtremesAreKeptExactly(t *testing.T) {
	var h histogram
	h.add(-time.Second) // a clock that was set back
	h.add(24 * time.Hour)
	got := h.latency()
	if got.MinMS != 0 || got.MaxMS != 24*3600*1000 || got.MeanMS != 12*3600*1000 || got.P50MS > 0.001 {
		t.Errorf("%+v", got)
	}
}
