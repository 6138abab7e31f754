package balancer

import (
	"testing"
	"time"
)

// held takes a slot on the backend of that name, whatever it takes.
func (s *site) held(name string) *Lease {
	s.t.Helper()
	var others []int
	for i, b := range s.pool.Snapshot(s.now) {
		if b.Name != name {
			others = append(others, i)
		}
	}
	lease, err := s.pool.Acquire(s.now, others)
	if err != nil {
		s.t.Fatal(err)
	}
	return &lease
}

// names counts who is given the next sessions, each of which ends at once.
func (s *site) names(sessions int) map[string]int {
	s.t.Helper()
	counts := map[string]int{}
	for range sessions {
		lease, err := s.pool.Acquire(s.now, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		counts[lease.Backend().Name()]++
		lease.Established(s.now, time.Millisecond)
		lease.Release(s.now)
	}
	return counts
}

func TestSuspectsArePassedOver(t *testing.T) {
	s := newSite(t, Config{Backends: append(twoSites(5)[:5], BackendConfig{Name: "b0", Site: "b", Weight: 1, Priority: 1})})
	var late []*Lease
	for _, name := range []string{"a0", "a1", "a2"} {
		l := s.held(name)
		l.Late()
		l.Late() // counted once
		late = append(late, l)
	}
	if got := s.names(10); got["a3"]+got["a4"] != 10 {
		t.Errorf("with three suspects of five: %v, want those two that are none", got)
	}
	checkTiers(t, s.pool)
	for _, name := range []string{"a3", "a4"} {
		l := s.held(name)
		l.Late()
		late = append(late, l)
	}
	if got := s.names(10); got["b0"] != 10 {
		t.Errorf("with a whole site of suspects: %v, want the other site", got)
	}
	last := s.held("b0")
	last.Late()
	if got := s.names(10); got["b0"] > 0 {
		t.Errorf("with nobody else left: %v, want the site in use", got)
	}
	late[0].Established(s.now, time.Second)
	if got := s.names(10); got["a0"] != 10 {
		t.Errorf("after a0 has greeted: %v, want it", got)
	}
	late[1].Fail(s.now, GreetingTimeout)
	late[2].Release(s.now)
	if got := s.names(60); got["a1"] == 0 || got["a2"] == 0 || got["a3"]+got["a4"]+got["b0"] > 0 {
		t.Errorf("after the leases of a1 and a2 have ended: %v, want them too", got)
	}
	for _, l := range append(late, last) {
		l.Release(s.now)
	}
	if got := s.names(60); got["b0"] != 0 || len(got) != 5 {
		t.Errorf("at the end: %v, want all of the site in use", got)
	}
	checkTiers(t, s.pool)
}

// Two suspects of a tier are not relays that the session has asked.
func TestSuspectsAreNoTries(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(4)})
	s.held("a0").Late()
	s.held("a1").Late()
	lease, err := s.pool.Acquire(s.now, []int{2})
	if err != nil || lease.Backend().Name() != "a3" {
		t.Errorf("after a2 refused: %v, %v, want a3", lease.Backend(), err)
	}
}

func TestOneLateStandbyDoesNotTakeTheOthersWarmth(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(2), Warm: Warm{Share: 0.1}})
	s.held("b0").Late()
	warmRun(s, 2000, 200, time.Millisecond)
	if n := s.pool.WarmSessions(); n < 199 || n > 201 {
		t.Errorf("%d warm sessions of 2000, want 200", n)
	}
}

// A relay that became slower for good is overtaken until it is ejected; from then on its new habit is learnt.
func TestRelayThatBecameSlowerIsNotEjectedForEver(t *testing.T) {
	s := newSite(t, Config{Backends: twoSites(1)[:1]})
	for range 30 {
		l := s.held("a0")
		l.Established(s.now, time.Millisecond)
		l.Release(s.now)
	}
	if got := s.pool.slots[0].habit.patience(); got != hedgeLeast {
		t.Fatalf("patience %v", got)
	}
	two := newSite(t, Config{Backends: twoSites(1)})
	for range 30 {
		l := two.held("a0")
		l.Established(two.now, time.Millisecond)
		l.Release(two.now)
	}
	for range 3 {
		two.held("a0").Fail(two.now, GreetingTimeout)
	}
	two.wait(time.Minute)
	if b := two.pool.Snapshot(two.now)[0]; b.State != Up || b.Habit != 0 {
		t.Errorf("after the ejection: %+v, want up, and no habit", b)
	}
	if got := two.held("a0").Patience(); got != hedgeUnknown {
		t.Errorf("patience %v, want that of a relay that nobody knows", got)
	}
}

func TestDoubtEndsWithGoodChecks(t *testing.T) {
	p := mustNew(t, Config{Name: "outbound", Rise: 2, Failures: 3, Backends: []BackendConfig{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}}})
	s := &site{t: t, pool: p, now: start}
	p.Probe(start, 0, VerdictGood, "")
	p.Probe(start, 0, VerdictGood, "")
	if p.Doubtful(0) {
		t.Error("doubt without a cause")
	}
	s.held("a").Fail(start, Refused)
	p.Probe(start, 0, VerdictGood, "")
	if !p.Doubtful(0) {
		t.Error("no doubt after a failed session and one good check")
	}
	p.Probe(start, 0, VerdictGood, "")
	if p.Doubtful(0) {
		t.Error("doubt after two good checks")
	}
	s.held("a").Fail(start, Refused)
	s.held("a").Fail(start, Refused)
	if b := p.Snapshot(start)[0]; b.State != Ejected {
		t.Errorf("three failed sessions in a row, with good checks in between: %v", b.State)
	}
}
