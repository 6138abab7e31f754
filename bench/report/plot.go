package report

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// plot is a drawing with two axes, placed: x in per cent of its width, y in
// pixels from its top.
type plot struct {
	Title, Unit string
	Summary     string // what there is to see, for those who do not
	Height      float64
	Wide        bool // takes the room of two
	X           []mark
	Y           []mark
	Bands       []string // paths
	Lines       []line
	Columns     []column
	Reads       []readout
}

// mark is a gridline or tick.
type mark struct {
	At    float64
	Label string
	Minor bool // see tick
	Zero  bool // where bars begin
}

// line is one curve and its name at the right end.
type line struct {
	Class  string
	Path   string
	Dots   []dot // points alone between gaps
	Label  string
	LabelX float64
	LabelY float64 // moved from end where labels would overlap
	end    float64 // where the line ends, in pixels; NaN without a point
}

// dot is at a per cent of the width and a pixel from the top.
type dot struct{ X, Y float64 }

// column is one bar of a histogram over time.
type column struct{ X, Width, Y, Height float64 }

// readout is what is shown where the pointer is.
type readout struct {
	X, Width, Middle float64
	Text             string
}

// point is a place in a plot, both from 0 to 1, y upwards; a y of NaN is a gap.
type point struct{ x, y float64 }

// pathWidth is the width of the stretched view box that paths are in.
const pathWidth = 1000

// path goes through the points. Points that would fall on the same tenth of a
// unit of x as the one before and do not end a stretch are left out, and so are
// those that alone are no line: see dots.
func path(points []point, height float64) string {
	var b strings.Builder
	pen := false
	lastX := ""
	for i, p := range points {
		if math.IsNaN(p.x) || math.IsNaN(p.y) {
			pen = false
			continue
		}
		x, y := tenth(p.x*pathWidth), tenth((1-p.y)*height)
		ends := i+1 == len(points) || math.IsNaN(points[i+1].y)
		switch {
		case !pen && ends:
		case !pen:
			b.WriteString("M" + x + " " + y)
		case x != lastX || ends:
			b.WriteString("L" + x + " " + y)
		}
		pen, lastX = true, x
	}
	return b.String()
}

// dots are the points that have none beside them.
func dots(points []point, height float64) []dot {
	var alone []dot
	gap := func(i int) bool { return i < 0 || i >= len(points) || math.IsNaN(points[i].y) }
	for i, p := range points {
		if !gap(i) && gap(i-1) && gap(i+1) {
			alone = append(alone, dot{100 * p.x, (1 - p.y) * height})
		}
	}
	return alone
}

// area lies between two lines with the same x; where either has a gap it has.
func area(upper, lower []point, height float64) string {
	var b strings.Builder
	for from := 0; from < len(upper); {
		to := from
		for to < len(upper) && !math.IsNaN(upper[to].y) && !math.IsNaN(lower[to].y) {
			to++
		}
		if to-from > 1 {
			back := slices.Clone(lower[from:to])
			slices.Reverse(back)
			b.WriteString(path(upper[from:to], height))
			b.WriteString("L" + strings.TrimPrefix(path(back, height), "M") + "Z")
		}
		from = to + 1
	}
	return b.String()
}

func tenth(v float64) string {
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

// lineOf draws points, with a label where they end.
func lineOf(class, label string, points []point, height float64) line {
	l := line{Class: class, Label: label, Path: path(points, height), Dots: dots(points, height), end: math.NaN()}
	for _, p := range slices.Backward(points) {
		if !math.IsNaN(p.y) {
			l.LabelX, l.end = 100*p.x, (1-p.y)*height
			break
		}
	}
	return l
}

// labelGap is the least distance of the base lines of two labels, in pixels;
// labelReach how far apart they begin, in per cent, if they cannot overlap: on
// a telephone, where letters take the most of the width.
const (
	labelGap   = 15
	labelReach = 25
)

// spreadLabels places the labels of lines at their ends, moved no more than
// needed to stand clear of each other and inside the plot. A line without a
// point gets none.
func spreadLabels(lines []line, height float64) {
	var order []*line
	for i := range lines {
		if math.IsNaN(lines[i].end) {
			lines[i].Label = ""
			continue
		}
		lines[i].LabelY = lines[i].end
		order = append(order, &lines[i])
	}
	slices.SortStableFunc(order, func(a, b *line) int {
		switch {
		case a.end < b.end:
			return -1
		case a.end > b.end:
			return 1
		}
		return 0
	})
	near := func(a, b *line) bool { return math.Abs(a.LabelX-b.LabelX) < labelReach }
	for i, l := range order { // push down
		for _, above := range order[:i] {
			if near(above, l) {
				l.LabelY = math.Max(l.LabelY, above.LabelY+labelGap)
			}
		}
	}
	for i, l := range slices.Backward(order) { // and back up from the floor
		l.LabelY = math.Min(l.LabelY, height)
		for _, below := range order[i+1:] {
			if near(below, l) {
				l.LabelY = math.Min(l.LabelY, below.LabelY-labelGap)
			}
		}
	}
}

func xMarks(ticks []tick) []mark {
	marks := make([]mark, 0, len(ticks))
	for _, t := range ticks {
		marks = append(marks, mark{At: 100 * t.At, Label: t.Label, Minor: t.Minor})
	}
	return marks
}

func yMarks(ticks []tick, height float64) []mark {
	marks := make([]mark, 0, len(ticks))
	for _, t := range ticks {
		marks = append(marks, mark{At: (1 - t.At) * height, Label: t.Label, Minor: t.Minor})
	}
	return marks
}
