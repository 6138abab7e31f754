package balancer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func mustReconfigure(t failer, p *Pool, now time.Time, cfg Config) {
	if err := p.Reconfigure(now, cfg); err != nil {
		t.Fatalf("Reconfigure: %v", err)
	}
}

func newOrFail(t failer, cfg Config, order func(size int) order) *Pool {
	p, err := newPool(cfg, order)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return p
}

func TestBadConfigurationChangesNothing(t *testing.T) {
	p := poolOf(t, 3, 1)
	before := p.Snapshot(start)
	err := p.Reconfigure(start, Config{Name: "outbound", Fall: -1, Backends: []BackendConfig{{Name: "new", Weight: -1}}})
	for _, want := range []string{"fall -1", `"new": weight -1`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	if err := p.Reconfigure(start, Config{Name: "other", Backends: []BackendConfig{{Name: "new", Weight: 1}}}); err == nil {
		t.Error("another pool's configuration is taken")
	}
	if got := p.Snapshot(start); !slices.Equal(got, before) {
		t.Errorf("backends now\n %+v\nwant\n %+v", got, before)
	}
}

func TestWhoIsKnownAgain(t *testing.T) {
	was := []BackendConfig{{Name: "a", Key: "1"}, {Name: "b", Key: "2"}, {Name: "c", Key: "3"}, {Name: "d"}}
	tests := map[string]struct {
		now  []BackendConfig
		want []int
	}{
		"in another order":       {[]BackendConfig{{Name: "d"}, {Name: "b", Key: "2"}, {Name: "a", Key: "1"}}, []int{3, 1, 0}},
		"renamed":                {[]BackendConfig{{Name: "x", Key: "1"}, {Name: "b", Key: "2"}}, []int{0, 1}},
		"moved":                  {[]BackendConfig{{Name: "a", Key: "9"}}, []int{0}},
		"names exchanged":        {[]BackendConfig{{Name: "b", Key: "1"}, {Name: "a", Key: "2"}}, []int{0, 1}},
		"names shifted":          {[]BackendConfig{{Name: "b", Key: "1"}, {Name: "c", Key: "2"}, {Name: "e", Key: "3"}}, []int{0, 1, 2}},
		"a name taken over":      {[]BackendConfig{{Name: "x", Key: "1"}, {Name: "a", Key: "9"}}, []int{0, 4}},
		"new ones":               {[]BackendConfig{{Name: "x"}, {Name: "y", Key: "8"}}, []int{4, 5}},
		"the same key twice":     {[]BackendConfig{{Name: "x", Key: "1"}, {Name: "y", Key: "1"}}, []int{0, 4}},
		"renamed without a key":  {[]BackendConfig{{Name: "e"}}, []int{4}},
		"a key given to a name":  {[]BackendConfig{{Name: "d", Key: "4"}}, []int{3}},
		"a key taken from a one": {[]BackendConfig{{Name: "a"}}, []int{0}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := mustNew(t, Config{Name: "outbound", Backends: was})
			mustReconfigure(t, p, start, Config{Name: "outbound", Backends: tt.now})
			var got []int
			for i, b := range p.Backends() {
				if b.Name() != tt.now[i].Name {
					t.Errorf("backend %d is named %s", i, b.Name())
				}
				got = append(got, b.ID())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("they are known as %v, want %v", got, tt.want)
			}
		})
	}
}

