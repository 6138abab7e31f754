package sink

import (
	"math"
	"time"
)

// schedule is when a fault is on. Times count from the start of the schedule.
type schedule struct{ at, span, every time.Duration }

const never = time.Duration(math.MaxInt64)

// on tells whether the fault is on at t.
func (s schedule) on(t time.Duration) bool {
	since := t - s.at
	switch {
	case since < 0:
		return false
	case s.span == 0:
		return true
	case s.every > 0:
		return since%s.every < s.span
	default:
		return since < s.span
	}
}

// next is the first moment after t at which it goes on or off, or never.
func (s schedule) next(t time.Duration) time.Duration {
	since := t - s.at
	switch {
	case since < 0:
		return s.at
	case s.span == 0:
		return never
	case s.every == 0:
		if since < s.span {
			return s.at + s.span
		}
		return never
	}
	into := since % s.every
	if into < s.span {
		return t - into + s.span
	}
	if t > never-s.every {
		return never
	}
	return t - into + s.every
}
