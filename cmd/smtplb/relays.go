package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"smtplb/balancer"
	"smtplb/internal/config"
	"smtplb/probes"
)

// relays is a pool at work: who is chosen, and how each is checked. Its methods
// are for one goroutine at a time.
type relays struct {
	name     string
	together balancer.Together
	balancer *balancer.Pool
	found    map[string]string // see plan

	ids    atomic.Pointer[map[string]int] // of the backends, by name
	checks atomic.Pointer[probes.Scheduler]
	probe  config.Probe // what checks were made of
	stop   func()       // ends the checks that run, and waits for that
}

// newRelays makes the pool of a plan. Its checks do not run yet.
func newRelays(p *plan, together balancer.Together, tell news) (*relays, error) {
	r := &relays{name: p.policy.Name, together: together, found: p.found, stop: func() {}}
	pool, err := balancer.New(r.policy(p, tell))
	if err != nil {
		return nil, fmt.Errorf("pool %s: %w", r.name, err)
	}
	r.balancer = pool
	r.nameBackends()
	if err := r.newChecks(p, tell); err != nil {
		return nil, err
	}
	return r, nil
}

// policy is the plan's, with what is to be told to whom.
func (r *relays) policy(p *plan, tell news) balancer.Config {
	c := p.policy
	c.Together = r.together
	c.OnChange, c.OnTierChange = tell.change, tell.tierChange
	// A relay that failed a session is checked soon.
	c.OnFailure = func(b *balancer.Backend, _ balancer.Outcome) { r.checks.Load().Hurry(b.Name()) }
	return c
}

func (r *relays) nameBackends() {
	ids := map[string]int{}
	for _, b := range r.balancer.Backends() {
		ids[b.Name()] = b.ID()
	}
	r.ids.Store(&ids)
}

// id is a backend's; -1 if it is none of this pool, which no call minds.
func (r *relays) id(name string) int {
	if id, ok := (*r.ids.Load())[name]; ok {
		return id
	}
	return -1
}

// newChecks makes a scheduler for the plan; it does not run yet.
func (r *relays) newChecks(p *plan, tell news) error {
	doubts := doubts{said: map[string]string{}}
	s := &probes.Scheduler{
		Check: check(p.probe.Type), Interval: p.probe.Interval, FastInterval: p.probe.FastInterval,
		Report: func(t probes.Target, res probes.Result) {
			doubts.over(t.Name)
			r.balancer.Probe(time.Now(), r.id(t.Name), verdict(&res), res.Reason())
		},
		Inconclusive: func(t probes.Target, res probes.Result) {
			if doubts.news(t.Name, res.Reason()) {
				tell.unchecked(r.name, t.Name, res.Reason())
			}
		},
		Fast: func(t probes.Target) bool { return r.balancer.Doubtful(r.id(t.Name)) },
	}
	if err := s.Set(p.targets...); err != nil {
		return fmt.Errorf("pool %s: %w", r.name, err)
	}
	r.checks.Store(s)
	r.probe = p.probe
	return nil
}

// start has the checks run until ctx ends or stop is called.
func (r *relays) start(ctx context.Context, log *zap.Logger) {
	ctx, cancel := context.WithCancel(ctx)
	checks := r.checks.Load()
	var running sync.WaitGroup
	running.Go(func() {
		if err := checks.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			log.Error("probes", zap.String("pool", r.name), zap.Error(err))
		}
	})
	r.stop = func() {
		cancel()
		running.Wait()
	}
}

// change goes by another plan from now on; what is known of the relays stays.
func (r *relays) change(ctx context.Context, p *plan, tell news, log *zap.Logger) error {
	if err := r.balancer.Reconfigure(time.Now(), r.policy(p, tell)); err != nil {
		return err
	}
	r.nameBackends()
	r.found = p.found
	was, is := &r.probe, &p.probe
	if was.Type == is.Type && was.Interval == is.Interval && was.FastInterval == is.FastInterval {
		r.probe = p.probe
		return r.checks.Load().Set(p.targets...)
	}
	r.stop()
	if err := r.newChecks(p, tell); err != nil {
		return err
	}
	r.start(ctx, log)
	return nil
}
