package balancer

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSharesSumToTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, limit := rapid.IntRange(1, 40).Draw(t, "balancers"), rapid.IntRange(0, 1000).Draw(t, "limit")
		sum, last := 0, limit
		for rank := range n {
			share := Together{n, rank}.Share(limit)
			if share > last || share < limit/n {
				t.Fatalf("rank %d of %d has %d of %d, the one before %d", rank, n, share, limit, last)
			}
			sum, last = sum+share, share
			// Who is added later takes from nobody's share before it is told of: nobody's grows by it.
			if more := (Together{n + 1, rank + rapid.IntRange(0, 1).Draw(t, "before")}).Share(limit); more > share {
				t.Fatalf("%d of %d with %d balancers, %d with one more", share, limit, n, more)
			}
		}
		if sum != limit {
			t.Fatalf("shares sum to %d, want %d", sum, limit)
		}
	})
}

// take begins sessions until there is no room, and returns how many there was room for.
func take(t *testing.T, p *Pool, now time.Time) (leases []*Lease) {
	t.Helper()
	for {
		lease, err := p.Acquire(now, nil)
		if errors.Is(err, ErrFull) {
			return leases
		}
		if err != nil || len(leases) > 1000 {
			t.Fatal(err, len(leases))
		}
		leases = append(leases, &lease)
	}
}

