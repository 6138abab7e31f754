package sim

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func aWatch(t *rapid.T) watch {
	return newWatch(rapid.Uint64().Draw(t, "seed"), 1, rapid.IntRange(0, 50).Draw(t, "seat"), rapid.Float64Range(0, 1).Draw(t, "shift"))
}

// A relay that stays well is checked once an interval, give or take the jitter.
func TestTurnsComeOnceAnInterval(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := aWatch(t)
		if w.phase < 0 || w.phase >= probeInterval {
			t.Fatalf("phase %s", w.phase)
		}
		for n := range 100 {
			at, next := w.turn(n), w.turn(n+1)
			if gap := next - at; gap < probeInterval*9/10 || gap > probeInterval*11/10 {
				t.Fatalf("turn %d comes %s after the one before", n+1, gap)
			}
			if got := w.turnAfter(at); got != next {
				t.Fatalf("the turn after the one at %s is at %s, want %s", at, got, next)
			}
		}
	})
}

// Whenever it is woken, a watch goes on at the turn where it would have been.
func TestSleepMissesNoTurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asleep := aWatch(t)
		awake := asleep
		at := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "at"))
		awake.asleep = false
		for awake.due < at {
			awake.began = awake.due
			awake.result(awake.due, false)
		}
		asleep.wake(at)
		if asleep != awake {
			t.Fatalf("woken at %s: %+v, want %+v", at, asleep, awake)
		}
	})
}

func TestWatchIsFastWhileInDoubt(t *testing.T) {
	w := newWatch(1, 2, 3, 0.5)
	fast := func(from time.Duration) bool {
		return w.due-from >= fastInterval*95/100 && w.due-from <= fastInterval*105/100
	}
	at := w.due
	for n, doubtful := range []bool{false, true, true, false, false, true, false} {
		w.began = at
		if settled := w.result(at, doubtful); settled == doubtful {
			t.Errorf("result %d: settled and in doubt are both %v", n, settled)
		}
		if fast(at) != doubtful {
			t.Errorf("result %d: the next check comes after %s; fast: want %v", n, w.due-at, doubtful)
		}
		at = w.due
	}
}

func TestFailedSessionHastensTheCheck(t *testing.T) {
	settled := watch{due: 10 * time.Second, rested: 7 * time.Second}
	tests := []struct {
		name  string
		w     watch
		at    time.Duration
		due   time.Duration
		hurry bool
	}{
		{"at once, after a rest", settled, 8 * time.Second, 8 * time.Second, false},
		{"as soon as it has rested", settled, 6 * time.Second, 7 * time.Second, false},
		{"not later than planned", watch{due: 6 * time.Second, rested: 6 * time.Second}, 5 * time.Second, 6 * time.Second, false},
		{"not while one is under way", watch{due: 5 * time.Second, rested: time.Second, running: true}, 6 * time.Second, 5 * time.Second, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := test.w
			w.hasten(test.at)
			if w.due != test.due || w.hurry != test.hurry {
				t.Errorf("due at %s, to hurry %v; want %s, %v", w.due, w.hurry, test.due, test.hurry)
			}
		})
	}
	w := watch{began: 5 * time.Second, running: true, hurry: true}
	if settled := w.result(20*time.Second, false); settled {
		t.Error("settled, though a session failed during the check")
	}
	if w.due != 21*time.Second || w.hurry {
		t.Errorf("after a check during which a session failed: due at %s, to hurry %v; want 21s, false", w.due, w.hurry)
	}
}
