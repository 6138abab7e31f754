package balancer

import (
	"errors"
	"sync"
	"sync/atomic"
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
	rules    []rule
	newOrder func(size int) order

	hedge atomic.Int64 // Config.Hedge, for who waits for no lock

	mu sync.Mutex // guards what is below
	settings
	slots   []*slot   // in the order of the configuration
	leaving []*slot   // those that Reconfigure took out and that sessions still run on
	byID    []*slot   // nil where it took one out
	tiers   []*tier   // by priority
	usable  int       // backends that are up and have a weight
	active  int       // the tier in use, by its index
	warm    warming   // sessions for the next tier down
	late    []*slot   // the backends with a late greeting
	refused uint64    // times that nobody was found for a session
	wake    time.Time // when advance has something to do; zero: never

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
	together        Together
	onChange        func(Change)
	onTierChange    func(TierChange)
	onFailure       func(*Backend, Outcome)
}

// New makes a pool, every backend up and without sessions. The error names every mistake of cfg, not only the first.
func New(cfg Config) (*Pool, error) { return newPool(cfg, newOrder) }

// newPool is New with another order of a tier's backends, for tests.
func newPool(cfg Config, newOrder func(size int) order) (*Pool, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	p := &Pool{name: cfg.Name, rules: rules(), newOrder: newOrder}
	p.apply(time.Time{}, &cfg)
	p.active = p.takeOver(time.Time{})
	p.warm.tier = p.nextUsable(p.active)
	return p, nil
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
	if len(p.news) == 0 {
		p.mu.Unlock()
		return
	}
	p.unlockTelling()
}

func (p *Pool) unlockTelling() {
	defer p.mu.Unlock()
	p.notify()
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.name }

// Backends returns the backends, up or not, in the order of the configuration.
func (p *Pool) Backends() []*Backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*Backend, len(p.slots))
	for i, s := range p.slots {
		all[i] = s.id
	}
	return all
}

// slot returns the slot of a backend that is configured; nil for any other number.
func (p *Pool) slot(id int) *slot {
	if uint(id) >= uint(len(p.byID)) {
		return nil
	}
	return p.byID[id]
}

// Acquire chooses a backend for a session and takes a slot on it; the package comment has the rule. tried holds the
// IDs of the backends that this session has asked already: none of them is chosen again. The lease must be ended,
// by Fail or Release.
//
// The error is ErrDown, ErrFull, ErrTried or ErrRamp, and the lease then holds nothing. Acquire does not keep tried, and
// allocates only where a change is to be told.
func (p *Pool) Acquire(now time.Time, tried []int) (Lease, error) {
	p.lock()
	p.advance(now)
	s, m, err := p.pick(now, tried)
	if err != nil {
		p.unlock()
		return Lease{}, err
	}
	id := s.id // before another configuration gives it another one
	p.unlock()
	return Lease{p, s, id, m}, nil
}
