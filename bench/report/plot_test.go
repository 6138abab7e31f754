package report

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"smtplb/bench/result"
)

func TestPath(t *testing.T) {
	nan := math.NaN()
	tests := []struct {
		name   string
		points []point
		want   string
	}{
		{"nothing", nil, ""},
		{"nothing but gaps", []point{{0, nan}, {1, nan}}, ""},
		{"one point is no line", []point{{0.5, 0.5}}, ""},
		{"a line", []point{{0, 0}, {0.5, 1}, {1, 0.25}}, "M0 100L500 0L1000 75"},
		{"a gap", []point{{0, 0}, {0.25, 0}, {0.5, nan}, {0.75, 1}, {1, 1}}, "M0 100L250 100M750 0L1000 0"},
		{"nor is one between gaps", []point{{0, nan}, {0.5, 1}, {1, nan}}, ""},
		{"too close to see", []point{{0, 0}, {0.5, 0}, {0.50001, 1}, {1, 0}}, "M0 100L500 100L1000 100"},
		{"too close, but the end", []point{{0, 0}, {0.5, 0}, {0.50001, 1}}, "M0 100L500 100L500 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := path(test.points, 100); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestDots(t *testing.T) {
	nan := math.NaN()
	points := []point{{0, 0.5}, {0.1, nan}, {0.2, 1}, {0.3, 1}, {0.4, nan}, {0.5, 0.25}, {0.6, nan}, {1, 0}}
	if got, want := dots(points, 100), []dot{{0, 50}, {50, 75}, {100, 100}}; !slices.Equal(got, want) {
		t.Errorf("dots %v, want %v", got, want)
	}
}

func TestArea(t *testing.T) {
	nan := math.NaN()
	tests := []struct {
		name         string
		upper, lower []point
		want         string
	}{
		{"nothing", nil, nil, ""},
		{"one point has no area", []point{{0.5, 1}}, []point{{0.5, 0}}, ""},
		{"a band", []point{{0, 1}, {1, 1}}, []point{{0, 0}, {1, 0}}, "M0 0L1000 0L1000 100L0 100Z"},
		{"a gap in one is one in both", []point{{0, 1}, {0.5, 1}, {1, 1}}, []point{{0, 0}, {0.5, nan}, {1, 0}}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := area(test.upper, test.lower, 100); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// Labels that have room stand clear of each other inside the plot, in the order
// of the lines' ends; one that has its place to itself does not move.
func TestLabelsDoNotOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const height = 110.0
		ends := rapid.SliceOfN(rapid.Float64Range(0, height), 1, 6).Draw(t, "ends")
		lines := make([]line, len(ends))
		for i, end := range ends {
			lines[i] = line{Label: "x", end: end}
		}
		spreadLabels(lines, height)
		slices.SortFunc(lines, func(a, b line) int { return int(math.Copysign(1, a.LabelY-b.LabelY)) })
		for i, l := range lines {
			if l.LabelY < 0 || l.LabelY > height {
				t.Fatalf("a label at %v, outside", l.LabelY)
			}
			if i > 0 && (l.LabelY-lines[i-1].LabelY < labelGap-1e-9 || l.end < lines[i-1].end) {
				t.Fatalf("labels at %v and %v, of lines that end at %v and %v", lines[i-1].LabelY, l.LabelY, lines[i-1].end, l.end)
			}
		}
		if len(lines) == 1 && lines[0].LabelY != lines[0].end {
			t.Fatalf("the only label moved from %v to %v", lines[0].end, lines[0].LabelY)
		}
	})
	apart := []line{{Label: "x", end: 50}, {Label: "y", end: 51, LabelX: 40}}
	if spreadLabels(apart, 110); apart[0].LabelY != 50 || apart[1].LabelY != 51 {
		t.Errorf("labels far from each other moved to %v and %v", apart[0].LabelY, apart[1].LabelY)
	}
	lines := []line{{Label: "x", end: math.NaN()}}
	if spreadLabels(lines, 110); lines[0].Label != "" {
		t.Error("a line without a point has a label")
	}
}

func TestCurvesShowWhatWasMeasured(t *testing.T) {
	if percentileCurves([]result.Stage{{Name: "connect"}}) != nil {
		t.Error("a plot without a sample")
	}
	// A curve that is absent is drawn from the percentiles, the tail on its own
	// place: of 1,000 samples the last is at three nines, the end of the axis.
	l := result.Latency{Count: 1000, MinMS: 1, P50MS: 2, P90MS: 3, P99MS: 4, P999MS: 5, P9999MS: 5, MaxMS: 5}
	p := percentileCurves([]result.Stage{{Name: "greeting", Latency: l}, {Name: "connect"}})
	if len(p.Lines) != 1 || p.Lines[0].Label != "greeting" || p.Lines[0].LabelX != 100 {
		t.Errorf("lines %+v, want one of greeting over the whole axis", p.Lines)
	}
	if got, want := p.Lines[0].Path, "M0 250L100.3 200L333.3 150L666.7 100L1000 50L1000 50"; got != want {
		t.Errorf("path %s, want %s", got, want)
	}
	var labels []string
	for _, x := range p.X {
		labels = append(labels, x.Label)
	}
	if want := []string{"0", "", "90", "99", "99.9"}; !slices.Equal(labels, want) {
		t.Errorf("x ticks %q, want %q", labels, want)
	}
}
