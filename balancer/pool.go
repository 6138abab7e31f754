package balancer

import (
	"cmp"
	"errors"
	"slices"
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
	slots  []slot // by index
	tiers  []tier // by priority
	tree   forest // the pickable backends, a tree for each tier
	usable int    // backends that are up and have a weight

	changes   []Change // not yet told to onChange
	notifying bool     // a goroutine is telling them
}

// New makes a pool, every backend up and without sessions. The error names every mistake of cfg, not only the first.
func New(cfg Config) (*Pool, error) {
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
		tree:     newForest(len(cfg.Backends)),
	}
	for i, c := range cfg.Backends {
		p.slots[i] = newSlot(i, c, p.tiers)
		if p.slots[i].usable() {
			p.usable++
		}
		p.enlist(i)
	}
	return p, nil
}

func newSlot(index int, c BackendConfig, tiers []tier) slot {
	place, _ := slices.BinarySearchFunc(tiers, c.Priority, func(t tier, priority int) int {
		return cmp.Compare(t.priority, priority)
	})
	s := slot{
		id:          &Backend{index: index, name: c.Name, site: c.Site, tier: c.Priority},
		tier:        place,
		weight:      int64(c.Weight),
		maxSessions: int64(c.MaxSessions),
		health:      health{state: Up, reason: "up since the start"},
	}
	if c.Weight > 0 {
		s.stride = 1 / float64(c.Weight)
	}
	return s
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
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.setAside(tried)
	index, found := p.choose()
	if found {
		p.charge(index)
	}
	p.putBack(tried)
	switch {
	case found:
		return Lease{pool: p, backend: p.slots[index].id}, nil
	case p.usable == 0:
		return Lease{}, ErrDown
	case asked == p.usable:
		return Lease{}, ErrTried
	default:
		return Lease{}, ErrFull
	}
}
