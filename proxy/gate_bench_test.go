package proxy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// networks are n different ones, a quarter of them IPv6.
func networks(n int) []netip.Prefix {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same ones each time
	seen := map[netip.Prefix]bool{}
	all := make([]netip.Prefix, 0, n)
	for len(all) < n {
		b := [16]byte{0x20, 0x01}
		for i := 2; i < 8; i++ {
			b[i] = byte(random.Uint32())
		}
		p := netip.PrefixFrom(netip.AddrFrom16(b), 32+random.IntN(33)).Masked()
		if len(all)%4 != 0 {
			p = netip.PrefixFrom(netip.AddrFrom4([4]byte{1 + b[2]%220, b[3], b[4], b[5]}), 16+random.IntN(17)).Masked()
		}
		if !seen[p] {
			seen[p] = true
			all = append(all, p)
		}
	}
	return all
}

// BenchmarkGate is what a session pays to be let in: allow with deny, accept_proxy
// and the route, with lists of so many networks. Half of the clients are strangers.
func BenchmarkGate(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		all := networks(n)
		l := &Listener{Allow: all, AcceptProxy: all, Routes: []Route{{From: all[:(n+1)/2]}, {From: all}}}
		for i := 4; i < n; i += 8 {
			l.Deny = append(l.Deny, netip.PrefixFrom(all[i].Addr(), all[i].Addr().BitLen()))
		}
		clients := make([]netip.Addr, 4096)
		others := networks(20_000)[10_000:]
		for i := range clients {
			if clients[i] = all[i%n].Addr(); i%2 == 1 {
				clients[i] = others[i].Addr()
			}
		}
		g := newGate(l)
		for _, question := range []struct {
			name string
			ask  func(netip.Addr) bool
		}{{"allow", g.allows}, {"accept_proxy", g.expectsHeader}, {"route", func(a netip.Addr) bool { return g.route(a) >= 0 }}} {
			b.Run(fmt.Sprintf("%s/networks=%d", question.name, n), func(b *testing.B) {
				b.ReportAllocs()
				i, yes := 0, 0
				for b.Loop() {
					if question.ask(clients[i%len(clients)]) {
						yes++
					}
					i++
				}
				if yes == 0 {
					b.Error("nobody is held")
				}
			})
		}
		b.Run(fmt.Sprintf("build/networks=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				newGate(l)
			}
		})
	}
}

// A session is let in without a single allocation, however long the lists are.
func TestGateAllocatesNothing(t *testing.T) {
	all := networks(10_000)
	g := newGate(&Listener{Allow: all, Deny: all[:100], AcceptProxy: all, Routes: []Route{{From: all}}})
	rates := newRates()
	client := all[500].Addr()
	if n := testing.AllocsPerRun(1000, func() {
		g.allows(client)
		g.expectsHeader(client)
		g.route(client)
		rates.take(client, Rate{PerMinute: 60}, 1)
	}); n != 0 {
		t.Errorf("%v allocations for each session", n)
	}
}
