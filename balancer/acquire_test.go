package balancer

import (
	"errors"
	"testing"
)

// acquire takes a slot and checks on whom; want "" with an error.
func acquire(t *testing.T, p *Pool, tried []int, want string, wantErr error) Lease {
	t.Helper()
	lease, err := p.Acquire(start, tried)
	if !errors.Is(err, wantErr) {
		t.Fatalf("tried %v: error %v, want %v", tried, err, wantErr)
	}
	got := ""
	if lease.Held() {
		got = lease.Backend().Name()
	}
	if got != want {
		t.Fatalf("tried %v: got %q, want %q", tried, got, want)
	}
	return lease
}

func TestWhyThereIsNoRelay(t *testing.T) {
	p := mustNew(t, Config{Name: "outbound", Fall: 1, Backends: []BackendConfig{
		{Name: "a", Weight: 1, MaxSessions: 1},
		{Name: "b", Weight: 1, MaxSessions: 1},
		{Name: "off", Weight: 0},
	}})
	acquire(t, p, []int{0, 1}, "", ErrTried)
	acquire(t, p, []int{1, 0, 1, 0, 2, 99, -1}, "", ErrTried)
	a := acquire(t, p, []int{1}, "a", nil)
	acquire(t, p, []int{1}, "", ErrFull) // a could be had later
	b := acquire(t, p, nil, "b", nil)
	acquire(t, p, nil, "", ErrFull)
	acquire(t, p, []int{0}, "", ErrFull)
	acquire(t, p, []int{0, 1}, "", ErrTried)
	a.Release(start)
	b.Release(start)

	p.Probe(start, 0, VerdictFailed, "refused")
	acquire(t, p, []int{0}, "b", nil)
	acquire(t, p, []int{1}, "", ErrTried) // whoever is down is nobody's hope
	p.Probe(start, 1, VerdictFailed, "refused")
	acquire(t, p, nil, "", ErrDown)
	acquire(t, p, []int{0, 1}, "", ErrDown)
}

func TestPoolOfWeightNoneIsDown(t *testing.T) {
	acquire(t, poolOf(t, 0, 0), nil, "", ErrDown)
}

func TestSessionAsksEachRelayAtMostOnce(t *testing.T) {
	p := poolOf(t, 5, 1, 0, 3, 1000)
	var tried []int
	for {
		lease, err := p.Acquire(start, tried)
		if errors.Is(err, ErrTried) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, index := range tried {
			if index == lease.Backend().ID() {
				t.Fatalf("asked %d again after %v", index, tried)
			}
		}
		tried = append(tried, lease.Backend().ID())
		lease.Release(start)
	}
	if len(tried) != 4 {
		t.Errorf("asked %v, want every one that has a weight", tried)
	}
}

func TestLowerTierHelpsOnlyWhenTheUpperHasNobody(t *testing.T) {
	p := mustNew(t, Config{Name: "outbound", Rise: 1, Fall: 1, Backends: []BackendConfig{
		{Name: "dr", Site: "dr", Weight: 1000, Priority: 10},
		{Name: "hq-a", Site: "hq", Weight: 1, MaxSessions: 1},
		{Name: "hq-b", Site: "hq", Weight: 1, MaxSessions: 1},
		{Name: "isp", Weight: 1, Priority: 20},
	}})
	a := acquire(t, p, nil, "hq-a", nil)
	b := acquire(t, p, nil, "hq-b", nil)
	spilled := acquire(t, p, nil, "dr", nil)
	if spilled.Backend().Tier() != 10 || spilled.Backend().Site() != "dr" || spilled.Backend().ID() != 0 {
		t.Errorf("backend %+v", spilled.Backend())
	}
	a.Release(start)
	a = acquire(t, p, nil, "hq-a", nil)
	a.Release(start)
	b.Release(start)
	retried := acquire(t, p, []int{1, 2}, "dr", nil)
	retried.Release(start)
	acquire(t, p, []int{1, 2, 0}, "isp", nil)
	p.Probe(start, 1, VerdictFailed, "refused")
	p.Probe(start, 2, VerdictFailed, "refused")
	acquire(t, p, nil, "dr", nil)
	p.Probe(start, 0, VerdictFailed, "refused")
	acquire(t, p, nil, "isp", nil)
	p.Probe(start, 1, VerdictGood, "")
	acquire(t, p, nil, "hq-a", nil)
}

func TestEndingALeaseTwiceIsHarmless(t *testing.T) {
	ends := map[string]func(*Lease){
		"release":   func(l *Lease) { l.Release(start) },
		"fail":      func(l *Lease) { l.Fail(start, Refused) },
		"fail ok":   func(l *Lease) { l.Fail(start, OK) },
		"establish": func(l *Lease) { l.Established(start, 0) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			p := poolOf(t, 1)
			other := acquire(t, p, nil, "relay-0", nil)
			lease := acquire(t, p, nil, "relay-0", nil)
			lease.Release(start)
			if lease.Held() || lease.Backend() != nil {
				t.Fatal("held after release")
			}
			end(&lease)
			end(&lease)
			var zero Lease
			end(&zero)
			got := p.Snapshot(start)[0]
			if got.Active != 1 || got.Failures != 0 || got.Established != 0 {
				t.Errorf("after ending an empty lease: %+v", got)
			}
			other.Release(start)
		})
	}
}

func TestGivingUpAnAttemptIsNoEvidence(t *testing.T) {
	p := mustNew(t, Config{Name: "outbound", Fall: 1, Backends: []BackendConfig{
		{Name: "a", Weight: 1}, {Name: "b", Weight: 1},
	}})
	for range 10 {
		released := acquire(t, p, []int{1}, "a", nil)
		released.Release(start)
		ok := acquire(t, p, []int{1}, "a", nil)
		ok.Fail(start, OK)
	}
	if got := p.Snapshot(start)[0]; got.State != Up || got.Active != 0 || got.Failures != 0 {
		t.Errorf("%+v", got)
	}
}

func TestPickingAllocatesNothing(t *testing.T) {
	p := poolOf(t, 3, 1, 2, 5)
	p.fall = 1 << 30 // a change of state may allocate
	tried := []int{3, 0}
	allocs := testing.AllocsPerRun(1000, func() {
		first, _ := p.Acquire(start, nil)
		first.Fail(start, Greeting4xx)
		retry, _ := p.Acquire(start, tried)
		retry.Established(start, 0)
		retry.Release(start)
		if _, err := p.Acquire(start, []int{0, 1, 2, 3}); err == nil {
			t.Error("a relay nobody has")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a session with a retry", allocs)
	}
}
