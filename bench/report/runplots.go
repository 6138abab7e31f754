package report

import (
	"fmt"
	"math"
	"slices"

	"smtplb/bench/result"
)

const (
	curveHeight = 300 // pixels, of the percentile curves
	panelHeight = 110 // of a plot over time
)

// percentileCurves has a line for each stage that was measured; nil where none
// was.
func percentileCurves(stages []result.Stage) *plot {
	most, values := 2.0, []float64(nil)
	var curves [][]result.Point
	var shown []result.Stage
	for _, s := range stages {
		if s.Count <= 0 || s.Name == "schedule" { // which is the source's own lateness
			continue
		}
		shown = append(shown, s)
		curves = append(curves, curveOf(s.Latency))
		most = max(most, math.Log10(float64(s.Count)))
		for _, p := range curves[len(curves)-1] {
			values = append(values, p.MS)
		}
	}
	if len(shown) == 0 {
		return nil
	}
	y := scaleFor(values)
	p := &plot{
		Title:  "Latency by percentile",
		Unit:   "each nine takes the same room" + logWord(y),
		Height: curveHeight,
		X:      xMarks(nineTicks(most)),
		Y:      yMarks(y.ticks(6, latencyTick), curveHeight),
	}
	for i, s := range shown {
		points := curvePoints(curves[i], s.Count, most, y)
		p.Lines = append(p.Lines, lineOf("stage-"+stageClass(s.Name), oneLine(s.Name), points, curveHeight))
		p.Summary += fmt.Sprintf("%s: half within %s, 99 %% within %s, all within %s. ",
			oneLine(s.Name), latency(s.P50MS), latency(s.P99MS), latency(s.MaxMS))
	}
	spreadLabels(p.Lines, curveHeight)
	return p
}

// curvePoints places a curve on an axis of so many nines.
func curvePoints(curve []result.Point, samples int64, most float64, y scale) []point {
	points := make([]point, 0, len(curve))
	for _, c := range curve {
		if !finite(c.Percentile) || !finite(c.MS) {
			continue
		}
		points = append(points, point{nines(c.Percentile, samples) / most, y.at(c.MS)})
	}
	return points
}

// curveOf is the curve, or what the named percentiles know of it.
func curveOf(l result.Latency) []result.Point {
	if len(l.Curve) > 0 {
		curve := slices.Clone(l.Curve)
		slices.SortStableFunc(curve, func(a, b result.Point) int {
			switch {
			case a.Percentile < b.Percentile:
				return -1
			case a.Percentile > b.Percentile:
				return 1
			}
			return 0
		})
		return curve
	}
	return []result.Point{
		{Percentile: 0, MS: l.MinMS}, {Percentile: 50, MS: l.P50MS}, {Percentile: 90, MS: l.P90MS},
		{Percentile: 99, MS: l.P99MS}, {Percentile: 99.9, MS: l.P999MS}, {Percentile: 99.99, MS: l.P9999MS},
		{Percentile: 100, MS: l.MaxMS},
	}
}

// stageClass is the name's colour; a stage that is not known has none.
func stageClass(name string) string {
	switch name {
	case "connect", "greeting", "tls", "command", "message", "session":
		return name
	}
	return "other"
}

func logWord(s scale) string {
	if s.log {
		return ", logarithmic"
	}
	return ""
}

// panels are the plots over time. All have the same axis.
func panels(buckets []bucket) []plot {
	if len(buckets) == 0 {
		return nil
	}
	a := timeAxis{buckets: buckets, total: buckets[len(buckets)-1].to}
	plots := []plot{
		a.rates("Sessions", "a second", func(b bucket) rate { return b.sessions }),
		a.rates("Messages", "a second", func(b bucket) rate { return b.messages }),
		a.rates("Volume", "MB a second", func(b bucket) rate { return b.volume }),
		a.rates("Open sessions", "the most at a second's end", func(b bucket) rate {
			return rate{float64(b.open), float64(b.open), float64(b.open)}
		}),
		a.latencies("Greeting", func(b bucket) (float64, float64) { return b.greetingP50, b.greetingP99 }),
		a.latencies("Message", func(b bucket) (float64, float64) { return b.messageP50, b.messageP99 }),
	}
	if slices.ContainsFunc(buckets, func(b bucket) bool { return b.failures > 0 }) {
		plots = append(plots, a.failures())
	}
	return plots
}

// timeAxis is what the plots over time share.
type timeAxis struct {
	buckets []bucket
	total   float64 // seconds, above zero
}

func (a timeAxis) plot(title, unit string, y scale, label func(float64) string) plot {
	return plot{
		Title: title, Unit: unit + logWord(y), Height: panelHeight,
		X: xMarks(timeTicks(a.total, 5)),
		Y: yMarks(y.ticks(3, label), panelHeight),
	}
}

