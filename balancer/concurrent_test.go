package balancer

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

const loops = 8

// together runs f once for each loop number, all at the same time, and waits for all.
func together(f func(loop int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for loop := range loops {
		wg.Go(func() {
			<-begin
			f(loop)
		})
	}
	close(begin)
	wg.Wait()
}

func TestBurstOfConnectsDoesNotHerd(t *testing.T) {
	p := poolOf(t, 1, 2, 1)
	together(func(int) {
		for range 50 {
			if _, err := p.Acquire(start, nil); err != nil {
				t.Error(err)
			}
		}
	})
	for i, want := range []int{100, 200, 100} {
		if got := p.Snapshot(start)[i].Active; got != want {
			t.Errorf("relay %d holds %d of a burst of %d, want %d", i, got, loops*50, want)
		}
	}
}

func TestMaxSessionsHoldsWhateverTheLoopsDo(t *testing.T) {
	limits := []int{1, 2, 3, 5}
	cfg := Config{Name: "outbound", Fall: 2, Rise: 1}
	for i, limit := range limits {
		cfg.Backends = append(cfg.Backends,
			BackendConfig{Name: string(rune('a' + i)), Weight: 1 + i, MaxSessions: limit, Priority: i / 2})
	}
	p := mustNew(t, cfg)
	held := make([]atomic.Int64, len(limits))
	var picks, failures, established atomic.Uint64

	together(func(loop int) {
		var leases []Lease
		end := func(n int) {
			l := &leases[n%len(leases)]
			held[l.Backend().Index()].Add(-1)
			if n%3 == 0 {
				failures.Add(1)
				l.Fail(start, Closed)
			} else {
				l.Release(start)
			}
			leases[n%len(leases)] = leases[len(leases)-1]
			leases = leases[:len(leases)-1]
		}
		for n := range 2000 {
			lease, err := p.Acquire(start, []int{n % 7})
			switch {
			case err == nil:
				picks.Add(1)
				index := lease.Backend().Index()
				if now := held[index].Add(1); now > int64(limits[index]) {
					t.Errorf("relay %d holds %d sessions, its limit is %d", index, now, limits[index])
				}
				if n%2 == 0 {
					established.Add(1)
					lease.Established(start)
				}
				leases = append(leases, lease)
			case !errors.Is(err, ErrDown) && !errors.Is(err, ErrFull) && !errors.Is(err, ErrTried):
				t.Error(err)
			}
			if len(leases) > 3 || err != nil && len(leases) > 0 {
				end(n)
			}
			p.Probe(start, (n+loop)%len(limits), n%5 != 0, "refused")
		}
		for len(leases) > 0 {
			end(1)
		}
	})

	var got BackendStatus
	for _, s := range p.Snapshot(start) {
		if s.Active != 0 {
			t.Errorf("%s holds %d sessions after the end", s.Name, s.Active)
		}
		got.Picks += s.Picks
		got.Failures += s.Failures
		got.Established += s.Established
	}
	if got.Picks != picks.Load() || got.Failures != failures.Load() || got.Established != established.Load() {
		t.Errorf("picks %d, failures %d, established %d; the loops counted %d, %d, %d", got.Picks, got.Failures,
			got.Established, picks.Load(), failures.Load(), established.Load())
	}
	if picks.Load() == 0 || failures.Load() == 0 {
		t.Error("the test did nothing")
	}
	checkForest(t, p)
}

func TestChangesAreToldInOrderAndOneAtATime(t *testing.T) {
	var telling atomic.Int64
	var last [2]State // unguarded on purpose: the race detector sees two calls at once
	told := 0
	p := mustNew(t, Config{
		Name: "outbound", Rise: 1, Fall: 1,
		Backends: []BackendConfig{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}},
		OnChange: func(c Change) {
			if telling.Add(1) != 1 {
				t.Error("two calls at once")
			}
			index := int(c.Backend[0] - 'a')
			if c.From != last[index] || c.To == c.From {
				t.Errorf("%s %v->%v, but it was %v", c.Backend, c.From, c.To, last[index])
			}
			last[index] = c.To
			told++
			telling.Add(-1)
		},
	})
	together(func(loop int) {
		for n := range 1000 {
			p.Probe(start, loop%2, n%2 == 0, "refused")
		}
	})
	for i, s := range p.Snapshot(start) {
		if s.State != last[i] {
			t.Errorf("%s is %v, last told %v", s.Name, s.State, last[i])
		}
	}
	if told == 0 {
		t.Error("nothing was told")
	}
}
