package balancer

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// warmRun starts sessions at a pace, each of which ends when so many others run, and returns for each whether it was warm.
func warmRun(s *site, sessions, concurrency int, pace time.Duration) []bool {
	var warm []bool
	var running []*Lease
	for range sessions {
		s.wait(pace)
		lease, err := s.pool.Acquire(s.now, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		lease.Established(s.now, time.Millisecond)
		warm = append(warm, lease.Backend().Tier() == 1)
		if lease.Warm() != warm[len(warm)-1] {
			s.t.Fatal("a session at the standby that is not a warm one, or the other way round")
		}
		if running = append(running, &lease); len(running) >= concurrency {
			running[0].Release(s.now)
			running = running[1:]
		}
	}
	for _, l := range running {
		l.Release(s.now)
	}
	return warm
}

func TestWarmShareIsExactOverAnyTwoHundredSessions(t *testing.T) {
	for _, concurrency := range []int{1, 2, 5, 20, 200} {
		for _, share := range []float64{0.01, 0.05, 0.1, 0.333, 0.5} {
			t.Run(fmt.Sprint(concurrency, " at once, ", share), func(t *testing.T) {
				s := newSite(t, Config{Backends: twoSites(3), Warm: Warm{Share: share}})
				warm := warmRun(s, 5000, concurrency, time.Second)
				for from := range len(warm) - 200 {
					n := 0
					for _, w := range warm[from : from+200] {
						if w {
							n++
						}
					}
					// A whole session is the grain: half a percent of 200.
					if off := float64(n) - 200*share; off < -1.001 || off > 1.001 {
						t.Fatalf("%d of the 200 sessions from %d, want %v", n, from, 200*share)
					}
				}
			})
		}
	}
}

func TestStandbyThatFailsItsShareLosesNothing(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(2), Warm: Warm{Share: 0.1}, Failures: 3})
	for range 200 {
		s.wait(time.Second)
		lease, err := s.pool.Acquire(s.now, nil)
		if err != nil {
			t.Fatal(err)
		}
		if lease.Warm() {
			index := lease.Backend().ID()
			lease.Fail(s.now, Refused)
			lease, err = s.pool.Acquire(s.now, []int{index})
			if err != nil || lease.Warm() || lease.Backend().Tier() != 0 {
				t.Fatalf("a session whose warm relay refused: %v, tier %d", err, lease.Backend().Tier())
			}
		}
		lease.Established(s.now, time.Millisecond)
		lease.Release(s.now)
	}
	if n := s.pool.WarmSessions(); n != 0 {
		t.Errorf("%d warm sessions with a standby that refuses", n)
	}
}

func TestFailedWarmSessionIsMadeUpFor(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(1), Warm: Warm{Share: 0.1}, Failures: 1000})
	for n := range 2000 {
		lease, err := s.pool.Acquire(s.now, nil)
		if err != nil {
			t.Fatal(err)
		}
		if lease.Warm() && n%2 == 0 {
			lease.Fail(s.now, GreetingTimeout)
			continue
		}
		lease.Established(s.now, time.Millisecond)
		lease.Release(s.now)
	}
	if n := s.pool.WarmSessions(); n < 199 || n > 201 {
		t.Errorf("%d warm sessions of 2000, every second attempt of which fails, want 200", n)
	}
}

func TestNoWarmthWhereItIsOfNoUse(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(1), Warm: Warm{Share: 0.5}})
	s.set("b", false)
	for range 100 {
		if s.tier() != 0 {
			t.Fatal("a session for a standby that is down")
		}
	}
	s.set("b", true)
	n := 0
	for range 10 {
		n += s.tier()
	}
	if n < 5 || n > 6 {
		t.Errorf("%d of the first 10 after its return, want half and no burst", n)
	}
	s.set("a", false)
	for range 10 {
		if s.tier() != 1 {
			t.Fatal("the standby does not take all when it is needed")
		}
	}
	if n := s.pool.WarmSessions(); n > 6 {
		t.Errorf("%d warm sessions: those of a failover are none", n)
	}
}

func TestWarmSessionsAtOnceAreBounded(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(1), Warm: Warm{Share: 0.5, MaxSessions: 3}})
	warm := 0
	var leases []*Lease
	for range 100 {
		lease, err := s.pool.Acquire(s.now, nil)
		if err != nil {
			t.Fatal(err)
		}
		if lease.Warm() {
			warm++
		}
		leases = append(leases, &lease)
	}
	if warm != 3 {
		t.Errorf("%d warm sessions at once, want 3", warm)
	}
	for _, l := range leases {
		l.Release(s.now)
	}
	warm = 0
	for range 10 {
		warm += s.tier()
	}
	if warm < 5 || warm > 6 {
		t.Errorf("%d of the next 10, want half and no burst", warm)
	}
}

