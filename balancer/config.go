package balancer

import (
	"errors"
	"fmt"
)

// MaxWeight is the largest weight a backend may have.
const MaxWeight = 1000

const (
	defaultRise = 2
	defaultFall = 3
)

// Config describes a pool. New copies what it needs: the caller may reuse it.
type Config struct {
	Name     string // for people and metrics; required
	Backends []BackendConfig

	Rise int // good probes in a row that bring a backend up; 0: 2
	Fall int // failures in a row that take it down; 0: 3

	// OnChange is called for each backend that goes down or comes up; nil: nobody asks. It runs without the pool's
	// lock, on the goroutine of whoever reported the evidence (or of one that reported at the same time): one call at a
	// time, in the order of the changes. It may call the pool.
	OnChange func(Change)
}

// BackendConfig describes one backend. Its position in Config.Backends is its index, by which sessions and probes name it.
type BackendConfig struct {
	Name string // unique in the pool; required
	Site string // a label, for people

	Weight      int // its part of the sessions, 0 to MaxWeight; 0 takes no new sessions
	Priority    int // the tier: 0 is used first
	MaxSessions int // running sessions at most; 0: no limit
}

func (c *Config) rise() int {
	if c.Rise == 0 {
		return defaultRise
	}
	return c.Rise
}

func (c *Config) fall() int {
	if c.Fall == 0 {
		return defaultFall
	}
	return c.Fall
}

// check returns every mistake of the configuration, joined.
func (c *Config) check() error {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("balancer: pool %q: "+format, append([]any{c.Name}, args...)...))
	}
	if c.Name == "" {
		wrong("no name: give one, logs and metrics need it")
	}
	if len(c.Backends) == 0 {
		wrong("no backends: give at least one")
	}
	if c.Rise < 0 {
		wrong("rise %d: want 1 or more, or 0 for the default of %d", c.Rise, defaultRise)
	}
	if c.Fall < 0 {
		wrong("fall %d: want 1 or more, or 0 for the default of %d", c.Fall, defaultFall)
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
