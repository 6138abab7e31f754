package balancer

import (
	"fmt"
	"testing"
	"time"
)

func benchmarkPool(b *testing.B, size int) *Pool {
	b.Helper()
	backends := make([]BackendConfig, size)
	for i := range backends {
		backends[i] = BackendConfig{Name: fmt.Sprintf("relay-%d", i), Weight: 1 + i*7%10}
	}
	p, err := New(Config{Name: "outbound", Backends: backends})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// BenchmarkPick is one session's whole cost: a slot taken and another given back, with four sessions a backend running.
func BenchmarkPick(b *testing.B) {
	for _, size := range []int{2, 3, 10, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("backends=%d", size), func(b *testing.B) {
			p := benchmarkPool(b, size)
			now := time.Unix(0, 0)
			running := make([]Lease, 4*size)
			for i := range running {
				running[i], _ = p.Acquire(now, nil)
			}
			b.ReportAllocs()
			oldest := 0
			for b.Loop() {
				running[oldest].Release(now)
				running[oldest], _ = p.Acquire(now, nil)
				if oldest++; oldest == len(running) {
					oldest = 0
				}
			}
		})
	}
}

// BenchmarkPickRetry is a session that was turned away by two relays before.
func BenchmarkPickRetry(b *testing.B) {
	for _, size := range []int{3, 10, 10000} {
		b.Run(fmt.Sprintf("backends=%d", size), func(b *testing.B) {
			p := benchmarkPool(b, size)
			now := time.Unix(0, 0)
			tried := []int{0, size - 1}
			b.ReportAllocs()
			for b.Loop() {
				lease, _ := p.Acquire(now, tried)
				lease.Release(now)
			}
		})
	}
}

// BenchmarkPickParallel has every CPU's loop pick from one pool.
func BenchmarkPickParallel(b *testing.B) {
	for _, size := range []int{2, 10, 10000} {
		b.Run(fmt.Sprintf("backends=%d", size), func(b *testing.B) {
			p := benchmarkPool(b, size)
			now := time.Unix(0, 0)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					lease, _ := p.Acquire(now, nil)
					lease.Release(now)
				}
			})
		})
	}
}
