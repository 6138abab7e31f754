package compare

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"smtplb/bench/result"
)

// table makes samples out of rows: NaN is a round without a number.
func table(rows map[string][]float64) *samples {
	rounds := 0
	for _, row := range rows {
		rounds = max(rounds, len(row))
	}
	s := newSamples(rounds)
	for peer, row := range rows {
		for round, value := range row {
			s.set(peer, round, value)
		}
	}
	return s
}

var none = math.NaN()

func same(a, b float64) bool {
	return math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) < 1e-9
}

func TestMedian(t *testing.T) {
	tests := []struct {
		all  []float64
		want float64
	}{
		{nil, none},
		{[]float64{none, none}, none},
		{[]float64{3}, 3},
		{[]float64{3, 1}, 2},
		{[]float64{9, 1, 2}, 2},
		{[]float64{9, none, 1, math.Inf(1), 2, 4}, 3},
	}
	for _, test := range tests {
		if got := median(test.all); !same(got, test.want) {
			t.Errorf("median of %v: %v, want %v", test.all, got, test.want)
		}
	}
}

func TestMedianDividesInHalves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Float64Range(-1e6, 1e6), 1, 20).Draw(t, "all")
		before := slices.Clone(all)
		m := median(all)
		below, above := 0, 0
		for _, x := range all {
			if x < m {
				below++
			}
			if x > m {
				above++
			}
		}
		if 2*below > len(all) || 2*above > len(all) {
			t.Errorf("median %v: %d below and %d above, of %d", m, below, above, len(all))
		}
		if !slices.Equal(all, before) {
			t.Error("the numbers were moved")
		}
	})
}

// A machine that was slow in one round was so for both.
func TestRatiosAreOfTheSameRound(t *testing.T) {
	s := table(map[string][]float64{
		smtplb:  {9, 18, none, 90},
		haproxy: {10, 20, 30, 100},
	})
	if got := s.ratio(haproxy); !same(got, 0.9) {
		t.Errorf("ratio %v, want 0.9", got)
	}
	if got := s.ratio(nginx); !math.IsNaN(got) {
		t.Errorf("ratio to nobody: %v", got)
	}
	other := table(map[string][]float64{smtplb: {3, 6, 1, 30}, haproxy: {5, 5, 5, 5}})
	if got := s.over(other).of[smtplb]; !same(got[0], 3) || !same(got[1], 3) || !math.IsNaN(got[2]) || !same(got[3], 3) {
		t.Errorf("combined %v, want 3, 3, none, 3", got)
	}
}

func TestAbove(t *testing.T) {
	s := table(map[string][]float64{
		direct: {1, 2, none},
		smtplb: {3, 5, none},
	})
	added := s.above(2, direct)
	if got := added.of[smtplb]; !same(got[0], 1) || !same(got[1], 3) || !math.IsNaN(got[2]) {
		t.Errorf("added %v, want 1, 3 and none", got)
	}
	if added.has(direct) {
		t.Error("direct adds something to itself")
	}
	if s.above(s.median(nginx), direct).has(smtplb) {
		t.Error("something is left without a base")
	}
}

func TestCells(t *testing.T) {
	s := table(map[string][]float64{nginx: {3, none, 1}, smtplb: {1, 2, 6}, iocopy: {none, none, none}})
	cells := s.cells([]*peer{{name: smtplb}, {name: haproxy}, {name: nginx}, {name: iocopy}}, 10)
	if len(cells) != 2 || cells[0].Peer != smtplb || cells[1].Peer != nginx {
		t.Fatalf("cells %+v, want smtplb's and nginx's", cells)
	}
	if !same(cells[0].Median, 20) || !same(cells[1].Median, 20) || !slices.Equal(cells[1].Samples, []float64{30, 10}) {
		t.Errorf("cells %+v", cells)
	}
	if s.of[nginx][0] != 3 {
		t.Error("the samples were scaled themselves")
	}
}

