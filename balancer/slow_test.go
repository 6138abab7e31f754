package balancer

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestSlowRelayGetsAsFewAsLeastConnectionsGives(t *testing.T) {
	tests := []struct {
		weights []int
		slow    int // index of the relay whose sessions last ten times as long
	}{
		{[]int{1, 1}, 1},
		{[]int{3, 1}, 0},
		{[]int{3, 1}, 1},
		{[]int{1, 1, 1}, 2},
	}
	for _, tt := range tests {
		for _, concurrent := range []int{20, 200} {
			length := func(backend int) float64 {
				if backend == tt.slow {
					return 10
				}
				return 1
			}
			ours := simulate(t, tt.weights, length)
			ours.closed(concurrent, 20000)
			theirs := newSimulation(newLeastConnections(tt.weights), len(tt.weights), length)
			theirs.closed(concurrent, 20000)

			share, want := slowShare(ours, tt.slow), slowShare(theirs, tt.slow)
			if math.Abs(share-want) > 0.01 {
				t.Errorf("weights %v, relay %d slow, %d sessions: it gets %.4f, least connections gives it %.4f",
					tt.weights, tt.slow, concurrent, share, want)
			}
			if fair := float64(tt.weights[tt.slow]) / float64(sum(tt.weights)); share > fair/1.5 {
				t.Errorf("weights %v, relay %d slow, %d sessions: it gets %.4f, hardly less than its weight's %.4f",
					tt.weights, tt.slow, concurrent, share, fair)
			}
		}
	}
}

func slowShare(s *simulation, slow int) float64 {
	return float64(s.counts[slow]) / float64(s.started)
}

func TestHangingRelayHoldsNoMoreThanItsPart(t *testing.T) {
	for _, weights := range [][]int{{1, 1}, {3, 1}, {1, 3}, {1, 2, 3}, {1, 19}} {
		for _, concurrent := range []int{2, 5, 20, 200} {
			const hangs = 0
			s := simulate(t, weights, func(backend int) float64 {
				if backend == hangs {
					return math.Inf(1)
				}
				return 1
			})
			most := (weights[hangs]*concurrent + sum(weights) - 1) / sum(weights)
			for sessions := concurrent; sessions <= 20*concurrent && s.held[hangs] < concurrent; sessions++ {
				s.closed(concurrent, sessions)
				if s.held[hangs] > most {
					t.Fatalf("weights %v, %d sessions: the relay that hangs holds %d, its part is %d",
						weights, concurrent, s.held[hangs], most)
				}
			}
			if rest := concurrent - s.held[hangs]; rest < concurrent-most {
				t.Errorf("weights %v, %d sessions: only %d left to the others", weights, concurrent, rest)
			}
		}
	}
}

// oneAtATime returns the indexes of the next picks, each session over before the next begins.
func oneAtATime(t *testing.T, p *Pool, sessions int) []int {
	t.Helper()
	picks := make([]int, sessions)
	for i := range picks {
		index, end := poolPolicy{t, p}.pick()
		picks[i] = index
		end()
	}
	return picks
}

func TestFullRelayIsNotPaidBackWithABurst(t *testing.T) {
	p := mustNew(t, Config{Name: "outbound", Backends: []BackendConfig{
		{Name: "small", Weight: 1, MaxSessions: 1}, {Name: "large", Weight: 1},
	}})
	full, err := p.Acquire(time.Time{}, []int{1})
	if err != nil {
		t.Fatal(err)
	}
	if away := sum(oneAtATime(t, p, 1000)); away != 1000 {
		t.Fatalf("%d of 1000 sessions went to the relay with room", away)
	}
	full.Release(time.Time{})
	burst := slices.Index(oneAtATime(t, p, 100), 1)
	if burst != 18 { // the 16 that it is owed, its turn beside the other's last, and the next, being the first by index
		t.Errorf("a relay that was full for 1000 sessions gets the next %d, want 18", burst)
	}
	if after := sum(oneAtATime(t, p, 100)); after < 49 || after > 51 {
		t.Errorf("then the other gets %d of 100, want half", after)
	}
}

func TestRelayThatComesBackIsOwedNothing(t *testing.T) {
	p := poolOf(t, 1, 1)
	for range 3 {
		p.Probe(time.Time{}, 0, VerdictFailed, "refused")
	}
	if other := sum(oneAtATime(t, p, 1000)); other != 1000 {
		t.Fatalf("%d of 1000 sessions went to the relay that is up", other)
	}
	for range 2 {
		p.Probe(time.Time{}, 0, VerdictGood, "")
	}
	if other := sum(oneAtATime(t, p, 10)); other < 4 || other > 6 {
		t.Errorf("after the return the other relay gets %d of 10, want half", other)
	}
}

func TestRelayThatGoesDownAndUpLosesNoChargeEither(t *testing.T) {
	p := mustNew(t, Config{Name: "outbound", Rise: 1, Fall: 1, Backends: []BackendConfig{
		{Name: "flapping", Weight: 1}, {Name: "steady", Weight: 1},
	}})
	steady := 0
	for range 1000 {
		steady += sum(oneAtATime(t, p, 1))
		p.Probe(time.Time{}, 0, VerdictFailed, "refused")
		p.Probe(time.Time{}, 0, VerdictGood, "")
	}
	if steady < 499 || steady > 501 {
		t.Errorf("the steady relay gets %d of 1000, want half: flapping must be no way to more sessions", steady)
	}
}
