package bench

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"smtplb/balancer"
)

// backendCounts are an office's, a provider's, and those that show the growth.
func backendCounts() []int { return []int{2, 5, 10, 20, 100, 1000, 10000} }

// loopCounts are 1, 2, 4 and so on up to as many event loops as this machine
// would run: one for each CPU that Go may use, so that -cpu says how many.
func loopCounts() []int {
	all := runtime.GOMAXPROCS(0)
	var counts []int
	for n := 1; n < all; n *= 2 {
		counts = append(counts, n)
	}
	return append(counts, all)
}

// newBalancer makes a pool of one tier, with weights that differ.
func newBalancer(tb testing.TB, backends int) *balancer.Pool {
	tb.Helper()
	cfg := balancer.Config{Name: "outbound", Backends: make([]balancer.BackendConfig, backends)}
	for i := range cfg.Backends {
		cfg.Backends[i] = balancer.BackendConfig{Name: fmt.Sprintf("relay-%d", i), Weight: 1 + i%5}
	}
	pool, err := balancer.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return pool
}

// mailServer is about as many sessions as one server runs at a time. A slot is
// given back when as many others were taken after it.
type mailServer struct {
	running [20]balancer.Lease
	oldest  int
}

// session is all that one session without faults asks of the balancer: the slot
// taken, the good greeting counted, and the slot given back that was taken 20
// sessions ago.
func (m *mailServer) session(tb testing.TB, pool *balancer.Pool, now time.Time) {
	m.running[m.oldest].Release(now)
	lease, err := pool.Acquire(now, nil)
	if err != nil {
		tb.Error(err)
	}
	lease.Established(now, 0)
	m.running[m.oldest] = lease
	m.oldest = (m.oldest + 1) % len(m.running)
}

// BenchmarkPick is a session's whole account with the balancer.
func BenchmarkPick(b *testing.B) {
	for _, backends := range backendCounts() {
		b.Run(fmt.Sprintf("backends=%d", backends), func(b *testing.B) {
			pool := newBalancer(b, backends)
			now := time.Unix(0, 0)
			var server mailServer
			b.ReportAllocs()
			for b.Loop() {
				server.session(b, pool, now)
			}
		})
	}
}

// BenchmarkPickAcquire is the choice alone: nothing ends, so that after a while
// every backend has its part of very many sessions.
func BenchmarkPickAcquire(b *testing.B) {
	for _, backends := range backendCounts() {
		b.Run(fmt.Sprintf("backends=%d", backends), func(b *testing.B) {
			pool := newBalancer(b, backends)
			now := time.Unix(0, 0)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := pool.Acquire(now, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPickBusy is BenchmarkPick in a pool where every backend holds its
// fair part already, so that the quota decides as often as the tags do.
func BenchmarkPickBusy(b *testing.B) {
	for _, backends := range backendCounts() {
		b.Run(fmt.Sprintf("backends=%d", backends), func(b *testing.B) {
			pool := newBalancer(b, backends)
			now := time.Unix(0, 0)
			for range 3 * backends {
				if _, err := pool.Acquire(now, nil); err != nil {
					b.Fatal(err)
				}
			}
			var server mailServer
			b.ReportAllocs()
			for b.Loop() {
				server.session(b, pool, now)
			}
		})
	}
}

// BenchmarkPickRetry is a session that was turned away by two relays before.
func BenchmarkPickRetry(b *testing.B) {
	for _, backends := range backendCounts()[1:] {
		b.Run(fmt.Sprintf("backends=%d", backends), func(b *testing.B) {
			pool := newBalancer(b, backends)
			now := time.Unix(0, 0)
			tried := []int{0, backends - 1}
			b.ReportAllocs()
			for b.Loop() {
				lease, err := pool.Acquire(now, tried)
				if err != nil {
					b.Fatal(err)
				}
				lease.Release(now)
			}
		})
	}
}

// BenchmarkPickParallel has event loops that do nothing but pick, all from one
// pool. ns/op is the wall time by the sessions of all of them: where more loops
// cost no time, it is that of goroutines=1.
func BenchmarkPickParallel(b *testing.B) {
	for _, backends := range backendCounts() {
		for _, loops := range loopCounts() {
			b.Run(fmt.Sprintf("backends=%d/goroutines=%d", backends, loops), func(b *testing.B) {
				pool := newBalancer(b, backends)
				now := time.Unix(0, 0)
				b.ReportAllocs()
				b.ResetTimer()
				inLoops(loops, func(loop int) {
					var server mailServer
					for range (b.N + loop) / loops {
						server.session(b, pool, now)
					}
				})
			})
		}
	}
}

// inLoops runs f as the event loops of a proxy run: each in a goroutine that is
// locked to a thread, and all at the same time.
func inLoops(loops int, f func(loop int)) {
	var wg sync.WaitGroup
	for loop := range loops {
		wg.Go(func() {
			runtime.LockOSThread()
			f(loop)
		})
	}
	wg.Wait()
}
