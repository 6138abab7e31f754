package sim

import (
	"math/rand/v2"
	"time"

	"smtplb/balancer"
)

// day is one balancer's day: its pool, its servers' mail and its checks, event after event. It shares nothing with the other
// balancers' days but the fleet, which does not change, so that days can be run in any order and side by side.
type day struct {
	cfg   *Config
	fleet *fleet
	plan  *plan
	pool  *balancer.Pool

	at       time.Duration
	events   queue
	arrivals *arrivals
	rng      *rand.Rand // which server, and how long
	servers  []server
	sessions []session
	free     []int32 // of sessions, those not in use
	running  int     // sessions that are in use
	hedging  int     // of those, how many ask two relays
	scratch  []int
	watches  []watch
	restless time.Duration // until then no watch sleeps
	ledger   *ledger
	tier     int     // in use, by its priority
	warmth   []uint8 // what became of each session that might have kept the standby warm

	greetings *greetings
	setups    *setups

	result dayResult

	everyProbe bool // no watch sleeps; for tests: that makes no difference but of time
	checks     int  // made
}

// dayResult is what a balancer's day comes to, besides its ledger.
type dayResult struct {
	sessions  [phases]int64 // that a relay greeted well
	attempts  [phases]int64 // at a relay
	most      int           // attempts of one session
	hedged    int64         // times that a second relay was asked beside a late one
	overtaken int64         // times that one was late which would have greeted
	held      int64         // sessions that waited because their server ran as many as it may
	failed    failures
	warm      warmth
	moves     moves
}

func newDay(cfg *Config, f *fleet, number int) (*day, error) {
	p := &f.plans[number]
	traffic := rand.New(rand.NewPCG(cfg.Seed, uint64(number)))
	d := &day{
		cfg: cfg, fleet: f, plan: p,
		arrivals: newArrivals(traffic, p.sessions), rng: traffic,
		servers: make([]server, p.servers),
		result:  dayResult{moves: newMoves(cfg, p)},

		greetings: newGreetings(cfg.Seed, number, p), setups: newSetups(),
	}
	var err error
	if d.pool, err = f.newPool(p, cfg.KeepWarm, news{d.changed, d.tiering, d.hasten}); err != nil {
		return nil, err
	}
	shift := traffic.Float64()
	weight, tier := make([]float64, len(p.pool)), make([]int, len(p.pool))
	for i, number := range p.pool {
		weight[i] = float64(f.relays[number].weight)
		if i >= p.local {
			tier[i] = 1
		}
	}
	d.ledger = newLedger(weight, tier)
	for i := range p.pool {
		d.watches = append(d.watches, newWatch(cfg.Seed, uint64(number), i, shift))
	}
	return d, nil
}

// run lets the day pass.
func (d *day) run() {
	for i, number := range d.plan.pool {
		for _, f := range d.fleet.relays[number].faults {
			d.events.push(f.from, relayFails, i)
		}
		if d.everyProbe {
			d.watches[i].asleep = false
			d.events.push(d.watches[i].due, probeDue, i)
		}
	}
	arrival, more := d.arrivals.next()
	for {
		at, waiting := d.events.next()
		switch {
		case more && (!waiting || arrival <= at):
			d.at = arrival
			d.arrive()
			arrival, more = d.arrivals.next()
		case waiting && at < wholeDay:
			e := d.events.pop()
			d.at = e.at
			d.happen(e)
		default:
			d.ledger.settle()
			d.result.warm.count(d.warmth, d.cfg.KeepWarm)
			return
		}
	}
}

func (d *day) happen(e event) {
	who := int(e.who)
	switch e.kind {
	case sessionEnds:
		s := &d.sessions[who]
		s.lease.Release(d.now())
		server := s.server
		d.end(who)
		d.serve(server)
	case sessionLooks:
		d.look(who)
	case serverRetries:
		d.serve(who)
	case relayFails:
		d.wake(who)
	case probeDue:
		d.probe(who)
	case probeFails:
		d.probed(who, d.watches[who].outcome)
	}
}

// now is the time as the balancer takes it.
func (d *day) now() time.Time { return time.Unix(0, int64(d.at)) }

// changed hears from the pool that a relay is in another state.
func (d *day) changed(index int, c balancer.Change) {
	if up := c.To == balancer.Up; d.ledger.up[index] != up {
		d.ledger.turn(index, up)
		if index < d.plan.local {
			d.result.moves.turned(d.at, up)
		}
	}
	d.rouse(time.Duration(c.Until.UnixNano()), !c.Until.IsZero())
}

// rouse has every relay checked at its turns while something may come due in the pool: the end of an ejection, the
// steps of a slow start, the way back of the sessions. The pool has no timer, it does what is due at the next call, and in a
// quiet hour that is a check.
func (d *day) rouse(until time.Duration, set bool) {
	from := d.at
	if set {
		from = max(from, until)
	}
	d.restless = max(d.restless, from+failbackDelay+slowStart)
	for i := range d.watches {
		d.wake(i)
	}
}

func (d *day) faultOf(index int) *fault {
	return faultAt(d.fleet.relays[d.plan.pool[index]].faults, d.at)
}

// wake has a relay checked from its next turn on.
func (d *day) wake(index int) {
	if w := &d.watches[index]; w.asleep {
		w.wake(d.at)
		d.events.push(w.due, probeDue, index)
	}
}

// hasten has a relay checked soon, because a session failed there.
func (d *day) hasten(index int) {
	d.wake(index)
	w := &d.watches[index]
	due := w.due
	w.hasten(d.at)
	if w.due != due {
		d.events.push(w.due, probeDue, index)
	}
}

// probe begins a check, unless it was brought forward and has been made.
func (d *day) probe(index int) {
	w := &d.watches[index]
	if w.running || w.asleep || w.due != d.at {
		return
	}
	w.began = d.at
	w.outcome = balancer.OK
	if f := d.faultOf(index); f != nil {
		w.outcome = f.outcome
	}
	if wait := takes(w.outcome); wait > 0 {
		w.running = true
		d.events.push(d.at+wait, probeFails, index)
		return
	}
	d.probed(index, w.outcome)
}

// probed reports a check, and plans the next one.
func (d *day) probed(index int, outcome balancer.Outcome) {
	d.checks++
	d.pool.Probe(d.now(), index, verdictOf(outcome), outcome.String())
	w := &d.watches[index]
	settled := w.result(d.at, d.pool.Doubtful(index))
	if settled && outcome == balancer.OK && d.at >= d.restless && !d.everyProbe {
		w.asleep = true // the relay is up, and in no doubt
		return
	}
	d.events.push(w.due, probeDue, index)
}
