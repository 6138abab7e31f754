package balancer

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// twoSites has n relays at priority 0, named a0, a1, ..., and as many at priority 1.
func twoSites(n int) []BackendConfig {
	var all []BackendConfig
	for tier, site := range []string{"a", "b"} {
		for i := range n {
			all = append(all, BackendConfig{Name: fmt.Sprint(site, i), Site: site, Weight: 1, Priority: tier})
		}
	}
	return all
}

// site is a pool with a clock, whose relays are all checked, and believed at once.
type site struct {
	t     *testing.T
	pool  *Pool
	now   time.Time
	moves []string // of tiers, as "0>1"
}

func newSite(t *testing.T, cfg Config) *site {
	s := &site{t: t, now: start}
	cfg.Name, cfg.Rise, cfg.Fall = "outbound", 1, 1
	cfg.OnTierChange = func(c TierChange) {
		s.moves = append(s.moves, fmt.Sprintf("%d>%d", c.From, c.To))
		if c.Reason == "" || !c.Time.Equal(s.now) || c.Pool != "outbound" {
			t.Errorf("tier change %+v at %v", c, s.now)
		}
	}
	s.pool = mustNew(t, cfg)
	return s
}

// set makes the checks of a site's relays good or not.
func (s *site) set(name string, up bool) {
	for i, b := range s.pool.Snapshot(s.now) {
		if b.Site == name || b.Name == name {
			s.pool.Probe(s.now, i, verdict(up), "refused")
		}
	}
}

func (s *site) wait(d time.Duration) { s.now = s.now.Add(d) }

// tier is where a session goes that ends at once, -1 if nowhere.
func (s *site) tier() int {
	s.t.Helper()
	lease, err := s.pool.Acquire(s.now, nil)
	if err != nil {
		return -1
	}
	lease.Established(s.now, time.Millisecond)
	tier := lease.Backend().Tier()
	lease.Release(s.now)
	return tier
}

func TestSiteComesBackAfterTheDelayAndNotBefore(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(3), FailbackDelay: 2 * time.Minute})
	if s.tier() != 0 {
		t.Fatal("the first site is not used from the start")
	}
	s.set("a", false)
	if s.tier() != 1 {
		t.Fatal("the second site does not take over")
	}
	s.wait(time.Hour)
	s.set("a", true)
	for range 119 {
		s.wait(time.Second)
		if s.tier() != 1 {
			t.Fatalf("back after %v", s.now.Sub(start)-time.Hour)
		}
	}
	s.wait(time.Second)
	if s.tier() != 0 || !slices.Equal(s.moves, []string{"0>1", "1>0"}) {
		t.Errorf("not back after two minutes: %q", s.moves)
	}
}

func TestSiteThatIsNeededComesBackAtOnce(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(2), FailbackDelay: 2 * time.Minute})
	s.set("a", false)
	s.set("a", true)
	if s.tier() != 1 {
		t.Fatal("back without a need")
	}
	s.set("b", false)
	if s.tier() != 0 {
		t.Error("the only site that is up is not used")
	}
	s.set("b", true)
	if s.tier() != 0 {
		t.Error("away again without a need")
	}
}

func TestSiteWithTooFewRelaysIsLeft(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(3), MinHealthy: 2})
	s.set("a0", false)
	if s.tier() != 0 {
		t.Error("two of three are enough")
	}
	s.set("a1", false)
	if s.tier() != 1 {
		t.Error("one of three is not")
	}
	s.set("b", false)
	if s.tier() != 0 {
		t.Error("but better than nobody")
	}
	s.set("b2", true)
	if s.tier() != 0 {
		t.Error("one each: the first site")
	}
}

// Where no tier has enough, the one in use is kept: one that flaps must not drag the sessions along there either.
func TestWeakSiteIsKeptWhileItHasAnybody(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(2), MinHealthy: 2, FailbackDelay: 2 * time.Minute})
	s.set("a", false)
	s.set("b0", false)
	for range 20 {
		s.wait(time.Second)
		s.set("a0", true)
		if s.tier() != 1 {
			t.Fatalf("moves %q", s.moves)
		}
		s.set("a0", false)
	}
}

func TestTierAsksForNoMoreThanItHas(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(1), MinHealthy: 5})
	if s.tier() != 0 {
		t.Error("a tier of one is never usable")
	}
}

