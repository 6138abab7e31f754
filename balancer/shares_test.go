package balancer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	shareWeights     = [][]int{{3, 1}, {1, 1}, {1, 2, 3}, {5, 1}, {19, 1}, {2, 1, 1}, {20, 10, 7, 5, 1}, {1, 1, 1, 1, 1, 1, 1}}
	shareConcurrency = []int{1, 2, 5, 20, 200}
)

// traffic is one way that sessions may come and go.
type traffic struct {
	name     string
	sessions int
	off      float64 // sessions that a backend may be off its share
	run      func(s *simulation, rng *rand.Rand, concurrent, sessions int)
	length   func(rng *rand.Rand) float64
}

func always(*rand.Rand) float64          { return 1 }
func jittered(rng *rand.Rand) float64    { return 0.7 + 0.6*rng.Float64() }
func exponential(rng *rand.Rand) float64 { return rng.ExpFloat64() }

func closedTraffic(s *simulation, _ *rand.Rand, concurrent, sessions int) {
	s.closed(concurrent, sessions)
}
func batchTraffic(s *simulation, _ *rand.Rand, concurrent, sessions int) {
	s.batches(concurrent, sessions)
}
func openTraffic(s *simulation, rng *rand.Rand, concurrent, sessions int) {
	s.open(rng, float64(concurrent), sessions)
}

// What is promised is 2 %. With sessions of equal length it is one session; what is more than that under the others is
// mostly the chance in the lengths themselves.
var shareTraffic = []traffic{
	{"equal lengths, each replaced as it ends", 4000, 1, closedTraffic, always},
	{"equal lengths, all end together", 4000, 1, batchTraffic, always},
	{"equal lengths, Poisson arrivals", 4000, 1, openTraffic, always},
	{"lengths within 30 %, each replaced as it ends", 4000, 0.005 * 4000, closedTraffic, jittered},
	{"lengths within 30 %, Poisson arrivals", 4000, 0.01 * 4000, openTraffic, jittered},
	{"exponential lengths, each replaced as it ends", 8000, 0.02 * 8000, closedTraffic, exponential},
	{"exponential lengths, Poisson arrivals", 8000, 0.02 * 8000, openTraffic, exponential},
}

func TestSharesFollowWeightsAtEveryConcurrency(t *testing.T) {
	for _, tr := range shareTraffic {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			for _, weights := range shareWeights {
				for _, concurrent := range shareConcurrency {
					rng := rand.New(rand.NewPCG(uint64(concurrent), 25))
					s := simulate(t, weights, func(int) float64 { return tr.length(rng) })
					tr.run(s, rng, concurrent, tr.sessions)
					if off := furthestOff(s, weights); off > tr.off {
						t.Errorf("weights %v at %d sessions: given %v, off by %.1f of %d, want at most %.1f",
							weights, concurrent, s.counts, off, s.started, tr.off)
					}
				}
			}
		})
	}
}

// furthestOff returns how many sessions the worst served backend is above or below its share.
func furthestOff(s *simulation, weights []int) (off float64) {
	for i, w := range weights {
		fair := float64(s.started) * float64(w) / float64(sum(weights))
		off = max(off, math.Abs(float64(s.counts[i])-fair))
	}
	return off
}

// The error must not grow with the time either, or a day's shares would drift.
func TestShareErrorDoesNotGrow(t *testing.T) {
	weights := []int{19, 1}
	s := simulate(t, weights, func(int) float64 { return 1 })
	for sessions := 1000; sessions <= 100000; sessions += 1000 {
		s.closed(5, sessions)
		if off := furthestOff(s, weights); off > 1 {
			t.Fatalf("off by %.1f sessions after %d", off, s.started)
		}
	}
}

func TestSharesAreSmoothNotInRuns(t *testing.T) {
	p := poolOf(t, 3, 1)
	var got []int
	for range 8 {
		index, end := poolPolicy{t, p}.pick()
		got = append(got, index)
		end()
	}
	if want := "[0 0 1 0 0 0 1 0]"; fmt.Sprint(got) != want {
		t.Errorf("one session at a time, 3:1: got %v, want %v", got, want)
	}
}

// A relay that fails is charged for the attempt: what it would not take, the others get, and it is not asked again before
// its next turn.
func TestFailingRelayIsAskedOnlyInItsTurn(t *testing.T) {
	p := mustNew(t, Config{Name: "outbound", Fall: 1 << 30, Backends: []BackendConfig{
		{Name: "bad", Weight: 1}, {Name: "good", Weight: 3},
	}})
	asked := 0
	for range 400 {
		lease, err := p.Acquire(time.Time{}, nil)
		if err == nil && lease.Backend().Name() == "bad" {
			asked++
			lease.Fail(time.Time{}, Greeting4xx)
			lease, err = p.Acquire(time.Time{}, []int{0})
		}
		if err != nil || lease.Backend().Name() != "good" {
			t.Fatalf("session without the good relay: %v, %v", lease.Backend(), err)
		}
		lease.Established(time.Time{}, 0)
		lease.Release(time.Time{})
	}
	// 400 attempts at the good one, so by the weights 133 at the bad one.
	if asked > 134 {
		t.Errorf("the failing relay was asked by %d of 400 sessions, want a third of them", asked)
	}
}
