package bench

import (
	"fmt"
	"testing"
)

const megabyte = 1 << 20

// BenchmarkTransfer is large messages, one after another on one session.
func BenchmarkTransfer(b *testing.B) {
	for _, size := range []int{1, 20} {
		for _, p := range paths() {
			b.Run(fmt.Sprintf("size=%dMB/path=%s", size, p.name), func(b *testing.B) {
				benchmarkTransfer(b, p, size*megabyte)
			})
		}
	}
}

func benchmarkTransfer(b *testing.B, p path, size int) {
	elsewhere := startPeer(b)
	o := order{to: p.open(b, elsewhere.relay), sessions: 1, messages: 1, size: size, clients: 1}
	elsewhere.run(b, o)

	o.messages = b.N
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	before := processCPU(b)
	elsewhere.run(b, o)
	b.StopTimer()
	used := processCPU(b) - before
	b.ReportMetric(used.Seconds()/(float64(size)*float64(b.N)/1e9), "cpu-s/GB")
}

// TestMessagesAllocateNothing is about mail rather than streams: lock-step, and
// to and fro between copy and splice. The client and the relay being outside,
// every object counted is the proxy's or the test's own; one for every turn of
// the loop would be thousands.
func TestMessagesAllocateNothing(t *testing.T) {
	tests := []struct {
		name           string
		messages, size int
	}{
		{"1,000 small ones, copied", 1000, 100},
		{"128 of half a megabyte, copied and spliced", 128, megabyte / 2},
	}
	const few = 200 // for the session itself and for talking to the other process
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			elsewhere := startPeer(t)
			o := order{to: openServer(t, elsewhere.relay), sessions: 1, messages: test.messages, size: test.size, clients: 1}
			elsewhere.run(t, o)
			before := mallocs()
			elsewhere.run(t, o)
			if n := mallocs() - before; n > few {
				t.Errorf("%d objects allocated, want at most %d", n, few)
			}
		})
	}
}
