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

// crowd is loops that take and end leases of one pool, with their own account of what they hold.
type crowd struct {
	t                            *testing.T
	pool                         *Pool
	limits                       []int          // max_sessions, by index
	held                         []atomic.Int64 // by index
	picks, failures, established atomic.Uint64
}

// begin takes a lease if there is one to have.
func (c *crowd) begin(tried []int, greets bool) (Lease, bool) {
	lease, err := c.pool.Acquire(start, tried)
	if err != nil {
		if !errors.Is(err, ErrDown) && !errors.Is(err, ErrFull) && !errors.Is(err, ErrTried) {
			c.t.Error(err)
		}
		return Lease{}, false
	}
	c.picks.Add(1)
	index := lease.Backend().ID()
	if now := c.held[index].Add(1); now > int64(c.limits[index]) {
		c.t.Errorf("relay %d holds %d sessions, its limit is %d", index, now, c.limits[index])
	}
	if greets {
		c.established.Add(1)
		lease.Established(start, 0)
	}
	return lease, true
}

func (c *crowd) end(lease *Lease, fails bool) {
	c.held[lease.Backend().ID()].Add(-1)
	if fails {
		c.failures.Add(1)
		lease.Fail(start, Closed)
	} else {
		lease.Release(start)
	}
}

// loop holds up to three leases at a time, ends the oldest first, and probes in between.
func (c *crowd) loop(number int) {
	var leases []Lease
	for n := range 2000 {
		lease, ok := c.begin([]int{n % 7}, n%2 == 0)
		if ok {
			leases = append(leases, lease)
		}
		if len(leases) > 3 || !ok && len(leases) > 0 {
			c.end(&leases[0], n%3 == 0)
			leases = leases[1:]
		}
		c.pool.Probe(start, (n+number)%len(c.limits), verdict(n%5 != 0), "refused")
	}
	for i := range leases {
		c.end(&leases[i], false)
	}
}

func TestMaxSessionsHoldsWhateverTheLoopsDo(t *testing.T) {
	for name, newOrder := range orders {
		t.Run(name, func(t *testing.T) { maxSessionsHold(t, newOrder) })
	}
}

func maxSessionsHold(t *testing.T, newOrder func(size int) order) {
	c := &crowd{t: t, limits: []int{1, 2, 3, 5}, held: make([]atomic.Int64, 4)}
	cfg := Config{Name: "outbound", Fall: 2, Rise: 1}
	for i, limit := range c.limits {
		cfg.Backends = append(cfg.Backends,
			BackendConfig{Name: string(rune('a' + i)), Weight: 1 + i, MaxSessions: limit, Priority: i / 2})
	}
	pool, err := newPool(cfg, newOrder)
	if err != nil {
		t.Fatal(err)
	}
	c.pool = pool
	together(c.loop)

	var got BackendStatus
	for _, s := range c.pool.Snapshot(start) {
		if s.Active != 0 {
			t.Errorf("%s holds %d sessions after the end", s.Name, s.Active)
		}
		got.Picks += s.Picks
		got.Failures += s.Failures
		got.Established += s.Established
	}
	if got.Picks != c.picks.Load() || got.Failures != c.failures.Load() || got.Established != c.established.Load() {
		t.Errorf("picks %d, failures %d, established %d; the loops counted %d, %d, %d", got.Picks, got.Failures,
			got.Established, c.picks.Load(), c.failures.Load(), c.established.Load())
	}
	if got.Picks == 0 || got.Failures == 0 || got.Established == 0 {
		t.Error("the test did nothing")
	}
	checkTiers(t, c.pool)
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
			p.Probe(start, loop%2, verdict(n%2 == 0), "refused")
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

// Sessions begin while the pool is given other configurations: the race detector watches, and each lease names a
// backend of one of them.
func TestSessionsBeginWhileThePoolChanges(t *testing.T) {
	cfg := Config{Name: "outbound", Backends: []BackendConfig{{Name: "a", Key: "1", Weight: 1}, {Name: "b", Key: "2", Weight: 1}}}
	p := mustNew(t, cfg)
	together(func(loop int) {
		for n := range 200 {
			if loop == 0 {
				next := Config{Name: "outbound", Backends: []BackendConfig{{Name: []string{"a", "c"}[n%2], Key: "1", Weight: 1}, cfg.Backends[1]}}
				mustReconfigure(t, p, start, next)
				continue
			}
			lease, err := p.Acquire(start, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if name := lease.Backend().Name(); name != "a" && name != "b" && name != "c" {
				t.Errorf("a lease of %q", name)
			}
			lease.Release(start)
		}
	})
}
