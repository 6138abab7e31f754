package sim

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestArrivalsFollowTheDay(t *testing.T) {
	const sessions = 100000
	a := newArrivals(rand.New(rand.NewPCG(1, 2)), sessions)
	var byHour [24]float64
	total, last := 0.0, time.Duration(0)
	for at, more := a.next(); more; at, more = a.next() {
		if at < last || at >= wholeDay {
			t.Fatalf("arrival at %s after one at %s", at, last)
		}
		last = at
		byHour[at/time.Hour]++
		total++
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 5*math.Sqrt(want) { // five standard deviations of a Poisson number
			t.Errorf("%s: %.0f arrivals, want about %.0f", what, got, want)
		}
	}
	near("day", total, sessions)
	rate, sum := hourly(), 0.0
	for _, r := range rate {
		sum += r
	}
	for h, r := range rate {
		near((time.Duration(h) * time.Hour).String(), byHour[h], sessions*r/sum)
	}
	if _, more := a.next(); more {
		t.Error("an arrival after the last one")
	}
}

func TestSessionsAreTensOfSeconds(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var lengths []float64
	mean := 0.0
	for range 20000 {
		s := sessionLength(rng).Seconds()
		lengths = append(lengths, s)
		mean += s / 20000
	}
	// 10.5 messages of exp(sigma^2/2) medians.
	if want := 10.5 * messageMedian * math.Exp(messageSigma*messageSigma/2); mean < 0.95*want || mean > 1.05*want {
		t.Errorf("mean %.2f s, want about %.2f s", mean, want)
	}
	if slices.Min(lengths) <= 0 || slices.Max(lengths) > 600 {
		t.Errorf("%.3f to %.0f s", slices.Min(lengths), slices.Max(lengths))
	}
}

func TestServerRunsTwentyAndObeysItsRetry(t *testing.T) {
	tests := []struct {
		name string
		s    server
		want bool
	}{
		{"idle", server{}, true},
		{"nearly full", server{running: 19}, true},
		{"full", server{running: 20}, false},
		{"parked", server{parked: 100}, false},
		{"no longer parked", server{parked: 99}, true},
	}
	for _, test := range tests {
		if got := test.s.ready(99); got != test.want {
			t.Errorf("%s: ready %v, want %v", test.name, got, test.want)
		}
	}
}

func TestQueueGivesEventsInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var want []event // sorted, the earlier pushed first among those of a time
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				at := time.Duration(rapid.IntRange(0, 5).Draw(t, "at"))
				q.push(at, probeDue, len(want))
				place := slices.IndexFunc(want, func(e event) bool { return e.at > at })
				if place < 0 {
					place = len(want)
				}
				want = slices.Insert(want, place, event{at, q.seq, probeDue, int32(len(want))})
			},
			"pop": func(t *rapid.T) {
				if len(want) == 0 {
					t.Skip("empty")
				}
				if got := q.pop(); got != want[0] {
					t.Fatalf("got %+v, want %+v", got, want[0])
				}
				want = want[1:]
			},
			"": func(t *rapid.T) {
				at, more := q.next()
				if more != (len(want) > 0) || more && at != want[0].at {
					t.Fatalf("next: %v %v, %d are left", at, more, len(want))
				}
			},
		})
	})
}