func TestAtMostOfTheCheaper(t *testing.T) {
	tests := []struct {
		name    string
		rows    map[string][]float64
		bar     bool
		met     bool
		got     float64
		caveats bool
	}{
		{"met, nginx is cheaper", map[string][]float64{smtplb: {8, 9}, haproxy: {20, 20}, nginx: {10, 10}}, true, true, 0.85, false},
		{"missed", map[string][]float64{smtplb: {10, 10}, haproxy: {11, 11}, nginx: {12, 12}}, true, false, 10. / 11, false},
		{"just met", map[string][]float64{smtplb: {9}, haproxy: {10}, nginx: {12}}, true, true, 0.9, false},
		{"one rival", map[string][]float64{smtplb: {8}, nginx: {10}}, true, true, 0.8, true},
		{"no rival", map[string][]float64{smtplb: {8}, iocopy: {1}}, false, false, 0, true},
		{"smtplb was not measured", map[string][]float64{haproxy: {8}, nginx: {8}}, true, false, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bar, caveat := atMostOf(table(test.rows), 0.9, haproxy, nginx)
			if (bar != nil) != test.bar || (caveat != "") != test.caveats {
				t.Fatalf("bar %+v, caveat %q", bar, caveat)
			}
			if bar != nil && ((bar.Verdict == result.Met) != test.met || !same(bar.Got, test.got)) {
				t.Errorf("bar %+v, want %v and %v", bar, test.got, test.met)
			}
		})
	}
}

// A bar below what the system calls alone take is out of reach, and what counts is
// to be near that.
func TestBarBelowTheFloor(t *testing.T) {
	tests := []struct {
		name   string
		smtplb []float64 // nginx: 10
		floor  float64
		want   result.Judgment
		speaks bool
	}{
		{"met, the floor far below", []float64{8}, 7, result.Met, false},
		{"met, the floor above", []float64{8}, 9.5, result.Met, false},
		{"missed, and it could be met", []float64{9.5}, 8.9, result.Missed, false},
		{"missed by all", []float64{10}, 9.5, result.OutOfReach, true},
		{"missed by all, and far off", []float64{10.6}, 9.5, result.Missed, true},
		{"far off in each round", []float64{10.6, 10.7, 10.8, 10.9}, 9.5, result.Missed, true},
		{"far off in some rounds", []float64{10, 10.5, 10.6, 11}, 9.5, result.Undecided, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := len(test.smtplb)
			rows := map[string][]float64{
				smtplb: test.smtplb, floor: slices.Repeat([]float64{test.floor}, n),
				haproxy: slices.Repeat([]float64{11}, n), nginx: slices.Repeat([]float64{10}, n),
			}
			bar, _ := atMostOf(table(rows), 0.9, haproxy, nginx)
			if bar.Verdict != test.want || strings.Contains(bar.Text, "floor") != test.speaks {
				t.Errorf("bar %+v, want %+v", bar, test)
			}
			missed := Missed(&result.Comparison{Measures: []result.Measure{{Title: "CPU", Bar: bar}}})
			if (len(missed) > 0) != (test.want == result.Missed) {
				t.Errorf("missed: %q", missed)
			}
		})
	}
}

func TestNotAbove(t *testing.T) {
	// noisy are samples around a middle, far apart; those of two steps have nothing in common.
	noisy := func(middle float64, step int) (all []float64) {
		for i := range 30 {
			all = append(all, middle+float64(i*step%30-15)/10)
		}
		return all
	}
	for _, test := range []struct {
		name            string
		smtplb, haproxy []float64
		want            result.Judgment
	}{
		{"below", noisy(3, 7), noisy(5, 11), result.Met},
		{"the same", noisy(3, 7), noisy(3, 7), result.Met},
		{"above by less than the noise", noisy(3.2, 7), noisy(3, 11), result.Undecided},
		{"above by less than the noise, which both had", noisy(3.2, 7), noisy(3, 7), result.Missed},
		{"above by more", noisy(5, 7), noisy(3, 11), result.Missed},
		{"one round", []float64{2}, []float64{1}, result.Missed},
		{"smtplb was not measured", nil, noisy(3, 7), result.NotMeasured},
	} {
		bar := notAbove(table(map[string][]float64{smtplb: test.smtplb, haproxy: test.haproxy}), haproxy, "more", "ms")
		if bar.Verdict != test.want {
			t.Errorf("%s: %+v, want %s", test.name, bar, test.want)
		}
		if again := notAbove(table(map[string][]float64{smtplb: test.smtplb, haproxy: test.haproxy}), haproxy, "more", "ms"); *again != *bar {
			t.Errorf("%s: %+v the next time", test.name, again)
		}
	}
}

