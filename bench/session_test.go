package bench

import (
	"fmt"
	"testing"
)

const smallMessage = 4 << 10

// BenchmarkSession is whole sessions with messages of 4 KB: 20 clients are what
// Exchange opens, one client shows what the path adds to a session's time.
func BenchmarkSession(b *testing.B) {
	for _, messages := range []int{1, 20} {
		for _, clients := range []int{1, 20} {
			for _, p := range paths() {
				b.Run(fmt.Sprintf("messages=%d/clients=%d/path=%s", messages, clients, p.name), func(b *testing.B) {
					benchmarkSessions(b, p, order{messages: messages, size: smallMessage, clients: clients})
				})
			}
		}
	}
}

func benchmarkSessions(b *testing.B, p path, o order) {
	elsewhere := startPeer(b)
	o.to = p.open(b, elsewhere.relay)
	o.sessions = o.clients
	elsewhere.run(b, o) // whatever happens once

	o.sessions = b.N
	b.ReportAllocs()
	b.ResetTimer()
	before := processCPU(b)
	elsewhere.run(b, o)
	b.StopTimer()
	used := processCPU(b) - before
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sessions/s")
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/session")
}