// A primary that comes and goes every second for an hour: whatever the delay, sessions are not dragged along.
func TestFlappingSiteIsLeftAlone(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(3), FailbackDelay: 2 * time.Minute, SlowStart: 30 * time.Second})
	for range 3600 {
		s.set("a", false)
		s.wait(500 * time.Millisecond)
		s.tier()
		s.set("a", true)
		s.wait(500 * time.Millisecond)
		s.tier()
	}
	if !slices.Equal(s.moves, []string{"0>1"}) {
		t.Errorf("%d moves: %q", len(s.moves), s.moves)
	}
	s.wait(2 * time.Minute)
	s.tier()
	if !slices.Equal(s.moves, []string{"0>1", "1>0"}) {
		t.Errorf("not back when it was over: %q", s.moves)
	}
}

func TestFullSiteSpills(t *testing.T) {
	backends := twoSites(2)
	for i := range backends {
		backends[i].MaxSessions = 2
	}
	s := newSite(t, Config{Backends: backends, FailbackDelay: time.Hour})
	var tiers []int
	var leases []Lease
	for range 8 {
		lease, err := s.pool.Acquire(s.now, nil)
		if err != nil {
			t.Fatal(err)
		}
		leases = append(leases, lease)
		tiers = append(tiers, lease.Backend().Tier())
	}
	if !slices.Equal(tiers, []int{0, 0, 0, 0, 1, 1, 1, 1}) {
		t.Errorf("tiers %v", tiers)
	}
	if _, err := s.pool.Acquire(s.now, nil); !errors.Is(err, ErrFull) {
		t.Errorf("the ninth: %v", err)
	}
	leases[0].Release(s.now)
	if s.tier() != 0 || len(s.moves) != 0 {
		t.Errorf("a spill is no failover: %q", s.moves)
	}
}

// A site of ten that is dead, and not known to be: the session asks three, then the other site, then the rest.
func TestSessionAsksThreeOfATierFirst(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(10)})
	var tried, tiers []int
	for {
		lease, err := s.pool.Acquire(s.now, tried)
		if err != nil {
			if !errors.Is(err, ErrTried) {
				t.Fatal(err)
			}
			break
		}
		tried = append(tried, lease.Backend().ID())
		tiers = append(tiers, lease.Backend().Tier())
		lease.Release(s.now)
	}
	want := []int{0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1}
	if !slices.Equal(tiers, want) {
		t.Errorf("tiers %v\nwant  %v", tiers, want)
	}
}

// world is pools, sessions, and any failures, in simulated time.
type world struct {
	pool   *Pool
	now    time.Time
	delay  time.Duration
	leases []*Lease
	usable map[int]time.Time // tiers that are, and since when
	min    int
}

// seen follows, from the outside, since when each tier has been usable.
func (w *world) seen() {
	healthy, size := map[int]int{}, map[int]int{}
	for _, b := range w.pool.Snapshot(w.now) {
		if b.Weight > 0 {
			size[b.Tier]++
			if b.State == Up {
				healthy[b.Tier]++
			}
		}
	}
	for tier := range size {
		_, was := w.usable[tier]
		switch is := healthy[tier] >= max(1, min(w.min, size[tier])); {
		case is && !was:
			w.usable[tier] = w.now
		case !is && was:
			delete(w.usable, tier)
		}
	}
}