func TestRemovedBackendDrains(t *testing.T) {
	a, b := BackendConfig{Name: "a", Weight: 1, MaxSessions: 2}, BackendConfig{Name: "b", Weight: 1}
	p := mustNew(t, Config{Name: "outbound", Failures: 1, Backends: []BackendConfig{a, b}, OnChange: func(c Change) {
		t.Errorf("change %+v", c)
	}})
	first := acquire(t, p, []int{1}, "a", nil)
	second := acquire(t, p, []int{1}, "a", nil)
	late := acquire(t, p, nil, "b", nil)
	mustReconfigure(t, p, start, Config{Name: "outbound", Failures: 1, Backends: []BackendConfig{b}})
	for range 10 {
		l := acquire(t, p, nil, "b", nil)
		l.Release(start)
	}
	if p.Drain(start, 0) || p.Enable(start, 0) || p.Disable(start, 0) || p.Doubtful(0) {
		t.Error("one that was taken out obeys")
	}
	p.Probe(start, 0, VerdictFailed, "refused")
	if first.Backend().Name() != "a" || first.Backend().ID() != 0 {
		t.Errorf("its lease is on %+v", first.Backend())
	}
	first.Late()
	first.Established(start, time.Second)
	first.Fail(start, Refused) // evidence against nobody

	mustReconfigure(t, p, start, Config{Name: "outbound", Backends: []BackendConfig{b, a}})
	if got := p.Snapshot(start)[1]; got.Active != 1 || got.ID != 0 || got.State != Up {
		t.Errorf("back before its last session has ended: %+v", got)
	}
	third := acquire(t, p, []int{1}, "a", nil)
	acquire(t, p, []int{1}, "", ErrFull)
	mustReconfigure(t, p, start, Config{Name: "outbound", Backends: []BackendConfig{b}})
	second.Release(start)
	third.Release(start)
	mustReconfigure(t, p, start, Config{Name: "outbound", Backends: []BackendConfig{b, a}})
	if got := p.Snapshot(start)[1]; got.Active != 0 || got.ID != 2 || got.Picks != 0 {
		t.Errorf("back after its last session has ended: %+v, want a new one", got)
	}
	late.Release(start)
	if got := p.Snapshot(start)[0]; got.Active != 0 {
		t.Errorf("%+v", got)
	}
}

func TestLateRelayStaysLateAcrossReconfigurations(t *testing.T) {
	a, b := BackendConfig{Name: "a", Weight: 1}, BackendConfig{Name: "b", Weight: 1}
	p := mustNew(t, Config{Name: "outbound", Backends: []BackendConfig{a, b}})
	silent := acquire(t, p, []int{1}, "a", nil)
	silent.Late()
	other := acquire(t, p, []int{1}, "a", nil) // for its sake the slot is kept
	defer other.Release(start)
	only := func(want string) {
		t.Helper()
		for range 4 {
			l := acquire(t, p, nil, want, nil)
			l.Release(start)
		}
	}
	mustReconfigure(t, p, start, Config{Name: "outbound", Backends: []BackendConfig{b, a}})
	only("b")
	mustReconfigure(t, p, start, Config{Name: "outbound", Backends: []BackendConfig{b}})
	mustReconfigure(t, p, start, Config{Name: "outbound", Backends: []BackendConfig{a, b}})
	only("b")
	mustReconfigure(t, p, start, Config{Name: "outbound", Backends: []BackendConfig{b}})
	silent.Fail(start, GreetingTimeout)
	mustReconfigure(t, p, start, Config{Name: "outbound", Backends: []BackendConfig{a, b}})
	n := 0
	for range 10 {
		l, err := p.Acquire(start, nil)
		if err != nil {
			t.Fatal(err)
		}
		if l.Backend().Name() == "a" {
			n++
		}
		t.Cleanup(func() { l.Release(start) })
	}
	if n < 4 || n > 6 {
		t.Errorf("after its late session is over, a is given %d of 10, want about half", n)
	}
}

func TestSlowStartGoesOnUnlessItIsSwitchedOff(t *testing.T) {
	cfg := Config{Name: "outbound", Fall: 1, Rise: 1, SlowStart: 100 * time.Second, Backends: []BackendConfig{{Name: "a", Weight: 10}, {Name: "b", Weight: 10}}}
	p := mustNew(t, cfg)
	p.Probe(start, 0, VerdictFailed, "refused")
	p.Probe(start, 0, VerdictGood, "")
	part := func(now time.Time, want float64) {
		t.Helper()
		if got := p.Snapshot(now)[0].Part; got < want-0.01 || got > want+0.01 {
			t.Errorf("it counts %v of its weight, want %v", got, want)
		}
	}
	half := start.Add(50 * time.Second)
	part(half, 0.55)
	cfg.Backends[0].Weight = 20
	mustReconfigure(t, p, half, cfg)
	part(half, 0.55)
	if got := p.slots[0].share; got != 1100 {
		t.Errorf("its share is %d units, want 11 of the new weight", got)
	}
	part(start.Add(75*time.Second), 0.775)
	cfg.SlowStart = 0
	mustReconfigure(t, p, start.Add(75*time.Second), cfg)
	part(start.Add(75*time.Second), 1)
	part(start.Add(time.Hour), 1)
	checkTiers(t, p)
}

