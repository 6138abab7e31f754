package compare

import (
	"fmt"
	"math"
	"strings"

	"smtplb/bench/result"
)

// The bars: what smtplb must reach, in every run.
const (
	barSession  = 0.90 // CPU per session, of the cheaper of HAProxy and nginx
	barFloor    = 1.10 // the same, of the floor, where that is above the bar
	barGigabyte = 0.60 // CPU per GB, of HAProxy with splice-auto
	barMemory   = 1024 // bytes per idle session
	barScale    = 1.8  // sessions per second with two cores, of those with one
	barLog      = 5    // percent that the session log may add
	barShare    = 2    // percentage points that a share may be off
)

const perRound = "median of the rounds' ratios"

// atMostOf judges smtplb against a part of the least that any of the rivals
// takes. Without a rival there is no bar, but a word on why.
func atMostOf(s *samples, part float64, rivals ...string) (*result.Bar, string) {
	best := ""
	for _, rival := range rivals {
		if s.has(rival) && (best == "" || s.median(rival) < s.median(best)) {
			best = rival
		}
	}
	names := strings.Join(rivals, " and ")
	if best == "" {
		return nil, fmt.Sprintf("No bar: without %s there is nothing to hold smtplb against.", names)
	}
	text := fmt.Sprintf("at most %.2f of %s", part, best)
	note := ""
	switch {
	case len(rivals) > 1 && countOf(s, rivals) == len(rivals):
		text = fmt.Sprintf("at most %.2f of %s, the cheaper of %s", part, best, names)
	case len(rivals) > 1:
		note = fmt.Sprintf("The bar is of the cheaper of %s; only %s was measured.", names, best)
	}
	bar := judge(text+" ("+perRound+")", s.ratio(best), func(got float64) bool { return got <= part })
	if bar.Verdict == result.Missed && s.has(floor) && s.has(smtplb) {
		reachable(s, bar, part, best)
	}
	return bar, note
}

// reachable tells of a bar that was missed whether it could be met: the floor
// makes a session's system calls and does nothing else, so that no loop in Go is
// cheaper. Where the floor itself is above the bar, what is asked for is to be
// near the floor.
func reachable(s *samples, bar *result.Bar, part float64, best string) {
	least := s.between(floor, best)
	above := s.ratio(floor)
	if !(least > part) {
		return
	}
	low, high := interval(s.ratios(smtplb, floor), 1)
	bar.Text += fmt.Sprintf("; the floor, a session's system calls and nothing else, is at %.2f itself, and smtplb at %.2f of the floor (resampled, %.2f to %.2f in 95 of 100 cases), at most %.2f",
		least, above, low, high, barFloor)
	switch {
	case above <= barFloor:
		bar.Verdict = result.OutOfReach
	case low <= barFloor:
		bar.Verdict = result.Undecided
	}
}

// notAbove judges whether smtplb is above a rival, by the median of the differences of samples of the same turn.
func notAbove(s *samples, rival, text, unit string) *result.Bar {
	text = fmt.Sprintf("%s: at most 0 %s (median of the differences, turn by turn)", text, unit)
	return judgeMedian(text, s.differences(smtplb, rival), s.block, func(got float64) bool { return got <= 0 })
}

// below judges the median of smtplb's rounds against a limit.
func below(s *samples, limit float64, unit string) *result.Bar {
	text := fmt.Sprintf("below %.3g %s (%s)", limit, unit, perRound)
	return judgeMedian(text, s.of[smtplb], s.block, func(got float64) bool { return got < limit })
}

// judgeMedian makes a bar of a median that must be small, with its interval by resampling. What is missed by less than the samples can
// tell is not decided: there the interval reaches what would be met.
func judgeMedian(text string, all []float64, block int, met func(float64) bool) *result.Bar {
	bar := judge(text, median(all), met)
	if bar.Verdict == result.NotMeasured {
		return bar
	}
	low, high := interval(all, block)
	bar.Text += fmt.Sprintf("; resampled, it is %.3g to %.3g in 95 of 100 cases", low, high)
	if bar.Verdict == result.Missed && met(low) {
		bar.Verdict = result.Undecided
	}
	return bar
}

func countOf(s *samples, peers []string) int {
	n := 0
	for _, p := range peers {
		if s.has(p) {
			n++
		}
	}
	return n
}

// judge makes a bar. What was not measured does not meet it.
func judge(text string, got float64, met func(float64) bool) *result.Bar {
	if math.IsNaN(got) || math.IsInf(got, 0) {
		return &result.Bar{Text: text, Verdict: result.NotMeasured}
	}
	return &result.Bar{Text: text, Got: got, Verdict: result.MetIf(met(got))}
}

// Missed returns the bars that were missed or not measured, as "title: got, want text".
func Missed(c *result.Comparison) []string {
	var missed []string
	note := func(title string, bar *result.Bar) {
		switch {
		case bar == nil || !bar.Verdict.Failed():
		case bar.Verdict == result.NotMeasured:
			missed = append(missed, fmt.Sprintf("%s: not measured, want %s", title, bar.Text))
		default:
			missed = append(missed, fmt.Sprintf("%s: %.4g, want %s", title, bar.Got, bar.Text))
		}
	}
	for i := range c.Measures {
		note(c.Measures[i].Title, c.Measures[i].Bar)
	}
	for i := range c.Matrices {
		note(c.Matrices[i].Title, c.Matrices[i].Bar)
	}
	return missed
}