func TestBelow(t *testing.T) {
	for _, test := range []struct {
		name   string
		smtplb []float64
		want   result.Judgment
	}{
		{"below", []float64{1, 2, 3, 4}, result.Met},
		{"less than nothing", []float64{-6, -5, 8, -4}, result.Met},
		{"at it", []float64{5}, result.Missed},
		{"above by less than the noise", []float64{1, 4, 6, 6.5, 7, 9}, result.Undecided},
		{"above by more", []float64{6, 6.5, 7, 7.5, 8}, result.Missed},
		{"not measured", nil, result.NotMeasured},
	} {
		if bar := below(table(map[string][]float64{smtplb: test.smtplb}), 5, "%"); bar.Verdict != test.want || !strings.HasPrefix(bar.Text, "below 5 % (") {
			t.Errorf("%s: %+v, want %s", test.name, bar, test.want)
		}
	}
}

func TestMissed(t *testing.T) {
	c := &result.Comparison{
		Measures: []result.Measure{
			{Title: "good", Bar: &result.Bar{Text: "at most 1", Got: 0.5, Verdict: result.Met}},
			{Title: "bad", Bar: &result.Bar{Text: "at most 1", Got: 1.5}},
			{Title: "no bar"},
			{Title: "beyond", Bar: &result.Bar{Text: "at most 1", Got: 2, Verdict: result.OutOfReach}},
			{Title: "noise", Bar: &result.Bar{Text: "at most 1", Got: 2, Verdict: result.Undecided}},
			{Title: "none", Bar: &result.Bar{Text: "at most 1", Verdict: result.NotMeasured}},
		},
		Matrices: []result.Matrix{{Title: "worse", Bar: &result.Bar{Text: "none", Got: 3}}, {Title: "no bar"}},
	}
	want := []string{"bad: 1.5, want at most 1", "none: not measured, want at most 1", "worse: 3, want none"}
	if got := Missed(c); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFaultBar(t *testing.T) {
	matrix := func(change func(box *result.MatrixBox)) result.Matrix {
		var m result.Matrix
		for _, c := range faultCases() {
			good := map[string]float64{"failed": 0, "lost": 0, "duplicated": 0, "corrupted": 0}
			bad := map[string]float64{"failed": 7}
			m.Rows = append(m.Rows, result.Row{Case: c.name, Cells: []result.MatrixBox{
				{Peer: haproxy, Values: bad}, {Peer: smtplb, Values: good, Good: true},
			}})
		}
		change(&m.Rows[3].Cells[1])
		return m
	}
	tests := []struct {
		name   string
		change func(box *result.MatrixBox)
		met    bool
	}{
		{"nothing went wrong, but for another", func(*result.MatrixBox) {}, true},
		{"a session failed", func(b *result.MatrixBox) { b.Values["failed"], b.Good = 1, false }, false},
		{"a message was lost", func(b *result.MatrixBox) { b.Values["lost"], b.Good = 1, false }, false},
		{"a message nobody sent", func(b *result.MatrixBox) { b.Good = false }, false},
		{"a case is missing", func(b *result.MatrixBox) { b.Peer = nginx }, false},
	}
	for _, test := range tests {
		if bar := faultBar(matrix(test.change)); (bar.Verdict == result.Met) != test.met {
			t.Errorf("%s: %+v, want %v", test.name, bar, test.met)
		}
	}
}

func TestShareBar(t *testing.T) {
	all := len(shareConnections())
	for _, test := range []struct {
		worst    float64
		measured int
		met      bool
	}{{0.4, all, true}, {2, all, true}, {2.1, all, false}, {0, all - 1, false}} {
		if bar := shareBar(test.worst, test.measured); (bar.Verdict == result.Met) != test.met {
			t.Errorf("off by %v at worst, %d measured: %+v, want %v", test.worst, test.measured, bar, test.met)
		}
	}
}
