package sim

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// Run simulates the day and reports. The report is the same for the same Config, however many CPUs there are. The error names
// every mistake of the Config, or is that of ctx, which ends a run between two balancers' days.
//
// It runs GOMAXPROCS days at a time. The default fleet needs about half a gigabyte.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	r := newRun(&cfg)
	if err := r.all(ctx); err != nil {
		return nil, err
	}
	return r.report(), nil
}

// run is a fleet's day, while it is put together from the balancers'.
type run struct {
	cfg   *Config
	fleet *fleet

	next atomic.Int64 // the balancer whose day is next

	mu      sync.Mutex
	loads   *loads
	setups  *setups
	results []dayResult // by balancer
	ledgers []*ledger   // by balancer, without their loads
}

func newRun(cfg *Config) *run {
	return &run{
		cfg: cfg, fleet: newFleet(cfg), loads: newLoads(cfg.Relays), setups: newSetups(),
		results: make([]dayResult, cfg.Balancers), ledgers: make([]*ledger, cfg.Balancers),
	}
}

// all runs every balancer's day. A day depends on nothing but the Config and its number, and what it adds to others' is in
// whole numbers, so the order is of no consequence.
func (r *run) all(ctx context.Context) error {
	workers := min(runtime.GOMAXPROCS(0), r.cfg.Balancers)
	errs := make([]error, workers)
	var done sync.WaitGroup
	for i := range workers {
		done.Go(func() { errs[i] = r.some(ctx) })
	}
	done.Wait()
	return errors.Join(errs...)
}

// some runs days until there is none left.
func (r *run) some(ctx context.Context) error {
	for {
		number := int(r.next.Add(1)) - 1
		if number >= r.cfg.Balancers {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.one(number); err != nil {
			return fmt.Errorf("balancer %d: %w", number, err)
		}
	}
}

func (r *run) one(number int) error {
	d, err := newDay(r.cfg, r.fleet, number)
	if err != nil {
		return err
	}
	d.run()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loads.add(d.plan, d.ledger)
	r.setups.merge(d.setups)
	d.ledger.forgetLoads()
	r.results[number], r.ledgers[number] = d.result, d.ledger
	return nil
}
