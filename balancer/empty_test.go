package balancer

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A pool whose relays are not known yet says that nobody is up, and begins with them without any failover.
func TestPoolMayBeEmptyUntilItsRelaysAreFound(t *testing.T) {
	var told []TierChange
	cfg := Config{
		Name: "outbound", Warm: Warm{Share: 0.5}, Ramp: Ramp{Over: time.Hour, Start: 0.1},
		OnTierChange: func(c TierChange) { told = append(told, c) },
	}
	p := mustNew(t, cfg)
	empty := func(when string) {
		t.Helper()
		for range 3 {
			if _, err := p.Acquire(start, nil); !errors.Is(err, ErrDown) {
				t.Errorf("%s: Acquire says %v, want ErrDown", when, err)
			}
		}
		if _, err := p.Acquire(start, []int{0, 7}); !errors.Is(err, ErrDown) {
			t.Errorf("%s: Acquire for who tried others says %v, want ErrDown", when, err)
		}
		if n := len(p.Tiers(start)) + len(p.Snapshot(start)) + len(p.Backends()); n != 0 {
			t.Errorf("%s: %d tiers and backends are shown", when, n)
		}
		p.Probe(start, 0, VerdictFailed, "gone")
		if p.Doubtful(0) || p.Drain(start, 0) {
			t.Errorf("%s: there is a backend 0", when)
		}
	}
	empty("at first")

	cfg.Backends = []BackendConfig{{Name: "b", Weight: 1, Priority: 20}, {Name: "a", Weight: 1, Priority: 10}}
	mustReconfigure(t, p, start, cfg)
	cfg.Warm = Warm{}
	mustReconfigure(t, p, start, cfg)
	lease, err := p.Acquire(start, nil)
	if err != nil || lease.Backend().Name() != "a" {
		t.Fatalf("with relays: %v, %v", lease.Backend(), err)
	}

	cfg.Backends = nil
	mustReconfigure(t, p, start, cfg)
	empty("without them again")
	lease.Release(start)

	cfg.Backends = []BackendConfig{{Name: "c", Weight: 1, Priority: 3}}
	mustReconfigure(t, p, start, cfg)
	if lease, err := p.Acquire(start, nil); err != nil || lease.Backend().Name() != "c" {
		t.Errorf("with another one: %v", err)
	}
	if len(told) > 0 {
		t.Errorf("failovers were told: %+v", told)
	}
}

// Whatever the pool was before: with backends again it gives each session to one of the first tier.
func TestEmptyAndFullInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newOrFail(t, Config{Name: "outbound"}, newOrder)
		now := start
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			now = now.Add(time.Second)
			priorities := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 4).Draw(t, "priorities")
			cfg := Config{Name: "outbound"}
			for _, priority := range priorities {
				cfg.Backends = append(cfg.Backends, BackendConfig{Name: string(rune('a' + len(cfg.Backends))), Weight: 1, Priority: priority})
			}
			was := p.Tiers(now)
			mustReconfigure(t, p, now, cfg)
			lease, err := p.Acquire(now, nil)
			if len(priorities) == 0 {
				if !errors.Is(err, ErrDown) {
					t.Fatalf("an empty pool says %v", err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if first := slices.Min(priorities); len(was) == 0 && lease.Backend().Tier() != first {
				t.Fatalf("the first session after none is on tier %d of %v", lease.Backend().Tier(), priorities)
			}
			lease.Release(now)
		}
	})
}
