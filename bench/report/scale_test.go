package report

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func labels(ticks []tick) []string {
	var all []string
	for _, t := range ticks {
		if t.Label != "" {
			all = append(all, t.Label)
		}
	}
	return all
}

func TestTicks(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	tests := []struct {
		name   string
		values []float64
		log    bool
		want   []string
	}{
		{"nothing", nil, false, []string{"0", "0.5", "1"}},
		{"no numbers", []float64{nan, inf, -inf}, false, []string{"0", "0.5", "1"}},
		{"one value", []float64{7}, false, []string{"0", "2", "4", "6", "8"}},
		{"linear begins at zero", []float64{400, 430}, false, []string{"0", "200", "400", "600"}},
		{"a round end stays", []float64{200}, false, []string{"0", "50", "100", "150", "200"}},
		{"below zero", []float64{-30, 60}, false, []string{"-50", "0", "50", "100"}},
		{"a tenth", []float64{0.3}, false, []string{"0", "0.1", "0.2", "0.3"}},
		{"wide", []float64{0.9, 1080}, true, []string{"1", "10", "100", "1,000"}},
		{"just wide enough", []float64{1, 50}, true, []string{"1", "10"}},
		{"not quite", []float64{1, 20}, false, []string{"0", "5", "10", "15", "20"}},
		{"zero is below every decade", []float64{0, 2, 3, 400}, true, []string{"10", "100"}},
		{"many decades", []float64{1e-3, 1e6}, true, []string{"0.01", "1", "100", "10,000", "1,000,000"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := scaleFor(test.values)
			if s.log != test.log {
				t.Errorf("logarithmic %v, want %v", s.log, test.log)
			}
			if got := labels(s.ticks(4, plain)); !slices.Equal(got, test.want) {
				t.Errorf("ticks %q, want %q", got, test.want)
			}
		})
	}
}

func TestTimeTicks(t *testing.T) {
	tests := []struct {
		total float64
		want  []string
	}{
		{0.4, []string{"0"}},
		{5, []string{"0", "1 s", "2 s", "3 s", "4 s", "5 s"}},
		{60, []string{"0", "15 s", "30 s", "45 s", "60 s"}},
		{200, []string{"0", "1 min", "2 min", "3 min"}},
		{3600, []string{"0", "15 min", "30 min", "45 min", "60 min"}},
		{86400, []string{"0", "6 h", "12 h", "18 h", "24 h"}},
		{864000, []string{"0", "48 h", "96 h", "144 h", "192 h", "240 h"}},
	}
	for _, test := range tests {
		if got := labels(timeTicks(test.total, 5)); !slices.Equal(got, test.want) {
			t.Errorf("over %v s %q, want %q", test.total, got, test.want)
		}
	}
}

func TestNines(t *testing.T) {
	tests := []struct {
		percentile float64
		samples    int64
		want       float64
	}{
		{0, 1000, 0}, {90, 1000, 1}, {99, 1000, 2}, {99.9, 1000, 3},
		{100, 1000, 3}, // the last of a thousand
		{99.99, 1000, 3}, {100, 1, 0}, {100, 0, 0}, {-5, 1000, 0}, {101, 100, 2},
	}
	for _, test := range tests {
		if got := nines(test.percentile, test.samples); math.Abs(got-test.want) > 1e-9 {
			t.Errorf("percentile %v of %d samples is at %v, want %v", test.percentile, test.samples, got, test.want)
		}
	}
	if got := nines(math.NaN(), 10); !math.IsNaN(got) {
		t.Errorf("no percentile is at %v", got)
	}
	if got, want := labels(nineTicks(4)), []string{"0", "90", "99", "99.9", "99.99"}; !slices.Equal(got, want) {
		t.Errorf("ticks %q, want %q", got, want)
	}
}

// Whatever the values are, each has a place on the axis, in their order, and the
// ticks are few, on the axis, rising.
func TestScaleHoldsItsValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOf(rapid.OneOf(rapid.Float64(), rapid.Float64Range(0, 1e5), rapid.Just(0.0))).Draw(t, "values")
		n := rapid.IntRange(2, 8).Draw(t, "n")
		s := scaleFor(values)
		if !(s.lo < s.hi) {
			t.Fatalf("an axis from %v to %v", s.lo, s.hi)
		}
		slices.Sort(values)
		last := 0.0
		for _, v := range values {
			at := s.at(v)
			if !(at >= last-1e-12 && at <= 1) {
				t.Fatalf("%v is at %v, after %v", v, at, last)
			}
			last = at
		}
		ticks := s.ticks(n, plain)
		if got := len(labels(ticks)); got == 0 || got > n+2 {
			t.Fatalf("%d labels, want about %d", got, n)
		}
		last = -1
		for _, tick := range ticks {
			if !(tick.At > last && tick.At >= -1e-9 && tick.At <= 1+1e-9) {
				t.Fatalf("a tick at %v, after %v", tick.At, last)
			}
			last = tick.At
		}
	})
}
