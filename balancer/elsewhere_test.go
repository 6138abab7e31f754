package balancer

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Balancers that hear of each other late keep the floor together: not much more, and not less, however the sessions fall on them, and
// when one of them hears nothing any more it keeps the floor by itself.
func TestTheFloorIsKeptTogether(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 4).Draw(rt, "balancers")
		perHour := rapid.SampledFrom([]int{1, 6, 60, 600}).Draw(rt, "per hour")
		parts := rapid.SliceOfN(rapid.IntRange(0, 3), n, n).Draw(rt, "parts")
		deaf := rapid.Bool().Draw(rt, "deaf")
		var sites []*site
		for i := range n {
			sites = append(sites, newSite(t, Config{Backends: twoSites(1), Warm: Warm{MinPerHour: perHour}, Together: Together{n, i}}))
		}
		told := make([]uint64, n)
		warm, active, sessions := 0, 0, 0
		for _, p := range parts {
			if p > 0 {
				active++
			}
		}
		const hours, step = 1, 3 * time.Second
		for at := time.Duration(0); at < hours*time.Hour; at += step {
			for i, s := range sites {
				for range parts[i] {
					lease, err := s.pool.Acquire(s.now, nil)
					if err != nil {
						rt.Fatal(err)
					}
					sessions++
					lease.Established(s.now, time.Millisecond)
					if lease.Warm() {
						warm++
					}
					lease.Release(s.now)
				}
			}
			for i, s := range sites {
				uses, _ := s.pool.Uses()
				fresh := int(uses[1].Sessions - told[i])
				told[i] = uses[1].Sessions
				for j, other := range sites {
					if j != i && !deaf {
						other.pool.Elsewhere(other.now, []Elsewhere{{Priority: 1, Sessions: fresh, Last: uses[1].Last}, {Priority: 99}})
					}
				}
			}
			for _, s := range sites {
				s.wait(step)
			}
		}
		want := hours * perHour
		switch {
		case active == 0:
			if warm != 0 {
				rt.Fatalf("%d sessions out of nothing", warm)
			}
		case warm < min(want, sessions/2)-n: // every second session at most
			rt.Fatalf("%d sessions in %d hours, want %d at least", warm, hours, want)
		case !deaf && warm > want+want/10+3*n:
			rt.Fatalf("%d sessions in %d hours of %d balancers, want about %d", warm, hours, active, want)
		case deaf && warm > active*(want+2)+want/10:
			rt.Fatalf("%d sessions in %d hours of %d balancers that do not hear of each other, want %d of each", warm, hours, active, want)
		}
	})
}

// A tier that another balancer keeps busy is not cold; one that takes its sessions up slowly there does so here, by the same clock.
func TestTheRampIsOneForAll(t *testing.T) {
	const over = time.Hour
	for _, tt := range []struct {
		name string
		last time.Duration // ago
		ramp time.Duration // ago
		want float64
	}{
		{"nobody uses it", 0, 0, 0.1},
		{"another used it long ago", 2 * over, 0, 0.1},
		{"another uses it", time.Minute, 0, 1},
		{"another begins with it", time.Second, over / 2, 0.55},
		{"another is through", time.Second, over, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, Config{Backends: twoSites(1), MinHealthy: 1, Ramp: Ramp{Over: over, Start: 0.1}, Together: Together{2, 0}})
			s.wait(3 * over)
			news := Elsewhere{Priority: 1}
			if tt.last > 0 {
				news.Last = s.now.Add(-tt.last)
			}
			if tt.ramp > 0 {
				news.Ramp = s.now.Add(-tt.ramp)
			}
			s.pool.Elsewhere(s.now, []Elsewhere{news})
			s.pool.Probe(s.now, 0, VerdictFailed, "refused")
			tier := s.pool.Tiers(s.now)[1]
			if !tier.Active || fmt.Sprintf("%.2f", tier.Ramp) != fmt.Sprintf("%.2f", tt.want) {
				t.Errorf("active %v, takes %.2f, want %.2f", tier.Active, tier.Ramp, tt.want)
			}
			if tt.want > 0.1 {
				return
			}
			// One that began earlier is heard of later.
			s.pool.Elsewhere(s.now, []Elsewhere{{Priority: 1, Last: s.now, Ramp: s.now.Add(-over / 2)}})
			if tier := s.pool.Tiers(s.now)[1]; fmt.Sprintf("%.2f", tier.Ramp) != "0.55" {
				t.Errorf("takes %.2f once another is heard of that is half way, want 0.55", tier.Ramp)
			}
			uses, asked := s.pool.Uses()
			if uses[1].Ramp.IsZero() || asked != 0 {
				t.Errorf("uses %+v, asked %d", uses, asked)
			}
		})
	}
}
