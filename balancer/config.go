package balancer

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// MaxWeight is the largest weight a backend may have.
const MaxWeight = 1000

const (
	defaultRise     = 2
	defaultFall     = 3
	defaultFailures = 3
	defaultEject    = 30 * time.Second
	defaultMaxEject = 5 * time.Minute
)

// Config describes a pool. New copies what it needs: the caller may reuse it.
type Config struct {
	Name     string          // for people and metrics; required
	Backends []BackendConfig // none yet: Acquire returns ErrDown, until Reconfigure adds some

	Rise int // good checks in a row that bring a backend up; 0: 2
	Fall int // failed checks in a row that take it down; 0: 3

	Failures int           // failed sessions in a row that eject a backend; 0: 3
	Eject    time.Duration // for how long at first; 0: 30 s
	MaxEject time.Duration // and at most, as it doubles each time; 0: 5 min

	MinHealthy    int           // a tier with fewer backends up is not usable; 0: 1; all of them, where it has fewer
	FailbackDelay time.Duration // how long a tier must have been usable before sessions come back to it
	Warm          Warm          // what the next tier down is given while it is not needed
	Ramp          Ramp          // what a tier is given at first that was idle when it took over
	SlowStart     time.Duration // how long a backend that came back takes to its full weight; not at the start
	Together      Together      // with how many balancers the limits are shared

	// Hedge is how long a greeting may take before another relay is asked beside it. 0: three times what the relay's
	// greetings usually take (the 99th percentile), 1 s at least; negative: for ever.
	Hedge time.Duration

	// OnChange is told of each backend that changes its state, OnTierChange of each failover; nil: nobody asks. They
	// run without the pool's lock, on the goroutine of whoever brought the evidence (or of one that brought some at the
	// same time): one call at a time, in the order of the changes. They may call the pool.
	OnChange     func(Change)
	OnTierChange func(TierChange)

	// OnFailure is told of each failed attempt of a session, so that the backend can be checked soon. It runs on the
	// goroutine that called Fail, several at a time, and must not block.
	OnFailure func(*Backend, Outcome)
}

// Ramp limits a tier that takes over and has had no session for as long as Over. What it takes of the new sessions grows from
// Start, a part of 1, to all; the others get ErrRamp.
type Ramp struct {
	Over  time.Duration // 0: it takes all at once
	Start float64
}

// BackendConfig describes one backend. Its position in the Config.Backends of a new pool is its ID.
type BackendConfig struct {
	Name string // unique in the pool; required
	Site string // a label, for people

	// Key is what makes it the relay that it is, such as its address: by it Reconfigure knows a backend again that has
	// another name. "": its name does.
	Key string

	Data any // the caller's own, handed out by Backend.Data: where it is, say

	Weight      int // its part of the sessions, 0 to MaxWeight; 0 takes no new sessions
	Priority    int // the tier: 0 is used first
	MaxSessions int // running sessions at most; 0: no limit
}

// settings fills in the defaults.
func (c *Config) settings() settings {
	s := settings{
		rise:          cmp.Or(c.Rise, defaultRise),
		fall:          cmp.Or(c.Fall, defaultFall),
		failures:      int64(cmp.Or(c.Failures, defaultFailures)),
		eject:         cmp.Or(c.Eject, defaultEject),
		maxEject:      cmp.Or(c.MaxEject, defaultMaxEject),
		failbackDelay: c.FailbackDelay,
		slowStart:     c.SlowStart,
		ramp:          c.Ramp,
		together:      c.Together,
		onChange:      c.OnChange,
		onTierChange:  c.OnTierChange,
		onFailure:     c.OnFailure,
	}
	s.maxEject = max(s.maxEject, s.eject)
	return s
}

// Check returns every mistake of the configuration, joined: what New would.
func (c *Config) Check() error {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("balancer: pool %q: "+format, append([]any{c.Name}, args...)...))
	}
	if c.Name == "" {
		wrong("no name: give one, logs and metrics need it")
	}
	if c.Rise < 0 {
		wrong("rise %d: want 1 or more, or 0 for the default of %d", c.Rise, defaultRise)
	}
	if c.Fall < 0 {
		wrong("fall %d: want 1 or more, or 0 for the default of %d", c.Fall, defaultFall)
	}
	for _, err := range c.checkFailover() {
		wrong("%w", err)
	}
	if t := c.Together; t.Balancers < 0 || t.Rank < 0 || t.Rank >= max(t.Balancers, 1) {
		wrong("rank %d of %d balancers: want 0 to one below their number", t.Rank, t.Balancers)
	}
	seen := make(map[string]int, len(c.Backends))
	for i, b := range c.Backends {
		if first, dup := seen[b.Name]; dup && b.Name != "" {
			wrong("backends[%d]: name %q is taken by backends[%d]: names must differ", i, b.Name, first)
		} else {
			seen[b.Name] = i
		}
		for _, err := range b.check() {
			wrong("backends[%d] %q: %w", i, b.Name, err)
		}
	}
	return errors.Join(errs...)
}

// checkFailover returns what is wrong about ejections and tiers.
func (c *Config) checkFailover() (errs []error) {
	negative := func(name string, is bool) {
		if is {
			errs = append(errs, fmt.Errorf("%s: want 0 or more", name))
		}
	}
	negative("failures", c.Failures < 0)
	negative("eject", c.Eject < 0)
	negative("max_eject", c.MaxEject < 0)
	negative("min_healthy", c.MinHealthy < 0)
	negative("failback_delay", c.FailbackDelay < 0)
	negative("slow_start", c.SlowStart < 0)
	negative("ramp over", c.Ramp.Over < 0)
	negative("warm sessions an hour", c.Warm.MinPerHour < 0)
	negative("warm sessions", c.Warm.MaxSessions < 0)
	if w := c.Warm.Share; !(w >= 0 && w <= 1) {
		errs = append(errs, fmt.Errorf("warm share %v: want 0 to 1", w))
	}
	if s := c.Ramp.Start; c.Ramp.Over > 0 && !(s > 0 && s <= 1) {
		errs = append(errs, fmt.Errorf("ramp start %v: want above 0, up to 1", s))
	}
	return errs
}

func (b *BackendConfig) check() (errs []error) {
	if b.Name == "" {
		errs = append(errs, errors.New("no name: give one, unique in the pool"))
	}
	if b.Weight < 0 || b.Weight > MaxWeight {
		errs = append(errs, fmt.Errorf("weight %d: want 0 to %d", b.Weight, MaxWeight))
	}
	if b.Priority < 0 {
		errs = append(errs, fmt.Errorf("priority %d: want 0 or more", b.Priority))
	}
	if b.MaxSessions < 0 {
		errs = append(errs, fmt.Errorf("max_sessions %d: want 1 or more, or 0 for no limit", b.MaxSessions))
	}
	return errs
}
