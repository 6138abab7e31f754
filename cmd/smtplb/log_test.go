package main

import (
	"io"
	"net/netip"
	"testing"
	"time"

	"smtplb/internal/config"
	"smtplb/proxy"
)

// BenchmarkSessionLine is what the log line adds to the cost of a session.
func BenchmarkSessionLine(b *testing.B) {
	log, _, flush := newLogger(config.Log{Level: config.LogInfo, Format: config.LogJSON}, io.Discard)
	defer flush()
	r := &proxy.Record{
		ID: "187f2c4d5e6f7081", Listener: "smarthost", Client: netip.MustParseAddrPort("10.10.0.17:50123"),
		Pool: "outbound", Backend: "relay-a", Site: "hq",
		Attempts:     []proxy.Attempt{{Backend: "relay-a", Took: 1234567}},
		GreetingCode: 220, Greeting: 1100 * time.Microsecond, Setup: 1300 * time.Microsecond, Duration: 87654 * time.Microsecond,
		BytesUp: 4321, BytesDown: 210, End: proxy.ClientClosed,
	}
	b.ReportAllocs()
	for b.Loop() {
		logSession(log, r)
	}
}

// A list may have thousands of networks, and a line of the log is for people.
func TestFewNetworks(t *testing.T) {
	var all []netip.Prefix
	for i := range 40 {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32))
	}
	if got := fewNetworks(all[:32]); len(got) != 32 || got[31] != "10.0.0.31/32" {
		t.Errorf("%q, want all 32", got)
	}
	if got := fewNetworks(all); len(got) != 33 || got[32] != "and 8 more" {
		t.Errorf("%q, want 32 and how many more", got)
	}
}
