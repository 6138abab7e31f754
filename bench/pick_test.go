package bench

import (
	"fmt"
	"testing"
	"time"

	"smtplb/balancer"
)

// backendCounts are an office's, a provider's, and those that show the growth.
func backendCounts() []int { return []int{2, 5, 20, 100, 1000, 10000} }

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

// pickFor is all that a session without faults asks of the balancer.
func pickFor(tb testing.TB, pool *balancer.Pool, now time.Time) balancer.Lease {
	lease, err := pool.Acquire(now, nil)
	if err != nil {
		tb.Error(err)
	}
	lease.Established(now)
	return lease
}

// BenchmarkPick is a session's beginning and the end of the one that began 20
// sessions ago: about as many run on a mail server.
func BenchmarkPick(b *testing.B) {
	for _, backends := range backendCounts() {
		b.Run(fmt.Sprintf("backends=%d", backends), func(b *testing.B) {
			pool := newBalancer(b, backends)
			now := time.Unix(0, 0)
			var running [20]balancer.Lease
			oldest := 0
			b.ReportAllocs()
			for b.Loop() {
				running[oldest].Release(now)
				running[oldest] = pickFor(b, pool, now)
				oldest = (oldest + 1) % len(running)
			}
		})
	}
}

// BenchmarkPickParallel has as many loops as there are CPUs at one pool's lock.
func BenchmarkPickParallel(b *testing.B) {
	for _, backends := range backendCounts() {
		b.Run(fmt.Sprintf("backends=%d", backends), func(b *testing.B) {
			pool := newBalancer(b, backends)
			now := time.Unix(0, 0)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					lease := pickFor(b, pool, now)
					lease.Release(now)
				}
			})
		})
	}
}

// BenchmarkPickRetry is a session that was turned away by two relays before.
func BenchmarkPickRetry(b *testing.B) {
	for _, backends := range []int{5, 20, 10000} {
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
