package sim

import (
	"testing"
	"time"

	"smtplb/balancer"
)

// quiet is a day without faults and mail, at ten, with what the tests put there.
func quiet(t *testing.T, outcome balancer.Outcome, failing ...int) *day {
	t.Helper()
	c := small()
	c.FailFor, c.RelayFaults, c.KeepWarm = 0, 0, 0
	f := newFleet(&c)
	d := mustDay(t, &c, f, 0)
	d.at = 10 * time.Hour
	for _, i := range failing {
		f.relays[d.plan.pool[i]].faults = []fault{{d.at, d.at + time.Hour, outcome}}
	}
	return d
}

// passes lets events happen until this long has gone by.
func (d *day) passes(long time.Duration) {
	until := d.at + long
	for {
		at, more := d.events.next()
		if !more || at > until {
			d.at = until
			return
		}
		e := d.events.pop()
		d.at = e.at
		d.happen(e)
	}
}

func (d *day) failuresOf(index int) uint64 { return d.pool.Snapshot(d.now())[index].Failures }

// patient is how long a relay may be late whose habit is not known.
const patient = 8 * time.Second

// A silent relay costs a session no more than the balancer's patience: then another one is asked, and wins.
func TestSecondRelayOvertakesASilentOne(t *testing.T) {
	first := firstAsked(t)
	for _, outcome := range []balancer.Outcome{balancer.GreetingTimeout, balancer.ConnectTimeout} {
		d := quiet(t, outcome, first)
		began := d.at
		d.begin(0, time.Hour)
		patience := min(patient, takes(outcome)) // a connection is given up before
		d.passes(patience - 1)
		if d.result.attempts[healthy] != 1 || d.hedging != 0 {
			t.Fatalf("%s: %d relays asked before it is late", outcome, d.result.attempts[healthy])
		}
		d.passes(1)
		if hedges := outcome == balancer.GreetingTimeout; d.result.attempts[healthy] != 2 || (d.hedging == 1) != hedges {
			t.Fatalf("%s: %d relays asked, %d hedges when it is late", outcome, d.result.attempts[healthy], d.hedging)
		}
		d.passes(5 * time.Second)
		if d.result.sessions[healthy] != 1 || d.hedging != 0 || d.failuresOf(first) != 1 {
			t.Errorf("%s: %+v, %d hedge, %d failures of the silent one: want a session, and one failure", outcome, d.result, d.hedging, d.failuresOf(first))
		}
		if took := d.setups[healthy].worst; took <= patience || took > patience+5*time.Second || d.at-began < took {
			t.Errorf("%s: it took %s", outcome, took)
		}
	}
}

// firstAsked is whose turn it is in a new pool.
func firstAsked(t *testing.T) int {
	t.Helper()
	d := quiet(t, balancer.OK)
	d.begin(0, time.Hour)
	return d.sessions[0].index
}

// A relay that is late and greets after all is not failed, and the one beside it asked in vain is not either.
func TestLateRelayMayStillWin(t *testing.T) {
	first := firstAsked(t)
	d := quiet(t, balancer.OK)
	for i := range d.greetings.median {
		d.greetings.median[i] = 1000 // seconds
	}
	d.begin(0, time.Hour)
	s := &d.sessions[0]
	s.ends = d.at + patient + time.Second
	d.passes(patient + time.Second - 1)
	if s.lastAsked() != &s.second || d.hedging != 1 {
		t.Fatalf("session %+v, %d hedge: want a second relay to be asked", s, d.hedging)
	}
	d.passes(1)
	if d.result.hedged != 1 || s.index != first || len(s.tried) != 0 || d.hedging != 0 {
		t.Fatalf("%+v, session %+v: want it on the first, after a hedge", d.result, s)
	}
	for i, b := range d.pool.Snapshot(d.now()) {
		if b.Failures != 0 || b.Active != 0 && i != first {
			t.Errorf("relay %d: %+v, want no failure, and a session on the first only", i, b)
		}
	}
}

