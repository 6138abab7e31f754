package balancer

import (
	"testing"
	"time"
)

func TestRelayThatCameBackGrowsToItsShare(t *testing.T) {
	s := newSite(t, Config{SlowStart: 30 * time.Second, Backends: []BackendConfig{
		{Name: "a", Weight: 1}, {Name: "b", Weight: 1}, {Name: "c", Weight: 2},
	}})
	share := func() int { // of 100 sessions, those that a is given
		n := 0
		for range 100 {
			lease, err := s.pool.Acquire(s.now, nil)
			if err != nil {
				t.Fatal(err)
			}
			if lease.Backend().Name() == "a" {
				n++
			}
			lease.Release(s.now)
		}
		return n
	}
	if got := share(); got != 25 {
		t.Errorf("at the start %d of 100: it is no return", got)
	}
	s.set("a", false)
	s.set("a", true)
	for _, step := range []struct {
		wait time.Duration
		part float64
	}{{0, 0.1}, {10 * time.Second, 0.4}, {10 * time.Second, 0.7}, {10 * time.Second, 1}, {time.Hour, 1}} {
		s.wait(step.wait)
		want := 100 * step.part / (step.part + 3)
		if got := float64(share()); got < want-2 || got > want+2 {
			t.Errorf("at %.0f %% of its weight %v of 100 sessions, want %.1f", 100*step.part, got, want)
		}
		if got := s.pool.Snapshot(s.now)[0].Part; got < step.part-0.001 || got > step.part+0.001 {
			t.Errorf("part %v, want %v", got, step.part)
		}
		checkTiers(t, s.pool)
	}
}

func TestSlowStartEndsWithTheRelay(t *testing.T) {
	s := newSite(t, Config{SlowStart: 30 * time.Second, Backends: twoSites(2)})
	s.set("a0", false)
	s.set("a0", true)
	s.wait(time.Second)
	s.set("a0", false)
	s.wait(time.Minute)
	if got := s.pool.Snapshot(s.now)[0]; got.Part != 1 || got.State != Down {
		t.Errorf("%+v", got)
	}
	s.set("a0", true)
	if got := s.pool.Snapshot(s.now)[0].Part; got != slowLeast {
		t.Errorf("part %v: the next return does not begin at the beginning", got)
	}
}
