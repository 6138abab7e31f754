package report

import (
	"testing"

	"smtplb/bench/result"
)

func TestSpread(t *testing.T) {
	for _, tt := range []struct {
		samples []float64
		median  float64
		want    string
	}{
		{[]float64{9, 10, 12}, 10, "30 %"},
		{[]float64{-12, -10, -9}, -10, "30 %"}, // a difference
		{[]float64{10, 10.01}, 10, "< 1 %"},
		{[]float64{10}, 10, none},
	} {
		m := &result.Measure{Cells: []result.Cell{{Peer: "smtplb", Median: tt.median, Samples: tt.samples}}}
		if got := spread(m); got != tt.want {
			t.Errorf("of %v: %s, want %s", tt.samples, got, tt.want)
		}
	}
}