// At night a share gives too little: one session in two minutes at 1 % is one in three hours.
func TestFloorIsKeptFromWhateverComes(t *testing.T) {
	for pace, want := range map[time.Duration]int{
		time.Second:      36 * 24, // the share is more than the floor
		2 * time.Minute:  15 * 24, // every second session, and no more
		80 * time.Second: 20 * 24, // nearly so
		10 * time.Minute: 3 * 24,  // the same
		30 * time.Second: 20 * 24,
		9 * time.Second:  20 * 24,
		4 * time.Hour:    3,
		10 * time.Second: 20 * 24,
		time.Second / 10: 360 * 24,
	} {
		s := newSite(t, Config{Backends: twoSites(2), Warm: Warm{Share: 0.01, MinPerHour: 20}})
		n := 0
		for _, w := range warmRun(s, int(24*time.Hour/pace), 1, pace) {
			if w {
				n++
			}
		}
		if n < want-want/10-1 || n > want+want/10+1 {
			t.Errorf("a session each %v: %d warm ones in a day, want about %d", pace, n, want)
		}
	}
}

func TestFloorIsMadeUpForToo(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(1), Warm: Warm{MinPerHour: 4}, Failures: 1000})
	tried := 0
	for range 4 * 3600 {
		s.wait(time.Second)
		lease, err := s.pool.Acquire(s.now, nil)
		if err != nil {
			t.Fatal(err)
		}
		if lease.Warm() {
			if tried++; tried%2 == 1 {
				lease.Fail(s.now, Refused)
				continue
			}
		}
		lease.Established(s.now, time.Millisecond)
		lease.Release(s.now)
	}
	if n := s.pool.WarmSessions(); n < 16 || n > 17 {
		t.Errorf("%d warm sessions in four hours, every second attempt of which fails, want 16", n)
	}
}

func TestRampGrowsFromItsStart(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(1), Ramp: Ramp{Over: 10 * time.Hour, Start: 0.1}})
	s.set("a", false)
	var taken []int
	for range 11 {
		n := 0
		for range 100 {
			if _, err := s.pool.Acquire(s.now, nil); err == nil {
				n++
			} else if !errors.Is(err, ErrRamp) {
				t.Fatal(err)
			}
		}
		taken = append(taken, n)
		s.wait(time.Hour)
	}
	for hour, n := range taken {
		if want := 10 + 9*hour; n < want-1 || n > want+1 {
			t.Errorf("after %d hours %d of 100, want %d", hour, n, want)
		}
	}
}

func TestRampIsForTiersThatWereIdle(t *testing.T) {
	cfg := Config{Backends: twoSites(1), Ramp: Ramp{Over: time.Hour, Start: 0.1}, Warm: Warm{Share: 0.1}}
	s := newSite(t, cfg)
	warmRun(s, 100, 1, time.Minute)
	s.set("a", false)
	for range 20 {
		if s.tier() != 1 {
			t.Fatal("a tier that was kept warm is held back")
		}
	}
	if got := s.pool.Tiers(s.now)[1].Ramp; got != 1 {
		t.Errorf("ramp %v", got)
	}
}

func TestRampGoesOnWhereItWas(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(1), Ramp: Ramp{Over: 10 * time.Hour, Start: 0.1}})
	s.set("a", false)
	for range 50 {
		s.tier()
		s.wait(6 * time.Minute)
	}
	s.set("a", true)
	s.set("a", false)
	if got := s.pool.Tiers(s.now)[1].Ramp; got < 0.5 || got > 0.6 {
		t.Errorf("after five of ten hours and a short return: %v, want 0.55", got)
	}
}

func TestRetryIsNoNewSession(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Float64Range(0.01, 0.5).Draw(t, "share")
		p, err := New(Config{Name: "outbound", Backends: twoSites(3), Failures: 1 << 30, Warm: Warm{Share: share}})
		if err != nil {
			t.Fatal(err)
		}
		n := rapid.IntRange(200, 400).Draw(t, "sessions")
		for range n {
			var tried []int
			for {
				lease, err := p.Acquire(start, tried)
				if err != nil {
					t.Fatal(err)
				}
				fails := len(tried) < 2 && !lease.Warm() && rapid.Bool().Draw(t, "fails")
				if !fails {
					lease.Established(start, 0)
					lease.Release(start)
					break
				}
				tried = append(tried, lease.Backend().ID())
				lease.Fail(start, Refused)
			}
		}
		if off := float64(p.WarmSessions()) - share*float64(n); off < -1 || off > 1 {
			t.Fatalf("%d warm sessions of %d, want %v", p.WarmSessions(), n, share*float64(n))
		}
	})
}
