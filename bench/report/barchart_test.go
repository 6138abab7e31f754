package report

import (
	"math"
	"slices"
	"testing"

	"smtplb/bench/result"
)

func sampleMeasure(more, log bool, medians ...float64) *result.Measure {
	m := &result.Measure{More: more, Log: log}
	for i, v := range medians {
		m.Cells = append(m.Cells, result.Cell{Peer: []string{"smtplb", "haproxy", "direct"}[i], Median: v})
	}
	return m
}

func TestRatioToTheBest(t *testing.T) {
	nan := math.NaN()
	tests := []struct {
		name string
		m    *result.Measure
		want []string
	}{
		{"less is better", sampleMeasure(false, false, 100, 150), []string{"best", "1.50 ×"}},
		{"more is better", sampleMeasure(true, false, 100, 50), []string{"best", "0.50 ×"}},
		{"a draw", sampleMeasure(false, false, 100, 100), []string{"best", "best"}},
		{"no balancer is no competitor", sampleMeasure(false, false, 100, 200, 50), []string{"best", "2.00 ×", "0.50 ×"}},
		{"the best is nothing", sampleMeasure(false, false, 0, 5), []string{"best", ""}},
		{"far behind", sampleMeasure(false, false, 1, 1234), []string{"best", "1,230 ×"}},
		{"alone", sampleMeasure(false, false, 100, nan), []string{""}},
		{"nobody was", sampleMeasure(false, false, nan, nan), nil},
		{"below zero", sampleMeasure(false, false, -5, 10), []string{"best", ""}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, row := range chartOf(test.m, []string{"smtplb", "haproxy", "direct"}).Rows {
				got = append(got, row.Ratio)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("ratios %q, want %q", got, test.want)
			}
		})
	}
}

func TestBarsArePlaced(t *testing.T) {
	tests := []struct {
		name                string
		m                   *result.Measure
		x, width, low, high float64
		dots                []float64
	}{
		{"from zero", &result.Measure{Cells: []result.Cell{{Peer: "smtplb", Median: 100, Samples: []float64{90, 100, 160}}}}, 0, 50, 45, 80, []float64{45, 50, 80}},
		{"below zero", &result.Measure{Cells: []result.Cell{{Peer: "smtplb", Median: -50}, {Peer: "haproxy", Median: 50}}}, 0, 50, 0, 0, nil},
		{"a decade", &result.Measure{Log: true, Cells: []result.Cell{{Peer: "smtplb", Median: 10, Samples: []float64{1, 10, 100}}}}, 0, 50, 0, 100, []float64{0, 50, 100}},
		{"no logarithm of zero", &result.Measure{Log: true, Cells: []result.Cell{{Peer: "smtplb", Median: 0}}}, 0, 0, 0, 0, nil},
		{"samples that are none", &result.Measure{Cells: []result.Cell{{Peer: "smtplb", Median: 1, Samples: []float64{math.NaN(), 1}}}}, 0, 100, 100, 100, []float64{100}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			row := chartOf(test.m, []string{"smtplb"}).Rows[0]
			near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
			if !near(row.X, test.x) || !near(row.Width, test.width) || !near(row.Low, test.low) || !near(row.High, test.high) || !slices.EqualFunc(row.Dots, test.dots, near) {
				t.Errorf("got %+v, want x %v, width %v, from %v to %v, dots %v", row, test.x, test.width, test.low, test.high, test.dots)
			}
		})
	}
}

// A peer without a number is named all the same; only the way without a balancer
// is not, where the question makes no sense for it.
func TestPeersWithoutANumber(t *testing.T) {
	names := []string{"smtplb", "haproxy", "nginx", "iocopy", "direct"}
	if c := chartOf(sampleMeasure(false, false, 1, 2), names); len(c.Rows) != 2 || c.Without != "nginx and iocopy" {
		t.Errorf("%d rows, without %q; want 2, without nginx and iocopy", len(c.Rows), c.Without)
	}
	if c := chartOf(sampleMeasure(false, false, 1), names); len(c.Rows) != 1 || c.Without != "" {
		t.Errorf("%d rows, without %q; want smtplb's: a question to it alone", len(c.Rows), c.Without)
	}
}

func TestColumns(t *testing.T) {
	c := &result.Comparison{
		Peers:    []result.Peer{{Name: "smtplb"}, {Name: "envoy", Missing: "not there"}, {Name: "nginx"}},
		Measures: []result.Measure{{Cells: []result.Cell{{Peer: "nginx"}, {Peer: "extra"}}}},
		Matrices: []result.Matrix{{Rows: []result.Row{{Cells: []result.MatrixBox{{Peer: "smtplb"}}}, {Cells: []result.MatrixBox{{Peer: "last"}}}}}},
	}
	peers := measuredPeers(c)
	if want := []string{"smtplb", "nginx", "extra", "last"}; !slices.Equal(peers, want) {
		t.Errorf("peers %q, want %q", peers, want)
	}
	if got, want := matrixPeers(&c.Matrices[0], peers), []string{"smtplb", "last"}; !slices.Equal(got, want) {
		t.Errorf("the matrix has %q, want %q", got, want)
	}
}

func TestGroupsKeepTheirOrder(t *testing.T) {
	c := &result.Comparison{Measures: []result.Measure{{Title: "a", Group: "cost"}, {Title: "b"}, {Title: "c", Group: "cost"}, {Title: "d", Group: "écho"}}}
	var got []string
	for _, g := range chartGroups(c, nil) {
		name := g.Name + ":"
		for _, chart := range g.Charts {
			name += chart.Title
		}
		got = append(got, name)
	}
	if want := []string{"Cost:ac", "Other measures:b", "Écho:d"}; !slices.Equal(got, want) {
		t.Errorf("groups %q, want %q", got, want)
	}
}

func TestTheVerdictOnBars(t *testing.T) {
	tests := []struct {
		bars  string // m met, x missed, o out of reach, u undecided, n not measured
		state string
		want  string
	}{
		{"", open, "No bar was judged"},
		{"m", good, "The one bar is met"},
		{"x", bad, "The one bar is missed"},
		{"o", open, "The one bar is out of reach"},
		{"n", bad, "The one bar is not measured"},
		{"u", open, "The one bar is undecided"},
		{"mm", good, "All 2 bars are met"},
		{"mmo", open, "2 of 3 bars are met, 1 out of reach"},
		{"mxm", bad, "2 of 3 bars are met"},
		{"mxomo", bad, "2 of 5 bars are met, 2 out of reach"},
		{"mxomu", bad, "2 of 5 bars are met, 1 out of reach, 1 undecided"},
	}
	verdicts := map[byte]result.Judgment{'m': result.Met, 'x': result.Missed, 'n': result.NotMeasured, 'o': result.OutOfReach, 'u': result.Undecided}
	for _, test := range tests {
		all := make([]judged, len(test.bars))
		for i := range all {
			all[i].Verdict = verdicts[test.bars[i]]
		}
		if got := barsWord(all); got != test.want {
			t.Errorf("%s: %q, want %q", test.bars, got, test.want)
		}
		if got := barsState(all); got != test.state {
			t.Errorf("%s: %q, want %q", test.bars, got, test.state)
		}
	}
}
