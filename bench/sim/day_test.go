package sim

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"smtplb/balancer"
)

func mustDay(t *testing.T, c *Config, f *fleet, number int) *day {
	t.Helper()
	d, err := newDay(c, f, number)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A check of a settled relay that is well changes nothing: the day with every check is the day without them.
func TestSkippedChecksChangeNothing(t *testing.T) {
	for _, as := range []balancer.Outcome{balancer.Refused, balancer.ConnectTimeout, balancer.GreetingTimeout, balancer.Greeting4xx} {
		t.Run(as.String(), func(t *testing.T) {
			t.Parallel()
			c := small()
			c.Balancers, c.Relays, c.RelayFaults, c.FailAs, c.Seed = 2, 12, 1, as, uint64(as)
			f := newFleet(&c)
			for number := range c.Balancers {
				lazy, diligent := mustDay(t, &c, f, number), mustDay(t, &c, f, number)
				diligent.everyProbe = true
				lazy.run()
				diligent.run()
				if !reflect.DeepEqual(lazy.result, diligent.result) || !reflect.DeepEqual(lazy.ledger, diligent.ledger) ||
					!reflect.DeepEqual(lazy.setups, diligent.setups) {
					t.Errorf("balancer %d: results differ:\n%+v\n%+v", number, lazy.result, diligent.result)
				}
				if settled := len(f.plans[number].pool) * int(wholeDay/probeInterval); diligent.checks < settled*9/10 || lazy.checks > settled/2 {
					t.Errorf("balancer %d made %d checks, and %d without those that say nothing, of about %d",
						number, diligent.checks, lazy.checks, settled)
				}
			}
		})
	}
}

// A failed session has the relay checked as soon as its last check is a second ago, not at its next turn.
func TestFailedSessionHasItsRelayChecked(t *testing.T) {
	c := small()
	c.FailFor, c.RelayFaults, c.KeepWarm = 0, 0, 0
	f := newFleet(&c)
	d := mustDay(t, &c, f, 0)
	for i := range d.watches {
		d.watches[i].phase = 0
		d.watches[i].due = d.watches[i].turn(0)
	}
	const at = time.Hour + 2*time.Second // the last turn was 2 s ago, give or take the jitter
	for _, number := range d.plan.pool[:d.plan.local] {
		f.relays[number].faults = []fault{{at, at + time.Minute, balancer.Refused}}
	}
	d.at = at
	d.begin(0, time.Second)
	asked := d.sessions[0].tried
	if len(asked) != 3 || d.ledger.tier[d.sessions[0].index] != 1 {
		t.Fatalf("asked %v, now %d: want three own relays, then the standby", asked, d.sessions[0].index)
	}
	for i := range d.watches {
		w := &d.watches[i]
		if failed := slices.Contains(asked, i); failed == w.asleep || failed && w.due != at {
			t.Errorf("relay %d, failed %v: asleep %v, the next check in %s; want those that failed to be checked now", i, failed, w.asleep, w.due-at)
		}
	}
	d.passes(0)
	if d.checks != len(asked) {
		t.Errorf("%d checks were made, want one of each of the %d relays", d.checks, len(asked))
	}
	d.passes(5 * time.Second)
	if d.result.warm.helped != 1 {
		t.Errorf("%+v: want the standby to have helped out", d.result)
	}
}