func TestNewWeightCountsAtOnce(t *testing.T) {
	p := poolOf(t, 1, 1)
	share := func(weights ...int) {
		t.Helper()
		cfg := Config{Name: "outbound"}
		for i, w := range weights {
			cfg.Backends = append(cfg.Backends, BackendConfig{Name: fmt.Sprintf("relay-%d", i), Weight: w})
		}
		mustReconfigure(t, p, time.Time{}, cfg)
		n := map[string]int{}
		for range 100 * sum(weights) {
			l, err := p.Acquire(time.Time{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			n[l.Backend().Name()]++
			l.Release(time.Time{})
		}
		for i, w := range weights {
			if off := n[cfg.Backends[i].Name] - 100*w; off < -2 || off > 2 {
				t.Errorf("weights %v: %v sessions", weights, n)
				return
			}
		}
	}
	share(3, 1)
	share(1000, 1000) // finer by a thousand: who is a turn ahead must not wait for a thousand
	share(1, 3)
	share(1, 0)
	share(1, 1) // owed nothing for the time without a weight
	share(5, 5, 10)
	share(1, 1)
	share(1, 1, 1)
}

func TestReconfigurationIsNoFailover(t *testing.T) {
	cfg := Config{Name: "outbound", Backends: twoSites(2), FailbackDelay: 2 * time.Minute, Ramp: Ramp{Over: time.Hour, Start: 0.5}}
	s := newSite(t, cfg)
	again := func(change func(*Config)) {
		cfg.Rise, cfg.Fall = 1, 1
		cfg.OnTierChange = s.pool.onTierChange
		if change != nil {
			change(&cfg)
		}
		mustReconfigure(t, s.pool, s.now, cfg)
	}
	s.set("a", false)
	s.wait(time.Hour)
	again(nil)
	s.set("a", true)
	s.wait(time.Minute)
	again(nil) // half of the failback delay is over
	if s.wait(59 * time.Second); s.pool.Tiers(s.now)[0].Active {
		t.Fatal("back too soon")
	}
	if s.wait(time.Second); !s.pool.Tiers(s.now)[0].Active {
		t.Fatal("the delay began anew")
	}
	again(func(c *Config) { // a site before the others
		c.Backends = append(c.Backends, BackendConfig{Name: "c", Weight: 1, Priority: 7})
		for i := range c.Backends {
			c.Backends[i].Priority++
		}
		c.Backends[0].Priority = 0
	})
	moves := []string{"0>1", "1>0"}
	if !slices.Equal(s.moves, moves) {
		t.Errorf("moves %v, want %v", s.moves, moves)
	}
	again(func(c *Config) { c.Backends = c.Backends[1:] })
	if moves = append(moves, "0>1"); !slices.Equal(s.moves, moves) {
		t.Errorf("moves %v, want %v: no backend is left of tier 0", s.moves, moves)
	}
	again(func(c *Config) { c.MinHealthy = 5 }) // more than it has is all of them
	if !slices.Equal(s.moves, moves) {
		t.Errorf("moves %v, want %v", s.moves, moves)
	}
}

func TestLastBackendLeftIsSpared(t *testing.T) {
	p := mustNew(t, Config{Name: "outbound", Failures: 1, Backends: []BackendConfig{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}}})
	l := acquire(t, p, []int{1}, "a", nil)
	l.Fail(start, Refused)
	mustReconfigure(t, p, start, Config{Name: "outbound", Failures: 1, Backends: []BackendConfig{{Name: "a", Weight: 1}}})
	acquire(t, p, nil, "a", nil)
}

// history is what was chosen, of sessions some of which fail or are slow.
func history(p *Pool, script []int, before func(now time.Time)) (picks []string) {
	now := start
	var running []*Lease
	for _, n := range script {
		now = now.Add(time.Duration(n) * 700 * time.Millisecond)
		before(now)
		lease, err := p.Acquire(now, nil)
		if err != nil {
			picks = append(picks, err.Error())
			continue
		}
		picks = append(picks, fmt.Sprint(lease.Backend().Name(), lease.Warm()))
		switch n % 4 {
		case 0:
			lease.Fail(now, Refused)
			continue
		case 1:
			lease.Late()
		}
		if n%3 == 0 {
			p.Probe(now, n%len(p.Backends()), verdict(n%2 == 0), "refused")
		}
		lease.Established(now, time.Second)
		if running = append(running, &lease); len(running) > 5 {
			running[0].Release(now)
			running = running[1:]
		}
	}
	return picks
}

func TestSameConfigurationChangesNoChoice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			Name: "outbound", Fall: 2, SlowStart: 20 * time.Second, FailbackDelay: 5 * time.Second,
			Warm: Warm{Share: rapid.Float64Range(0, 0.5).Draw(t, "share"), MinPerHour: 50},
			Ramp: Ramp{Over: time.Minute, Start: 0.2},
		}
		for i := range rapid.IntRange(1, 60).Draw(t, "backends") {
			cfg.Backends = append(cfg.Backends, BackendConfig{
				Name: fmt.Sprint("relay-", i), Weight: 1 + i%4, Priority: i % 3, MaxSessions: i % 5,
			})
		}
		script := rapid.SliceOfN(rapid.IntRange(0, 40), 50, 300).Draw(t, "script")
		when := rapid.SliceOfN(rapid.Bool(), len(script), len(script)).Draw(t, "when")
		order := rapid.SampledFrom([]func(int) order{newRow, newTree}).Draw(t, "order")
		p, q := newOrFail(t, cfg, order), newOrFail(t, cfg, order)
		want := history(p, script, func(time.Time) {})
		n := 0
		got := history(q, script, func(now time.Time) {
			if when[n] {
				mustReconfigure(t, q, now, cfg)
			}
			n++
		})
		if !slices.Equal(got, want) {
			t.Fatalf("with reconfigurations\n %v\nwithout\n %v", got, want)
		}
	})
}

