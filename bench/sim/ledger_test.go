package sim

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Relays a, b of the own site, weights 3 and 1; s of the standby.
func threeRelays() *ledger { return newLedger([]float64{3, 1, 2}, []int{0, 0, 1}) }

const a, b, s = 0, 1, 2

func (l *ledger) must(t *testing.T, what string, p phase, got [3]int64, fair [3]float64) {
	t.Helper()
	l.settle()
	for i := range got {
		if l.got[p][i] != got[i] || math.Abs(l.fair[p][i]-fair[i]) > 1e-9 {
			t.Errorf("%s: got %v, owed %.3f; want %v, %v", what, l.got[p], l.fair[p], got, fair)
			return
		}
	}
}

func TestLedgerOwesByWeightAmongThoseThatAreUp(t *testing.T) {
	l := threeRelays()
	for range 4 {
		l.session(healthy, 0, a, time.Second)
	}
	l.must(t, "all up", healthy, [3]int64{4, 0, 0}, [3]float64{3, 1, 0})

	l.turn(b, false)
	l.session(healthy, 0, a, time.Second)
	l.must(t, "b is down and owed nothing", healthy, [3]int64{5, 0, 0}, [3]float64{4, 1, 0})

	l.turn(b, true)
	l.turn(b, true) // said twice, counted once
	l.session(healthy, 0, b, time.Second)
	l.must(t, "b is back, and owed nothing of what it missed", healthy, [3]int64{5, 1, 0}, [3]float64{4.75, 1.25, 0})

	l.session(healthy, 0, s, time.Second)
	l.must(t, "the standby's sessions are its own tier's", healthy, [3]int64{5, 1, 1}, [3]float64{4.75, 1.25, 1})

	l.session(failing, 0, a, time.Second)
	l.must(t, "another phase is another account", failing, [3]int64{1, 0, 0}, [3]float64{0.75, 0.25, 0})
	l.must(t, "and leaves the first alone", healthy, [3]int64{5, 1, 1}, [3]float64{4.75, 1.25, 1})

	l.turn(s, false)
	l.session(failing, 0, s, time.Second)
	l.must(t, "a session of one that is down is nobody else's", failing, [3]int64{1, 0, 1}, [3]float64{0.75, 0.25, 1})
}

func TestLedgerDividesLoadByTheMinute(t *testing.T) {
	l := threeRelays()
	l.session(healthy, 50*time.Second, a, 90*time.Second) // 10 s, 60 s, 20 s
	l.settle()
	for minute, want := range []float64{10, 60, 20, 0} {
		if got := l.load[a][minute]; math.Abs(got-want) > 1e-9 {
			t.Errorf("minute %d: %.3f s, want %.0f s", minute, got, want)
		}
		for i, weight := range []float64{0.75, 0.25, 0} {
			if got := l.owed[i][minute]; math.Abs(got-want*weight) > 1e-9 {
				t.Errorf("minute %d: relay %d is owed %.3f s, want %.2f s", minute, i, got, want*weight)
			}
		}
	}
	l.session(healthy, wholeDay-10*time.Second, s, time.Hour)
	if got := l.load[s][buckets-1]; math.Abs(got-10) > 1e-9 {
		t.Errorf("over midnight: %.3f s in the last minute, want 10 s", got)
	}
}

// Whatever comes and goes, what is owed is what was given: by tier and phase, in sessions and in load.
func TestLedgerOwesWhatWasGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger([]float64{5, 3, 1, 2, 2}, []int{0, 0, 0, 1, 1})
		given := 0.0
		t.Repeat(map[string]func(*rapid.T){
			"session": func(t *rapid.T) {
				at := time.Duration(rapid.Int64Range(0, int64(wholeDay-1)).Draw(t, "at"))
				length := time.Duration(rapid.Int64Range(0, int64(10*time.Minute)).Draw(t, "length"))
				p := phase(rapid.IntRange(0, int(phases)-1).Draw(t, "phase"))
				l.session(p, at, rapid.IntRange(0, 4).Draw(t, "relay"), length)
				given += min(length, wholeDay-at).Seconds()
			},
			"turn": func(t *rapid.T) { l.turn(rapid.IntRange(0, 4).Draw(t, "relay"), rapid.Bool().Draw(t, "up")) },
			"": func(t *rapid.T) {
				l.settle()
				for p := range phases {
					for tier := range tiers {
						c, fair := l.tierOf(p, tier), 0.0
						for _, x := range c.fair {
							fair += x
						}
						if math.Abs(fair-float64(c.sessions())) > 1e-6 {
							t.Fatalf("%s, tier %d: %d sessions, owed %.6f", p, tier, c.sessions(), fair)
						}
					}
				}
				load, owed := 0.0, 0.0
				for i := range l.load {
					for b := range buckets {
						load += l.load[i][b]
						owed += l.owed[i][b]
					}
				}
				if math.Abs(load-given) > 1e-6 || math.Abs(owed-given) > 1e-6 {
					t.Fatalf("%.6f s of sessions, %.6f s carried, %.6f s owed", given, load, owed)
				}
			},
		})
	})
}
