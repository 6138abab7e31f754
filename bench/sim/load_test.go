package sim

import (
	"math"
	"testing"
	"time"
)

func TestLoadsAddUp(t *testing.T) {
	l := newLoads(3)
	day := threeRelays()
	day.session(healthy, 0, a, 30*time.Second)
	day.session(healthy, time.Minute, s, time.Minute)
	day.settle()
	p := &plan{pool: []int32{2, 0, 1}} // a is relay 2, b relay 0, s relay 1
	l.add(p, day)
	l.add(p, day)
	for _, want := range []struct {
		relay, minute int
		got, owed     float64 // sessions, on average
	}{{2, 0, 1, 0.75}, {0, 0, 0, 0.25}, {1, 0, 0, 0}, {1, 1, 2, 2}, {2, 1, 0, 0}} {
		got, owed := sessionsAt(l.got, want.relay, want.minute), sessionsAt(l.owed, want.relay, want.minute)
		if math.Abs(got-want.got) > 1e-9 || math.Abs(owed-want.owed) > 1e-9 {
			t.Errorf("relay %d, minute %d: ran %v, owed %v; want %v, %v", want.relay, want.minute, got, owed, want.got, want.owed)
		}
	}
}

// One minute of two sites. At the first, weights 1 and 3 run 6 and 10 sessions, a third relay fails; at the second, one runs 5
// and one a little.
func TestImbalanceComparesWithTheSitesMean(t *testing.T) {
	c := Default()
	const minute = 10*60 + 30 // while the site is away
	at := minute * bucket
	relays := []relay{
		{site: 0, weight: 1}, {site: 0, weight: 3},
		{site: 0, weight: 1, faults: []fault{{from: at + bucket - 1, to: at + time.Hour}}},
		{site: 1, weight: 1}, {site: 1, weight: 4},
	}
	l := newLoads(len(relays))
	for i, sessions := range []struct{ got, owed float64 }{{6, 4}, {10, 12}, {50, 50}, {5, 2}, {3, 6}} {
		l.got[i*buckets+minute] = uint32(sessions.got * bucket.Seconds() / loadUnit)
		l.owed[i*buckets+minute] = uint32(sessions.owed * bucket.Seconds() / loadUnit)
	}
	found := l.imbalance(&c, relays)
	if len(found[healthy].toMean)+len(found[recovering].toMean) != 0 {
		t.Errorf("found something in the wrong phase: %+v", found)
	}
	m := found[failing]
	// Site 0: 16 sessions for weight 4, so 4 and 12. Site 1: 8 for 5, so 1.6, too few to say, and 6.4.
	equal := func(what string, got, want []float64) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
		for i := range want {
			if math.Abs(got[i]-want[i]) > 1e-9 {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
	}
	equal("to the mean", m.toMean, []float64{1.5, 10.0 / 12, 3 / 6.4})
	equal("perfect", m.perfect, []float64{1, 1, 6 / 6.4})
	equal("to perfect", m.toOwed, []float64{1.5, 10.0 / 12, 0.5})
	if want := (peak{0, at, 1.5}); m.worst != want {
		t.Errorf("worst %+v, want %+v", m.worst, want)
	}
}