func shared(t *testing.T, limit int, is Together) *Pool {
	t.Helper()
	p, err := New(Config{Name: "out", Backends: []BackendConfig{{Name: "a", Weight: 1, MaxSessions: limit}}, Together: is})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What may be lent from before is not used until somebody says how much that is.
func TestAPoolBeginsWithAPartOfItsShare(t *testing.T) {
	now := time.Unix(1000, 0)
	if n := len(take(t, shared(t, 31, Together{3, 0}), now)); n != 2 {
		t.Errorf("%d of 31 sessions for the first of three, want a quarter of 11", n)
	}
	if n := len(take(t, shared(t, 6, Together{3, 0}), now)); n != 1 {
		t.Errorf("%d of 6 sessions for the first of three, want one of 2", n)
	}
	if n := len(take(t, shared(t, 3, Together{3, 0}), now)); n != 0 {
		t.Errorf("%d of 3 sessions for the first of three, want none: the one may be lent", n)
	}
	if n := len(take(t, shared(t, 2, Together{3, 2}), now)); n != 0 {
		t.Errorf("%d of 2 sessions for the third of three, want none", n)
	}
	if n := len(take(t, shared(t, 30, Together{}), now)); n != 30 {
		t.Errorf("%d of 30 sessions of one alone", n)
	}
	for _, wrong := range []Together{{-1, 0}, {3, 3}, {3, -1}, {0, 1}} {
		if _, err := New(Config{Name: "out", Together: wrong}); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
}

// A quota holds until its time, and what is then after it, without anybody's doing. Sessions that run are not touched.
func TestAQuotaEndsByItself(t *testing.T) {
	now := time.Unix(1000, 0)
	p := shared(t, 30, Together{3, 0})
	until := now.Add(10 * time.Second)
	p.SetQuotas(now, []Quota{{Backend: 0, Sessions: 26, Until: until, Then: 10}, {Backend: 7, Sessions: 1}, {Backend: WarmQuota, Sessions: 1}})
	leases := take(t, p, now)
	if n := len(leases); n != 26 {
		t.Fatalf("%d sessions, want 26", n)
	}
	leases[0].Release(now)
	if n := len(take(t, p, until.Add(-1))); n != 1 {
		t.Errorf("%d sessions just before the end, want the one that was free", n)
	}
	for _, l := range leases[1:17] {
		l.Release(until)
	}
	if n := len(take(t, p, until)); n != 0 { // 10 run
		t.Errorf("%d sessions after the end", n)
	}
	leases[17].Release(until)
	if n := len(take(t, p, until)); n != 1 {
		t.Errorf("%d sessions, want one of the 10", n)
	}
	if l := p.Limits(); len(l) != 1 || l[0] != (Limited{0, "a", 30, 10, 10, false}) {
		t.Errorf("limits %+v", l)
	}
	p.SetQuotas(until, []Quota{{Backend: 0, Sessions: 1000, Then: -5}})
	if b := p.Snapshot(until)[0]; b.Quota != 30 || b.MaxSessions != 30 {
		t.Errorf("a quota of %d, want the limit at most", b.Quota)
	}
}

// Another limit takes from what may be used, and gives nothing that was not agreed on.
func TestAnotherLimitKeepsTheQuota(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, tt := range []struct {
		name         string
		quota, limit int
		is           Together
		want         int
	}{
		{name: "the same", quota: 17, limit: 30, is: Together{3, 0}, want: 17},
		{name: "a higher one", quota: 17, limit: 60, is: Together{3, 0}, want: 17},
		{name: "a lower one", quota: 17, limit: 15, is: Together{3, 0}, want: 12},
		{name: "a lower one than what is left", quota: 26, limit: 12, is: Together{3, 0}, want: 12},
		{name: "a lower one, where most is lent", quota: 2, limit: 3, is: Together{3, 0}, want: 0},
		{name: "none", quota: 17, limit: 0, is: Together{3, 0}, want: 0},
		{name: "more balancers", quota: 17, limit: 30, is: Together{5, 0}, want: 1},
		{name: "alone", quota: 17, limit: 30, is: Together{}, want: 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := shared(t, 30, Together{3, 0})
			p.SetQuotas(now, []Quota{{Backend: 0, Sessions: tt.quota, Then: tt.quota}})
			if err := p.Reconfigure(now, Config{Name: "out", Backends: []BackendConfig{{Name: "a", Weight: 1, MaxSessions: tt.limit}}, Together: tt.is}); err != nil {
				t.Fatal(err)
			}
			if got := p.Snapshot(now)[0].Quota; got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
}

// A backend that was taken out counts as long as it has sessions.
func TestWhatWasTakenOutCounts(t *testing.T) {
	now := time.Unix(1000, 0)
	p := shared(t, 30, Together{3, 0})
	p.SetQuotas(now, []Quota{{Backend: 0, Sessions: 10, Then: 10}})
	leases := take(t, p, now)
	if err := p.Reconfigure(now, Config{Name: "out", Backends: []BackendConfig{{Name: "b", Key: "b", Weight: 1}}, Together: Together{3, 0}}); err != nil {
		t.Fatal(err)
	}
	if l := p.Limits(); len(l) != 1 || !l[0].Gone || l[0].Active != 10 {
		t.Errorf("limits %+v", l)
	}
	for _, l := range leases {
		l.Release(now)
	}
	if l := p.Limits(); len(l) != 0 {
		t.Errorf("limits %+v", l)
	}
}

// Sessions for warmth have a limit of their own, which is shared likewise.
func TestTheLimitOfWarmSessionsIsShared(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(1), Warm: Warm{Share: 0.5, MaxSessions: 7}, Together: Together{2, 1}})
	count := func() (n int) {
		for range 50 {
			lease, err := s.pool.Acquire(s.now, nil)
			if err != nil {
				t.Fatal(err)
			}
			if lease.Warm() {
				n++
			}
		}
		return n
	}
	if n := count(); n != 1 {
		t.Errorf("%d warm sessions, want a part of the share of 3", n)
	}
	s.pool.SetQuotas(s.now, []Quota{{Backend: WarmQuota, Sessions: 6, Until: s.now.Add(time.Second), Then: 3}})
	if n := count(); n != 5 {
		t.Errorf("%d more, want 5", n)
	}
	s.wait(time.Second)
	if n := count(); n != 0 {
		t.Errorf("%d more after the quota's time", n)
	}
}