// When two relays are late, the first makes room for a third; a site that is silent costs a session the patience with as many
// of its relays as it asks, and no timeout.
func TestFirstOfTwoLateOnesMakesRoom(t *testing.T) {
	var home []int
	d := quiet(t, balancer.OK)
	for i := range d.plan.local {
		home = append(home, i)
	}
	d = quiet(t, balancer.GreetingTimeout, home...)
	for i := range d.greetings.median {
		for range 30 { // so that its habit is known, and patience is a second
			lease := d.leaseOn(t, i)
			lease.Established(d.now(), 10*time.Millisecond)
			lease.Release(d.now())
		}
	}
	d.begin(0, time.Hour)
	d.passes(10 * time.Second)
	s := &d.sessions[0]
	if d.result.sessions[healthy] != 1 || s.index < d.plan.local || d.result.overtaken != 0 {
		t.Fatalf("%+v, session %+v: want it at the standby", d.result, s)
	}
	took := d.setups[healthy].worst
	if asked := len(s.tried); asked > 3 || took < time.Duration(asked)*time.Second || took > time.Duration(asked+2)*time.Second {
		t.Errorf("it took %s, after %v: want a second for each of three at most", took, s.tried)
	}
}

// leaseOn is a session of this relay.
func (d *day) leaseOn(t *testing.T, index int) balancer.Lease {
	t.Helper()
	var rest []int
	for i := range d.plan.pool {
		if i != index {
			rest = append(rest, i)
		}
	}
	lease, err := d.pool.Acquire(d.now(), rest)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

// Of the sessions that run one in ten may ask two relays at a time, the others wait.
func TestHedgesAreBounded(t *testing.T) {
	for sessions, want := range map[int]int{1: 1, 9: 1, 19: 1, 20: 2, 40: 4} {
		d := quiet(t, balancer.GreetingTimeout)
		for i := range d.plan.pool {
			d.fleet.relays[d.plan.pool[i]].faults = []fault{{d.at, d.at + time.Hour, balancer.GreetingTimeout}}
		}
		d.servers = append(d.servers, make([]server, sessions)...)
		for i := range sessions {
			d.begin(i, time.Hour)
		}
		for range 10 {
			d.passes(time.Second)
			asking := 0
			for i := range d.sessions {
				if d.sessions[i].second.lease.Held() {
					asking++
				}
			}
			if d.hedging != asking || asking > want {
				t.Fatalf("%d sessions: %d ask two relays, counted as %d; want %d at most", sessions, asking, d.hedging, want)
			}
		}
		if d.hedging != want {
			t.Errorf("%d sessions: %d ask two relays when all are late, want %d", sessions, d.hedging, want)
		}
	}
}

// When nobody answers, a session ends when its time is over, every lease is given back, and what had less than its own time is
// not counted against the relay.
func TestSilencePastTheSetupTime(t *testing.T) {
	d := quiet(t, balancer.GreetingTimeout)
	for i := range d.plan.pool {
		d.fleet.relays[d.plan.pool[i]].faults = []fault{{d.at, d.at + time.Hour, balancer.GreetingTimeout}}
	}
	d.begin(0, time.Hour)
	d.passes(sessionSetup - 1)
	if d.result.failed != (failures{}) {
		t.Fatalf("%+v before its time is over", d.result.failed)
	}
	d.servers[0].parked = wholeDay // whatever comes next
	d.passes(1)
	if d.result.failed != (failures{late: 1}) || d.hedging != 0 || d.running != 0 {
		t.Errorf("%+v, %d hedge, %d run: want one out of time", d.result.failed, d.hedging, d.running)
	}
	var failed, picks uint64
	for _, b := range d.pool.Snapshot(d.now()) {
		failed += b.Failures
		picks += b.Picks
		if b.Active != 0 {
			t.Errorf("%s has %d sessions", b.Name, b.Active)
		}
	}
	// One is asked every 8 s, from 0 to 56 s; the last two have had 12 and 4 s.
	if picks != 8 || failed != 6 {
		t.Errorf("%d relays asked, %d failed, want 8 and 6", picks, failed)
	}
}
