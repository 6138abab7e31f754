package sim

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A pool has relays of its balancer's site, then of the next one, each once, however odd the fleet.
func TestPoolsHoldOwnRelaysThenStandbys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Default()
		c.Sites = rapid.IntRange(2, 4).Draw(t, "sites")
		c.Balancers = rapid.IntRange(c.Sites, 40).Draw(t, "balancers")
		c.Relays = rapid.IntRange(c.Sites, 200).Draw(t, "relays")
		c.Sharing = rapid.IntRange(1, 6).Draw(t, "sharing")
		c.Seed = rapid.Uint64().Draw(t, "seed")
		f := newFleet(&c)
		sessions := 0.0
		for i := range f.plans {
			p := &f.plans[i]
			sessions += p.sessions
			if p.local == 0 || p.local == len(p.pool) || p.servers < 1 || p.servers > maxServers {
				t.Fatalf("balancer %d: %d own relays of %d, %d servers", i, p.local, len(p.pool), p.servers)
			}
			if sorted := slices.Sorted(slices.Values(p.pool)); len(slices.Compact(sorted)) != len(p.pool) {
				t.Fatalf("balancer %d has a relay twice: %v", i, p.pool)
			}
			for j, number := range p.pool {
				site := p.site
				if j >= p.local {
					site = (p.site + 1) % c.Sites
				}
				if f.relays[number].site != site {
					t.Fatalf("balancer %d of site %d: relay %d of its pool is of site %d, want %d", i, p.site, j, f.relays[number].site, site)
				}
			}
		}
		if want := float64(c.Sessions * c.Balancers); sessions < want*0.999 || sessions > want*1.001 {
			t.Fatalf("the balancers plan %.1f sessions, want %.0f", sessions, want)
		}
		if again := newFleet(&c); !reflect.DeepEqual(again, f) {
			t.Fatal("the same Config makes another fleet")
		}
	})
}

func TestEveryRelayIsInAsManyPools(t *testing.T) {
	for _, sharing := range []int{1, 2, 3, 7} {
		c := Default()
		c.Balancers, c.Relays, c.Sharing = 100, 1000, sharing
		f := newFleet(&c)
		own, standby := make([]int, c.Relays), make([]int, c.Relays)
		for i := range f.plans {
			p := &f.plans[i]
			for _, number := range p.pool[:p.local] {
				own[number]++
			}
			for _, number := range p.pool[p.local:] {
				standby[number]++
			}
		}
		evenly(t, "own", own, sharing)
		evenly(t, "standby", standby, max(1, sharing/standbySharing))
	}
}

func evenly(t *testing.T, what string, pools []int, want int) {
	t.Helper()
	total := 0
	for _, n := range pools {
		total += n
	}
	if least, most := slices.Min(pools), slices.Max(pools); total != want*len(pools) || least < want-1 || most > want+1 {
		t.Errorf("relays are in %d to %d pools as %s, %d in all; want %d give or take one, %d in all",
			least, most, what, total, want, want*len(pools))
	}
}

func TestDeckDealsEveryCardBeforeAnyAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 20).Draw(t, "size")
		d := newDeck(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), make([]relay, size), 0)
		dealt := make([]int, size)
		for _, n := range rapid.SliceOfN(rapid.IntRange(0, size), 1, 20).Draw(t, "hands") {
			hand := d.deal(n)
			for _, card := range hand {
				dealt[card]++
			}
			slices.Sort(hand)
			if len(slices.Compact(hand)) != n {
				t.Fatalf("a hand of %d has a card twice: %v", n, hand)
			}
			if slices.Max(dealt)-slices.Min(dealt) > 2 {
				t.Fatalf("cards were dealt unevenly: %v", dealt)
			}
		}
	})
}

func TestFaultsOfARelayStayApart(t *testing.T) {
	c := Default()
	c.RelayFaults = 1
	f := newFleet(&c)
	own := 0
	for i := range f.relays {
		r := &f.relays[i]
		for _, x := range r.faults {
			if x.to <= x.from || x.from < 0 || x.from >= wholeDay {
				t.Fatalf("relay %d: fault %+v", i, x)
			}
			if x.from == c.FailAt {
				continue
			}
			own++
			if x.from < c.FailAt+c.FailFor+settling && x.to > c.FailAt || x.to-x.from > 30*time.Minute || x.to-x.from < 30*time.Second {
				t.Fatalf("relay %d: fault %+v: want half a minute to half an hour, not around the site's", i, x)
			}
		}
		if with := faultAt(r.faults, c.FailAt) != nil; with != (r.site == failedSite) {
			t.Fatalf("relay %d of site %d fails at %s: %v", i, r.site, c.FailAt, with)
		}
	}
	if own < c.Relays*8/10 {
		t.Errorf("%d of %d relays have a failure of their own, want most", own, c.Relays)
	}
}

func TestFaultHoldsFromItsStartUntilItsEnd(t *testing.T) {
	faults := []fault{{from: 10, to: 20}, {from: 30, to: 31}}
	for at, want := range map[time.Duration]*fault{9: nil, 10: &faults[0], 19: &faults[0], 20: nil, 29: nil, 30: &faults[1], 31: nil} {
		if got := faultAt(faults, at); got != want {
			t.Errorf("at %d: %v, want %v", at, got, want)
		}
	}
	for _, test := range []struct {
		from, to time.Duration
		want     bool
	}{{0, 10, false}, {0, 11, true}, {12, 13, true}, {19, 25, true}, {20, 30, false}, {5, 40, true}} {
		if got := failsWithin(faults, test.from, test.to); got != test.want {
			t.Errorf("between %d and %d: %v, want %v", test.from, test.to, got, test.want)
		}
	}
}
