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
	name     string
	rise     int
	fall     int
	onChange func(Change)

	mu     sync.Mutex
	slots  []slot // by index; the slice itself never changes
	tiers  []tier // by priority
	usable int    // backends that are up and have a weight

	changes   []Change // not yet told to onChange
	notifying bool     // a goroutine is telling them
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
		rise:     cfg.rise(),
		fall:     cfg.fall(),
		onChange: cfg.OnChange,
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
		if p.slots[i].usable() {
			p.usable++
		}
		p.slots[i].enlist()
	}
	return p, nil
}

// join makes s the slot of a backend that is up, and has it join its tier.
func (s *slot) join(t *tier, index int, c BackendConfig) {
	s.id = &Backend{index: index, name: c.Name, site: c.Site, tier: c.Priority}
	s.tier, s.place = t, len(t.members)
	t.members = append(t.members, index)
	s.weight, s.maxSessions = int64(c.Weight), int64(c.MaxSessions)
	if c.Weight > 0 {
		s.stride = 1 / float64(c.Weight)
	}
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

// Name returns the pool's name.
func (p *Pool) Name() string { return p.name }

// Len returns the number of backends, up or not: their indexes are 0 to Len-1.
func (p *Pool) Len() int { return len(p.slots) }

// Acquire chooses a backend for a session and takes a slot on it; the package comment has the rule. tried holds the
// indexes of the backends that this session has asked already: none of them is chosen again. The lease must be ended,
// by Fail or Release.
//
// The error is ErrDown, ErrFull or ErrTried, and the lease then holds nothing. Acquire does not allocate and does not
// keep tried.
func (p *Pool) Acquire(_ time.Time, tried []int) (Lease, error) {
	p.lock()
	backend, err := p.pick(tried)
	p.mu.Unlock()
	if err != nil {
		return Lease{}, err
	}
	return Lease{pool: p, backend: backend}, nil
}