func TestFailoverKeepsItsRulesUnderAnyFailures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{now: start, usable: map[int]time.Time{}}
		cfg := Config{
			Name: "outbound", Rise: 1, Fall: 1, Failures: rapid.IntRange(1, 3).Draw(t, "failures"),
			Eject: time.Duration(rapid.IntRange(1, 40).Draw(t, "eject")) * time.Second, MaxEject: time.Minute,
			MinHealthy:    rapid.IntRange(0, 3).Draw(t, "min healthy"),
			FailbackDelay: time.Duration(rapid.IntRange(0, 100).Draw(t, "failback")) * time.Second,
			SlowStart:     time.Duration(rapid.IntRange(0, 60).Draw(t, "slow")) * time.Second,
			Warm:          Warm{Share: 0.1},
		}
		w.delay, w.min = cfg.FailbackDelay, cfg.MinHealthy
		for i := range rapid.IntRange(1, 9).Draw(t, "backends") {
			cfg.Backends = append(cfg.Backends, BackendConfig{
				Name: fmt.Sprint("relay-", i), Weight: rapid.IntRange(0, 3).Draw(t, "weight"),
				Priority: rapid.IntRange(0, 2).Draw(t, "priority"), MaxSessions: rapid.IntRange(0, 5).Draw(t, "max"),
			})
		}
		cfg.OnTierChange = func(c TierChange) {
			w.seen()
			left, inUse := w.usable[c.From]
			since, ok := w.usable[c.To]
			// One that became usable again at this very moment may not have been when it was left.
			if c.To < c.From && inUse && left.Before(w.now) && (!ok || w.now.Sub(since) < w.delay) {
				t.Fatalf("back from %d to %d at %v: usable since %v", c.From, c.To, w.now, since)
			}
		}
		pool, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		w.pool = pool
		w.seen()
		for tier := range w.usable {
			w.usable[tier] = time.Time{} // from the start
		}
		t.Repeat(map[string]func(*rapid.T){
			"time": func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 30000).Draw(t, "ms")) * time.Millisecond)
			},
			"probe": func(t *rapid.T) {
				v := rapid.SampledFrom([]Verdict{VerdictGood, VerdictGood, VerdictFailed, VerdictBusy}).Draw(t, "verdict")
				w.pool.Probe(w.now, rapid.IntRange(0, len(cfg.Backends)-1).Draw(t, "index"), v, "")
			},
			"session": func(t *rapid.T) { w.session(t) },
			"end": func(*rapid.T) {
				for _, l := range w.leases {
					l.Release(w.now)
				}
				w.leases = nil
			},
			"": func(t *rapid.T) { w.check(t) },
		})
		w.end(t, cfg.MaxEject)
	})
}

// session takes a session to a relay, by failed attempts or not.
func (w *world) session(t *rapid.T) {
	var tried []int
	for {
		before := w.pool.Snapshot(w.now)
		lease, err := w.pool.Acquire(w.now, tried)
		if err != nil {
			return
		}
		if b := before[lease.Backend().ID()]; b.State != Up || b.Weight == 0 {
			t.Fatalf("picked %+v", b)
		}
		if rapid.Bool().Draw(t, "ok") {
			lease.Established(w.now, time.Millisecond)
			w.leases = append(w.leases, &lease)
			return
		}
		tried = append(tried, lease.Backend().ID())
		lease.Fail(w.now, Refused)
	}
}

func (w *world) check(t *rapid.T) {
	w.seen()
	up, waiting := 0, 0
	for _, b := range w.pool.Snapshot(w.now) {
		if b.Active < 0 || b.MaxSessions > 0 && b.Active > b.MaxSessions {
			t.Fatalf("%+v", b)
		}
		if b.Weight > 0 && b.State == Up {
			up++
		}
		if b.Weight > 0 && (b.State == Ejected || b.State == Busy) {
			waiting++
		}
	}
	if up == 0 && waiting > 0 {
		t.Fatalf("%d wait for the end of their time, and nobody is up", waiting)
	}
	checkTiers(t, w.pool)
}

// end sees every slot given back, and every ejection at its end.
func (w *world) end(t *rapid.T, longest time.Duration) {
	for _, l := range w.leases {
		l.Release(w.now)
	}
	w.now = w.now.Add(longest)
	for _, b := range w.pool.Snapshot(w.now) {
		if b.Active != 0 || b.State == Ejected || b.State == Busy {
			t.Fatalf("at the end: %+v", b)
		}
	}
}

// A tier that was usable for too short a time when another one took over is
// taken into use when its time has come, and nothing else needs to happen.
func TestTierPassedOverInATakeoverIsUsedInTime(t *testing.T) {
	now := time.Unix(1e9, 0)
	p, err := New(Config{Name: "out", Rise: 1, Fall: 1, FailbackDelay: time.Minute, Backends: []BackendConfig{
		{Name: "a", Weight: 1}, {Name: "b", Weight: 1, Priority: 1}, {Name: "c", Weight: 1, Priority: 2},
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.Probe(now, 1, VerdictFailed, "closed")
	p.Probe(now, 1, VerdictGood, "")
	p.Drain(now, 0)
	for _, test := range []struct {
		after time.Duration
		want  string
	}{{0, "c"}, {59 * time.Second, "c"}, {time.Minute, "b"}} {
		lease, err := p.Acquire(now.Add(test.after), nil)
		if err != nil || lease.Backend().Name() != test.want {
			t.Errorf("after %v a session goes to %v, %v; want %s", test.after, lease.Backend().Name(), err, test.want)
		}
		lease.Release(now)
	}
}
