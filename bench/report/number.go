package report

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"smtplb/bench/result"
)

const (
	none = "–"      // stands where there is no number
	nbsp = "\u00a0" // between a number and its unit, which stay on one line
)

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// figures writes v with three significant figures, never fewer digits than its
// whole part has: 0.0712, 7.12, 71.2, 712, 71,200.
func figures(v float64) string {
	if !finite(v) {
		return none
	}
	rounded, exponent := threeFigures(v)
	switch {
	case rounded == 0:
		return "0"
	case exponent < -6 || exponent > 15:
		return strconv.FormatFloat(v, 'e', 2, 64)
	}
	return grouped(strconv.FormatFloat(rounded, 'f', max(2-exponent, 0), 64))
}

// measured is figures for what may be a count: small whole numbers stay whole.
func measured(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1000 {
		return plain(v)
	}
	return figures(v)
}

// threeFigures rounds, and returns the power of ten of the first figure.
func threeFigures(v float64) (rounded float64, exponent int) {
	if v == 0 || !finite(v) {
		return v, 0
	}
	text := strconv.FormatFloat(v, 'e', 2, 64)
	mantissa, power, _ := strings.Cut(text, "e")
	exponent, _ = strconv.Atoi(power)                       // of FormatFloat's making
	rounded, _ = strconv.ParseFloat(mantissa+"e"+power, 64) // likewise
	return rounded, exponent
}

// plain writes v with as many figures as it has, up to nine: for ticks.
func plain(v float64) string {
	if !finite(v) {
		return none
	}
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'e', 8, 64), 64) // 3*0.1 is 0.3
	if v == 0 {
		return "0" // and not -0
	}
	if a := math.Abs(v); a < 1e-6 || a >= 1e15 {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return grouped(strconv.FormatFloat(v, 'f', -1, 64))
}

// grouped puts commas between the thousands of a number in decimal notation.
func grouped(text string) string {
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	whole, fraction, point := strings.Cut(text, ".")
	var b strings.Builder
	b.WriteString(sign)
	for i, digit := range []byte(whole) {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteByte(digit)
	}
	if point {
		b.WriteString("." + fraction)
	}
	return b.String()
}

func count(n int64) string { return grouped(strconv.FormatInt(n, 10)) }

// counted is a number of things: "1 session", "2 sessions".
func counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// quantity is a number and its unit, apart, so that a page can set them apart.
type quantity struct{ Number, Unit string }

// String is for running text: it does not break.
func (q quantity) String() string {
	if q.Unit == "" {
		return q.Number
	}
	return q.Number + nbsp + q.Unit
}

// latency chooses between µs, ms and s for a number of milliseconds.
func latency(ms float64) quantity { return inTimeUnit(ms, figures) }

// latencyTick is latency for a tick, which is a round number.
func latencyTick(ms float64) string { return inTimeUnit(ms, plain).String() }

func inTimeUnit(ms float64, write func(float64) string) quantity {
	rounded, _ := threeFigures(ms)
	switch size := math.Abs(rounded); {
	case !finite(rounded):
		return quantity{Number: none}
	case size == 0:
		return quantity{"0", "ms"}
	case size < 1:
		return quantity{write(rounded * 1000), "µs"}
	case size < 1000:
		return quantity{write(rounded), "ms"}
	default:
		return quantity{write(rounded / 1000), "s"}
	}
}

// volume chooses between powers of 1,000 for a number of bytes.
func volume(bytes int64) string {
	size := float64(bytes)
	for _, unit := range []string{"B", "KB", "MB", "GB"} {
		if rounded, _ := threeFigures(size); math.Abs(rounded) < 1000 {
			if unit == "B" {
				return count(bytes) + " B"
			}
			return figures(size) + " " + unit
		}
		size /= 1000
	}
	return figures(size) + " TB"
}

// span is a time in words: 1.50 s, 12 min 30 s, 1 h 5 min.
func span(seconds float64) string {
	switch {
	case !finite(seconds):
		return none
	case seconds < 1:
		return latency(seconds * 1000).String()
	case seconds < 99.95:
		return figures(seconds) + " s"
	}
	whole := int64(math.Round(math.Min(seconds, 1e15)))
	if whole < 3600 {
		return words(whole/60, "min", whole%60, "s")
	}
	minutes := (whole + 30) / 60
	return words(minutes/60, "h", minutes%60, "min")
}

func words(n int64, unit string, rest int64, restUnit string) string {
	text := count(n) + " " + unit
	if rest > 0 {
		text += " " + count(rest) + " " + restUnit
	}
	return text
}

// share is part of whole in per cent. Nothing but none is 0 %, and nothing but
// all is 100 %.
func share(part, whole int64) string {
	percent := 100 * float64(part) / float64(whole)
	switch {
	case whole <= 0:
		return none
	case part == 0:
		return "0 %"
	case part == whole:
		return "100 %"
	case percent < 0.01:
		return "< 0.01 %"
	case percent > 99.99 && percent < 100:
		return "> 99.99 %"
	case percent < 1, percent > 99 && percent < 100:
		return strconv.FormatFloat(percent, 'f', 2, 64) + " %"
	default:
		return strconv.FormatFloat(percent, 'f', 1, 64) + " %"
	}
}

// visible writes out what would not be seen, or would change how the rest is
// seen: control characters, turns of the writing direction, broken UTF-8. Lines
// and tabs stay.
func visible(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == unicode.ReplacementChar && s[i] != 0xef: // a byte that is not UTF-8
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i]), 16))
		case r == '\r' && strings.HasPrefix(s[i:], "\r\n"): // the line break follows
		case r == '\n', r == '\t', unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// oneLine is visible without line breaks.
func oneLine(s string) string { return strings.Join(strings.Fields(visible(s)), " ") }

// capital makes the first letter one.
func capital(s string) string {
	_, size := utf8.DecodeRuneInString(s)
	return strings.ToUpper(s[:size]) + s[size:]
}

// stage returns the named one, nil where it was not measured.
func stage(r *result.Run, name string) *result.Stage {
	for i := range r.Stages {
		if r.Stages[i].Name == name && r.Stages[i].Count > 0 {
			return &r.Stages[i]
		}
	}
	return nil
}