func TestWarmShareIsExactAcrossReconfigurations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.SampledFrom([]float64{0.05, 0.1, 0.25}).Draw(t, "share")
		cfg := Config{Name: "outbound", Backends: twoSites(2), Warm: Warm{Share: share}}
		p := newOrFail(t, cfg, newRow)
		var warm []bool
		var running []*Lease
		for range 600 {
			if rapid.IntRange(0, 9).Draw(t, "change") == 0 {
				for i := range cfg.Backends {
					cfg.Backends[i].Weight = rapid.IntRange(1, 5).Draw(t, "weight")
				}
				extra := rapid.IntRange(0, 1).Draw(t, "tier of one more")
				cfg.Backends = append(twoSites(2), BackendConfig{Name: "more", Weight: 2, Priority: extra})
				mustReconfigure(t, p, start, cfg)
			}
			lease, err := p.Acquire(start, nil)
			if err != nil {
				t.Fatal(err)
			}
			lease.Established(start, 0)
			if lease.Warm() != (lease.Backend().Tier() == 1) {
				t.Fatal("a session at the standby that is not a warm one, or the other way round")
			}
			warm = append(warm, lease.Warm())
			if running = append(running, &lease); len(running) > 20 {
				running[0].Release(start)
				running = running[1:]
			}
		}
		for from := range len(warm) - 200 {
			n := 0
			for _, w := range warm[from : from+200] {
				if w {
					n++
				}
			}
			if off := float64(n) - 200*share; off < -1.001 || off > 1.001 {
				t.Fatalf("%d of the 200 sessions from %d, want %v", n, from, 200*share)
			}
		}
	})
}

// For the race detector: everything that waits for no lock, beside reconfigurations.
func TestSessionsRunBesideReconfigurations(t *testing.T) {
	cfg := Config{Name: "outbound", Backends: twoSites(3), Failures: 2, Eject: time.Nanosecond}
	p := mustNew(t, cfg)
	var loops sync.WaitGroup
	for range 4 {
		loops.Go(func() {
			var tried []int
			for range 3000 {
				lease, err := p.Acquire(start, tried)
				if err != nil {
					if !errors.Is(err, ErrTried) && !errors.Is(err, ErrDown) {
						t.Error(err)
					}
					tried = tried[:0]
					continue
				}
				_ = lease.Patience()
				lease.Late()
				if lease.Backend().ID()%3 == 2 {
					tried = append(tried, lease.Backend().ID())
					lease.Fail(start, Refused)
					continue
				}
				lease.Established(start, time.Second)
				lease.Release(start)
				tried = tried[:0]
			}
		})
	}
	for n := range 300 {
		next := cfg
		next.Hedge, next.OnFailure = time.Duration(n), func(*Backend, Outcome) {}
		next.Backends = slices.Clone(cfg.Backends)[n%3:]
		next.Backends[0].Weight = 1 + n%7
		next.Backends[1].Priority = n % 2
		mustReconfigure(t, p, start, next)
		p.Tiers(start)
	}
	loops.Wait()
	mustReconfigure(t, p, start, cfg)
	for _, b := range p.Snapshot(start) {
		if b.Active != 0 {
			t.Errorf("%s holds %d sessions", b.Name, b.Active)
		}
	}
	if len(p.leaving) > 0 {
		t.Errorf("%d backends are kept for sessions that are over", len(p.leaving))
	}
	checkTiers(t, p)
}
