package balancer

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// A simulation runs sessions against a policy in simulated time, and counts how many each backend is given.
type simulation struct {
	policy policy
	length func(backend int) float64 // of a session, in seconds
	counts []int                     // sessions started, by backend
	held   []int                     // sessions running, by backend

	now     float64
	started int
	ends    endings
}

// policy is what is simulated: a Pool, or a reference to compare it with.
type policy interface {
	pick() (backend int, end func())
}

type ending struct {
	at      float64
	started int // breaks ties: the older one ends first
	backend int
	end     func()
}

type endings []ending

func (e endings) Len() int { return len(e) }
func (e endings) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].started < e[j].started
}
func (e endings) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *endings) Push(x any)   { *e = append(*e, x.(ending)) }
func (e *endings) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

func newSimulation(p policy, backends int, length func(backend int) float64) *simulation {
	return &simulation{policy: p, length: length, counts: make([]int, backends), held: make([]int, backends)}
}

func (s *simulation) start() {
	backend, end := s.policy.pick()
	s.counts[backend]++
	s.held[backend]++
	heap.Push(&s.ends, ending{s.now + s.length(backend), s.started, backend, end})
	s.started++
}

func (s *simulation) finish() {
	e := heap.Pop(&s.ends).(ending)
	s.now = e.at
	s.held[e.backend]--
	e.end()
}

// closed keeps the same number of sessions running: each that ends is replaced at once. This is Exchange.
func (s *simulation) closed(concurrent, sessions int) {
	for s.started < sessions {
		if len(s.ends) == concurrent {
			s.finish()
		}
		s.start()
	}
}

// batches ends all sessions together, then starts as many again.
func (s *simulation) batches(concurrent, sessions int) {
	for s.started < sessions {
		for len(s.ends) > 0 {
			s.finish()
		}
		for range concurrent {
			s.start()
		}
	}
}

// open starts sessions as a Poisson process, so many a second, whatever runs.
func (s *simulation) open(rng *rand.Rand, rate float64, sessions int) {
	for s.started < sessions {
		next := s.now + rng.ExpFloat64()/rate
		for len(s.ends) > 0 && s.ends[0].at <= next {
			s.finish()
		}
		s.now = next
		s.start()
	}
}

// poolPolicy simulates a Pool.
type poolPolicy struct {
	tb   testing.TB
	pool *Pool
}

func (p poolPolicy) pick() (int, func()) {
	lease, err := p.pool.Acquire(time.Time{}, nil)
	if err != nil {
		p.tb.Fatal(err)
	}
	return lease.Backend().ID(), func() { lease.Release(time.Time{}) }
}

// leastConnections is the textbook's: the lowest (active+1)/weight, and where those are equal the one that was longest not
// chosen.
type leastConnections struct {
	weights []int
	active  []int
	chosen  []int
	clock   int
}

func (l *leastConnections) pick() (int, func()) {
	best := 0
	for i := range l.weights {
		a, b := (l.active[i]+1)*l.weights[best], (l.active[best]+1)*l.weights[i]
		if a < b || a == b && l.chosen[i] < l.chosen[best] {
			best = i
		}
	}
	l.clock++
	l.chosen[best] = l.clock
	l.active[best]++
	return best, func() { l.active[best]-- }
}

func newLeastConnections(weights []int) *leastConnections {
	return &leastConnections{weights: weights, active: make([]int, len(weights)), chosen: make([]int, len(weights))}
}

// poolOf makes a pool of one tier with these weights.
func poolOf(tb testing.TB, weights ...int) *Pool {
	tb.Helper()
	cfg := Config{Name: "outbound"}
	for i, w := range weights {
		cfg.Backends = append(cfg.Backends, BackendConfig{Name: fmt.Sprintf("relay-%d", i), Weight: w})
	}
	return mustNew(tb, cfg)
}

func mustNew(tb testing.TB, cfg Config) *Pool {
	tb.Helper()
	p, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func simulate(tb testing.TB, weights []int, length func(backend int) float64) *simulation {
	tb.Helper()
	return newSimulation(poolPolicy{tb, poolOf(tb, weights...)}, len(weights), length)
}

func sum(numbers []int) (total int) {
	for _, n := range numbers {
		total += n
	}
	return total
}
