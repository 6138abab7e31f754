package balancer

import (
	"errors"
	"sync"
	"time"
)

// Why Acquire has no backend for a session.
var (
	// ErrDown: no backend of the pool is up (or none of those has a weight).
	ErrDown = errors.New("no backend is up")
	// ErrFull: those that are up, and that this session has not asked yet, are at max_sessions.
	ErrFull = errors.New("every backend that is up is at max_sessions")
	// ErrTried: this session has asked every backend that is up.
	ErrTried = errors.New("every backend that is up was tried by this session")
)

// Pool is a set of backends and the choice among them. New makes one; all its methods are safe for concurrent use.
type Pool struct {
	// Immutable.
	name string
	settings
	rules []rule

	mu     sync.Mutex
	slots  []slot    // by index; the slice itself never changes
	tiers  []tier    // by priority
	usable int       // backends that are up and have a weight
	active int       // the tier in use, by its index
	warm   warming   // sessions for the next tier down
	late   []int     // the backends with a late greeting, by index
	wake   time.Time // when advance has something to do; zero: never

	news    []func() // changes that nobody was told of yet
	telling bool     // a goroutine is telling them
}

// settings are a Config's, with the defaults filled in.
type settings struct {
	rise, fall      int
	failures        int64
	eject, maxEject time.Duration
	failbackDelay   time.Duration
	slowStart       time.Duration
	ramp            Ramp
	hedge           time.Duration
	onChange        func(Change)
	onTierChange    func(TierChange)
	onFailure       func(*Backend, Outcome)
}

// New makes a pool, every backend up and without sessions. The error names every mistake of cfg, not only the first.
func New(cfg Config) (*Pool, error) { return newPool(cfg, newOrder) }

// newPool is New with another order of a tier's backends, for tests.
func newPool(cfg Config, newOrder func(size int) order) (*Pool, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := &Pool{
		name:     cfg.Name,
		settings: cfg.settings(),
		rules:    rules(),
		warm:     warming{Warm: cfg.Warm},
		slots:    make([]slot, len(cfg.Backends)),
		tiers:    newTiers(cfg.Backends),
	}
	for i, c := range cfg.Backends {
		p.slots[i].join(tierOf(p.tiers, c.Priority), i, c)
	}
	for i := range p.tiers {
		p.tiers[i].order = newOrder(len(p.tiers[i].members))
	}
	for i := range p.slots {
		if s := &p.slots[i]; s.usable() {
			p.usable++
			s.tier.healthy++
		}
		p.slots[i].enlist()
	}
	for i := range p.tiers {
		p.tiers[i].minHealthy = max(min(cfg.MinHealthy, p.tiers[i].healthy), 1)
	}
	p.active = p.takeOver(time.Time{})
	p.warm.tier = p.nextUsable(p.active)
	return p, nil
}

// join makes s the slot of a backend that is up, and has it join its tier.
func (s *slot) join(t *tier, index int, c BackendConfig) {
	s.id = &Backend{index: index, name: c.Name, site: c.Site, tier: c.Priority}
	s.tier, s.place = t, len(t.members)
	t.members = append(t.members, index)
	s.weight, s.maxSessions = int64(c.Weight), int64(c.MaxSessions)
	s.setPart(1)
	s.reason = "up since the start"
}

// lock takes the pool's lock for a step that every session takes. Such a step is over in some 20 ns: whoever finds the lock
// taken looks again a few times, before sync.Mutex pauses for longer than that or puts an event loop's thread to sleep.
func (p *Pool) lock() {
	for range 20 {
		if p.mu.TryLock() {
			return
		}
	}
	p.mu.Lock()
}

// unlock tells what has changed, and lets the lock go, even if who is told panics.
func (p *Pool) unlock() {
	if len(p.news) > 0 {
		defer p.mu.Unlock()
		p.notify()
		return
	}
	p.mu.Unlock()
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.name }

// Len returns the number of backends, up or not: their indexes are 0 to Len-1.
func (p *Pool) Len() int { return len(p.slots) }

// Acquire chooses a backend for a session and takes a slot on it; the package comment has the rule. tried holds the
// indexes of the backends that this session has asked already: none of them is chosen again. The lease must be ended,
// by Fail or Release.
//
// The error is ErrDown, ErrFull, ErrTried or ErrRamp, and the lease then holds nothing. Acquire does not keep tried, and
// allocates only where a change is to be told.
func (p *Pool) Acquire(now time.Time, tried []int) (Lease, error) {
	p.lock()
	p.advance(now)
	lease, err := p.pick(now, tried)
	p.unlock()
	return lease, err
}
