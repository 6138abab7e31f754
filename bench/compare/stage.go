package compare

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"smtplb/bench/compare/proc"
	"smtplb/bench/result"
)

// stage is a part of the comparison that can be asked for by its name.
type stage struct {
	name    string
	about   string                            // for the help text
	seconds func(*lab) float64                // about how long it takes
	run     func(context.Context, *lab) error // reports what it has when the context ends
}

func stages() []stage {
	return []stage{
		{"cpu_short", "CPU per session with one message of 4 KB", (*lab).shortSeconds, runShort},
		{"cpu_long", "CPU per session with 20 such messages", (*lab).longSeconds, runLong},
		{"cpu_gb", "CPU per GB in messages of 20 MB", (*lab).gigabyteSeconds, runGigabyte},
		{"memory", "memory per idle session", (*lab).memorySeconds, runMemory},
		{"latency", "added latency at half load", (*lab).latencySeconds, runLatency},
		{"cores", "sessions per second with 1, 2 and all cores", (*lab).coresSeconds, runCores},
		{"log", "what smtplb's session log costs", (*lab).logSeconds, runLog},
		{"faults", "failed sessions and slowest greeting while one relay of two is ill", (*lab).faultsSeconds, runFaults},
		{"shares", "shares against weights at 1 to 200 connections", (*lab).sharesSeconds, runShares},
	}
}

// amounts are how much of everything is done.
type amounts struct {
	short, long  int64 // sessions of one sample
	big          int64 // messages of 20 MB
	warm         int64 // sessions before the first sample of a start
	held         [2]int
	latency      time.Duration
	cores        time.Duration
	shares       int64 // sessions at each concurrency
	healthy, ill time.Duration
}

func amountsOf(quick bool) amounts {
	if quick {
		return amounts{
			short: 150, long: 20, big: 10, warm: 20, held: [2]int{100, 600},
			latency: time.Second / 2, cores: time.Second / 2, shares: 400,
			healthy: time.Second, ill: 2 * time.Second,
		}
	}
	return amounts{
		short: 3000, long: 400, big: 50, warm: 200, held: [2]int{1000, 6000},
		latency: time.Second / 2, cores: 1500 * time.Millisecond, shares: 1600,
		healthy: 3 * time.Second, ill: 9 * time.Second,
	}
}

// holding is held, or fewer where descriptors are short.
func (a amounts) holding() ([2]int, error) {
	most, err := mostSessions(usually)
	if err != nil {
		return a.held, err
	}
	if most < a.held[1] {
		if most < 10 {
			return a.held, fmt.Errorf("the limit of open files leaves room for %d sessions: raise it (ulimit -n)", max(most, 0))
		}
		return [2]int{most / 6, most}, nil
	}
	return a.held, nil
}

// site is what peers are started for, with one service.
func (l *lab) site(relays []relay) site {
	return site{
		Workers:  1,
		Sessions: l.amounts.held[1] + 100,
		Services: []service{{Name: "smarthost", Relays: relays}},
	}
}

// variant is a peer that is started in a way of its own.
type variant struct {
	key  string // for its samples
	peer *peer
	site site
	cpus proc.CPUs
}

// variants are the peers that want is true of, all for the same site, on the
// first of the balancers' CPUs.
func (l *lab) variants(s site, want func(*peer) bool) []variant {
	var all []variant
	for _, p := range l.wanted(want) {
		all = append(all, variant{p.name, p, s, l.options.BalancerCPUs[:1]})
	}
	return all
}

// rounds has f measure each variant once a round, freshly started and alone.
// Whoever was first in a round is last in the next. What goes wrong with one is
// noted, and the others go on.
func (l *lab) rounds(ctx context.Context, name string, rounds int, seconds float64, all []variant, f func(ctx context.Context, v variant, i *instance, round int) error) {
	for round, order := range turns(rounds, len(all)) {
		for _, k := range order {
			v := all[k]
			if ctx.Err() != nil {
				return
			}
			l.progress.next(time.Now(), seconds, "%s, round %d of %d: %s", name, round+1, rounds, v.key)
			if err := l.one(ctx, v, func(i *instance) error { return f(ctx, v, i, round) }); err != nil && ctx.Err() == nil {
				l.note("%s, round %d: %v", name, round+1, err)
			}
		}
	}
	l.progress.end()
}

// turns says who comes when: by round and place, so that nobody is always in the
// same place, and whoever was first is last in the next round.
func turns(rounds, n int) [][]int {
	order := make([][]int, rounds)
	for round := range order {
		for place := range n {
			order[round] = append(order[round], (place+round)%n)
		}
	}
	return order
}

// one starts a variant for the length of f.
func (l *lab) one(ctx context.Context, v variant, f func(*instance) error) error {
	i, err := v.peer.start(ctx, v.site, v.cpus)
	if err != nil {
		return err
	}
	runtime.GC() // so that each begins with the load in the same state
	return v.end(i, f(i))
}

// end stops what was started; err is what was wrong with it so far.
func (v *variant) end(i *instance, err error) error {
	if failed := i.failure(); failed != nil {
		err = failed // says more
	}
	if stopped := i.stop(); err == nil {
		err = stopped
	}
	if err != nil {
		return fmt.Errorf("%s: %w", v.key, err)
	}
	return nil
}

// measure adds a measure to the report, unless nothing was measured. Without
// smtplb there is nobody to judge, and a quick look judges no number. caveats
// that are empty are none.
func (l *lab) measure(m result.Measure, caveats ...string) {
	if l.peer(smtplb) == nil || l.options.Quick {
		m.Bar, caveats = nil, nil
	}
	for _, c := range caveats {
		if c != "" && m.Note != "" {
			m.Note += " "
		}
		m.Note += c
	}
	if len(m.Cells) > 0 || m.Bar != nil {
		l.out.Measures = append(l.out.Measures, m)
	}
}