// rates draws the mean as a line, and a band from the slowest to the fastest
// second.
func (a timeAxis) rates(title, unit string, of func(bucket) rate) plot {
	var values []float64
	for _, b := range a.buckets {
		values = append(values, of(b).high)
	}
	y := linearFor(values)
	p := a.plot(title, unit, y, plain)
	mean := a.points(y, func(b bucket) float64 { return of(b).mean })
	low := a.points(y, func(b bucket) float64 { return of(b).low })
	high := a.points(y, func(b bucket) float64 { return of(b).high })
	p.Bands = []string{area(high, low, panelHeight)}
	p.Lines = []line{lineOf("main", "", mean, panelHeight)}
	p.Reads = a.reads(func(b bucket) string {
		r := of(b)
		if r.low == r.high {
			return figures(r.mean)
		}
		return fmt.Sprintf("%s (%s to %s)", figures(r.mean), figures(r.low), figures(r.high))
	})
	p.Summary = a.summary(func(b bucket) (float64, float64) { return of(b).low, of(b).high }, figures)
	return p
}

// failures draws columns: they are counted, and rare.
func (a timeAxis) failures() plot {
	var values []float64
	var total int64
	for _, b := range a.buckets {
		values = append(values, float64(b.failures))
		total += b.failures
	}
	y := linearFor(values)
	unit := "sessions and messages"
	if length := a.buckets[0].to - a.buckets[0].from; length > 1.5 {
		unit += ", a column is " + clock(length)
	}
	p := a.plot("Failures", unit, y, plain)
	p.Wide = true
	p.Y = yMarks(slices.DeleteFunc(y.ticks(3, plain), func(t tick) bool { // half a failure is none
		v := t.At * (y.hi - y.lo)
		return math.Abs(v-math.Round(v)) > 1e-6
	}), panelHeight)
	for _, b := range a.buckets {
		if b.failures > 0 {
			height := math.Max(y.at(float64(b.failures))*panelHeight, 2)
			x, width := a.place(b)
			p.Columns = append(p.Columns, column{X: x, Width: width * 0.9, Y: panelHeight - height, Height: height})
		}
	}
	p.Reads = a.reads(func(b bucket) string { return count(b.failures) })
	p.Summary = counted(total, "failure", "failures") + " in all."
	return p
}

// latencies draws p50 and p99.
func (a timeAxis) latencies(title string, of func(bucket) (p50, p99 float64)) plot {
	var values []float64
	for _, b := range a.buckets {
		p50, p99 := of(b)
		values = append(values, p50, p99)
	}
	y := scaleFor(values)
	p := a.plot(title, "latency", y, latencyTick)
	low := a.points(y, func(b bucket) float64 { p50, _ := of(b); return p50 })
	high := a.points(y, func(b bucket) float64 { _, p99 := of(b); return p99 })
	p.Bands = []string{area(high, low, panelHeight)}
	p.Lines = []line{
		lineOf("p99", "p99", high, panelHeight),
		lineOf("main", "p50", low, panelHeight),
	}
	spreadLabels(p.Lines, panelHeight)
	p.Reads = a.reads(func(b bucket) string {
		p50, p99 := of(b)
		return fmt.Sprintf("p50 %s, p99 %s", latency(p50), latency(p99))
	})
	p.Summary = a.summary(of, func(v float64) string { return latency(v).String() })
	return p
}

// points are in the middle of their buckets.
func (a timeAxis) points(y scale, of func(bucket) float64) []point {
	points := make([]point, 0, len(a.buckets))
	for _, b := range a.buckets {
		points = append(points, point{(b.from + b.to) / 2 / a.total, y.at(of(b))})
	}
	return points
}

// place is where a bucket begins and how wide it is, in per cent.
func (a timeAxis) place(b bucket) (x, width float64) {
	return 100 * b.from / a.total, 100 * (b.to - b.from) / a.total
}

func (a timeAxis) reads(text func(bucket) string) []readout {
	reads := make([]readout, 0, len(a.buckets))
	for _, b := range a.buckets {
		x, width := a.place(b)
		reads = append(reads, readout{x, width, x + width/2, when(b) + ": " + text(b)})
	}
	return reads
}

// when names a bucket by its seconds.
func when(b bucket) string {
	if b.to-b.from <= 1.5 {
		return clock(b.to)
	}
	return clock(b.from) + " to " + clock(b.to)
}

// clock is a time since the start: 37 s, 2:05, 1:02:05.
func clock(seconds float64) string {
	s := int64(math.Round(math.Min(seconds, 1e15)))
	switch {
	case s < 100:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

func (a timeAxis) summary(of func(bucket) (float64, float64), write func(float64) string) string {
	low, high := math.NaN(), math.NaN()
	for _, b := range a.buckets {
		l, h := of(b)
		if finite(l) && (math.IsNaN(low) || l < low) {
			low = l
		}
		if finite(h) && (math.IsNaN(high) || h > high) {
			high = h
		}
	}
	if math.IsNaN(low) || math.IsNaN(high) {
		return "Nothing was measured."
	}
	return fmt.Sprintf("Between %s and %s.", write(low), write(high))
}
