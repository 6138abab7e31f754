package source

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestEvenScheduleDoesNotDrift(t *testing.T) {
	s := newSchedule(3, false, 1)
	var at time.Duration
	for range 3_000_001 {
		at = s.next()
	}
	if at != 1_000_000*time.Second {
		t.Errorf("the session that is due after 1,000,000 s is due after %v", at)
	}
}

func TestPoissonScheduleKeepsItsRate(t *testing.T) {
	const n = 100_000
	s := newSchedule(200, true, 1)
	var last, at time.Duration
	var squares float64
	for range n {
		at = s.next()
		squares += math.Pow((at - last).Seconds(), 2)
		last = at
	}
	if mean := at.Seconds() / n; math.Abs(mean-0.005) > 0.0001 {
		t.Errorf("mean gap %v s, want 0.005", mean)
	}
	// Of an exponential distribution, the mean square is twice the square of the mean.
	if square := squares / n; math.Abs(square-2*0.005*0.005) > 0.03*2*0.005*0.005 {
		t.Errorf("mean square %v, want %v", square, 2*0.005*0.005)
	}
}

func TestScheduleNeverGoesBackAndIsTheSameAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Float64Range(0.01, 1e6).Draw(t, "rate")
		poisson := rapid.Bool().Draw(t, "poisson")
		seed := rapid.Uint64().Draw(t, "seed")
		one, two := newSchedule(rate, poisson, seed), newSchedule(rate, poisson, seed)
		last := time.Duration(0)
		for range 100 {
			at := one.next()
			if at < last || at != two.next() {
				t.Fatalf("%v after %v", at, last)
			}
			last = at
		}
	})
}
