package report

import (
	"math"
	"slices"
)

// scale maps values to the length of an axis.
type scale struct {
	lo, hi float64 // lo < hi; both above zero if log
	log    bool
}

// tick is a place on an axis, 0 to 1, and what is written there; a gridline
// without a word has no label.
type tick struct {
	At    float64
	Label string
	Minor bool // its label may be left out where there is little room
}

// huge and tiny bound what is drawn, so that differences and quotients of values
// are numbers.
const (
	huge = 1e300
	tiny = 1e-300
)

// wide is the ratio of the largest to the smallest value from which a linear
// axis would squeeze most of them against zero.
const wide = 50

// linearFor covers zero and the values, and ends at a round number.
func linearFor(values []float64) scale {
	lo, hi := 0.0, 0.0
	for _, v := range values {
		if finite(v) {
			lo, hi = math.Max(math.Min(lo, v), -huge), math.Min(math.Max(hi, v), huge)
		}
	}
	if hi-lo < tiny {
		return scale{lo: 0, hi: 1}
	}
	step := roundStep((hi - lo) / 4)
	return scale{lo: math.Floor(lo/step) * step, hi: math.Ceil(hi/step-1e-9) * step}
}

// logFor covers the positive values, from a 1, 2 or 5 to another; ok is false
// where there is none.
func logFor(values []float64) (s scale, ok bool) {
	lo, hi := math.Inf(1), 0.0
	for _, v := range values {
		if finite(v) && v > 0 {
			lo, hi = math.Min(lo, v), math.Max(hi, v)
		}
	}
	if hi == 0 || lo < tiny || hi > huge {
		return scale{}, false
	}
	s = scale{lo: roundDown(lo), hi: -1, log: true}
	for _, v := range oneTwoFive(hi, hi*10) {
		s.hi = v // the first that is not below
		break
	}
	if s.hi <= s.lo {
		s.hi = s.lo * 10
	}
	return s, true
}

// scaleFor is logarithmic if the values ask for it, else linear from zero.
func scaleFor(values []float64) scale {
	if s, ok := logFor(values); ok && s.hi/s.lo >= wide {
		return s
	}
	return linearFor(values)
}

// at is v's place, 0 to 1; what lies outside comes to the edge, and no number
// is NaN.
func (s scale) at(v float64) float64 {
	if math.IsNaN(v) {
		return v
	}
	v = math.Min(math.Max(v, s.lo), s.hi)
	if s.log {
		return (math.Log(v) - math.Log(s.lo)) / (math.Log(s.hi) - math.Log(s.lo))
	}
	return (v - s.lo) / (s.hi - s.lo)
}

// ticks are at most about n labelled places, rising. On a logarithmic axis they
// are decades, or 1, 2 and 5 where decades would be too few; the others get a
// gridline without a label.
func (s scale) ticks(n int, label func(float64) string) []tick {
	values := s.values(n)
	every := max((len(values)+n)/(n+1), 1)
	ticks := make([]tick, 0, len(values))
	for i, v := range values {
		t := tick{At: s.at(v)}
		if (len(values)-1-i)%every == 0 { // the highest is the one that matters
			t.Label = label(v)
		}
		ticks = append(ticks, t)
	}
	return ticks
}

func (s scale) values(n int) []float64 {
	if !s.log {
		return multiples(s.lo, s.hi, roundStep((s.hi-s.lo)/float64(n)))
	}
	all := oneTwoFive(s.lo, s.hi)
	if len(all) <= n+1 {
		return all
	}
	return slices.DeleteFunc(all, func(v float64) bool {
		_, exponent := threeFigures(v)
		return math.Abs(v/math.Pow10(exponent)-1) > 0.5
	})
}

// roundStep is the smallest 1, 2 or 5 times a power of ten that is at least v.
func roundStep(v float64) float64 {
	if !finite(v) || v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// roundDown is the largest 1, 2 or 5 times a power of ten that is at most v.
func roundDown(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)+1e-12))
	for _, m := range []float64{5, 2} {
		if m*power <= v*(1+1e-9) {
			return m * power
		}
	}
	return power
}

// oneTwoFive lists 1, 2 and 5 times the powers of ten from lo to hi.
func oneTwoFive(lo, hi float64) []float64 {
	var values []float64
	for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
		for _, m := range []float64{1, 2, 5} {
			if v := m * math.Pow(10, e); v >= lo*(1-1e-9) && v <= hi*(1+1e-9) {
				values = append(values, v)
			}
		}
	}
	return values
}

func multiples(lo, hi, step float64) []float64 {
	var values []float64
	for i := math.Ceil(lo/step - 1e-9); i*step <= hi+step*1e-9 && len(values) < 100; i++ {
		values = append(values, i*step)
	}
	return values
}

// timeTicks are at most about n places on an axis of seconds from zero.
func timeTicks(total float64, n int) []tick {
	step, unit, per := 1.0, "s", 1.0
	for _, step = range []float64{1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 14400, 21600, 43200} {
		if total/step <= float64(n) {
			break
		}
	}
	if total/step > float64(n) {
		step = 86400 * roundStep(total/float64(n)/86400)
	}
	switch {
	case step >= 3600:
		unit, per = "h", 3600
	case step >= 60:
		unit, per = "min", 60
	}
	var ticks []tick
	for _, v := range multiples(0, total, step) {
		label := "0"
		if v > 0 {
			label = plain(v/per) + " " + unit
		}
		ticks = append(ticks, tick{At: v / total, Label: label})
	}
	return ticks
}

// nines is the place of a percentile on the axis of HdrHistogram's plots: 90 at
// 1, 99 at 2, 99.9 at 3. The last sample of all, 100, is at the share of one:
// of a thousand it is at 3.
func nines(percentile float64, samples int64) float64 {
	last := math.Log10(math.Max(float64(samples), 1))
	rest := 1 - percentile/100
	if math.IsNaN(percentile) {
		return percentile
	}
	if rest <= 0 {
		return last
	}
	return math.Min(math.Max(-math.Log10(rest), 0), last)
}

// nineTicks label 0, 90, 99 and so on of an axis of so many nines; the median
// has a gridline.
func nineTicks(most float64) []tick {
	ticks := []tick{{At: 0, Label: "0"}, {At: math.Log10(2) / most}}
	text := "90"
	for i := 1; float64(i) <= most; i++ {
		ticks = append(ticks, tick{At: float64(i) / most, Label: text, Minor: most > 4.5 && i%2 == 0})
		switch i {
		case 1:
			text = "99"
		case 2:
			text = "99.9"
		default:
			text += "9"
		}
	}
	return ticks
}
