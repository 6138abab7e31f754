package sim

import (
	"errors"
	"fmt"
	"math"
	"time"

	"smtplb/balancer"
)

// Config describes a fleet and its day. Default has what each field is when nobody says otherwise; Run takes a Config as it is,
// so begin with Default.
type Config struct {
	Balancers int // each with one pool; 1 to MaxBalancers, at least one a site
	Relays    int // of all sites together; up to MaxRelays, at least one a site
	Sites     int // 2 or more; a site's standby is the next one

	Sessions int    // of one balancer in the day, on average; up to MaxSessions
	Seed     uint64 // same Config, same report

	Weights int // a relay's weight is 1 to this, each as likely; up to balancer.MaxWeight
	Sharing int // pools of its own site that hold a relay; a third as many of another site, at least one, hold it as standby

	// From FailAt, counted from midnight, for FailFor, all relays of the first site fail every new session and every
	// probe. FailFor 0: none does. Both together are within the day.
	FailAt, FailFor time.Duration
	FailAs          balancer.Outcome // how they fail; not OK

	// KeepWarm is the part of its new sessions that a balancer gives to its standby while that is not needed, 0 to 1.
	KeepWarm float64

	// RelayFaults is how likely a relay is to have a failure of its own in the day, 0 to 1: for half a minute to half an
	// hour, and not around the site's failure, so that each kind can be read alone.
	RelayFaults float64
}

// The largest fleet and the busiest day that a Config may ask for: counters are sized for them.
const (
	MaxBalancers = 8000
	MaxRelays    = 100000
	MaxSessions  = 10_000_000
)

// Default is the fleet that no machine of ours has: 1,000 balancers and 10,000 relays at two sites, 50 million sessions,
// and one site away from 10:00 to 12:00.
func Default() Config {
	return Config{
		Balancers: 1000, Relays: 10000, Sites: 2,
		Sessions: 50000, Seed: 1,
		Weights: 5, Sharing: 3,
		FailAt: 10 * time.Hour, FailFor: 2 * time.Hour, FailAs: balancer.Refused,
		KeepWarm:    0.1,
		RelayFaults: 0.05,
	}
}

// Check returns every mistake of the Config, joined; nil: there is none.
func (c *Config) Check() error {
	var errs []error
	within := func(name string, got, low, high int) {
		if got < low || got > high {
			errs = append(errs, fmt.Errorf("%s %d: want %d to %d", name, got, low, high))
		}
	}
	within("sites", c.Sites, 2, MaxRelays)
	sites := max(c.Sites, 2)
	within("balancers", c.Balancers, min(sites, MaxBalancers), MaxBalancers)
	within("relays", c.Relays, min(sites, MaxRelays), MaxRelays)
	within("sessions", c.Sessions, 1, MaxSessions)
	within("weights", c.Weights, 1, balancer.MaxWeight)
	within("sharing", c.Sharing, 1, MaxBalancers)
	if c.FailAt < 0 || c.FailAt > wholeDay {
		errs = append(errs, fmt.Errorf("fail-at %s: want 0s to %s after midnight", c.FailAt, wholeDay))
	}
	if c.FailFor < 0 || c.FailFor > wholeDay-min(max(c.FailAt, 0), wholeDay) {
		errs = append(errs, fmt.Errorf("fail-for %s: want 0s (no failure) or more, and an end within the day", c.FailFor))
	}
	if c.FailAs == balancer.OK || c.FailAs > balancer.NotSMTP {
		errs = append(errs, fmt.Errorf("fail-as %s: want a way to fail, such as %s", c.FailAs, balancer.Refused))
	}
	if !(c.KeepWarm >= 0 && c.KeepWarm <= 1) {
		errs = append(errs, fmt.Errorf("keep-warm %v: want 0 to 1", c.KeepWarm))
	}
	if math.IsNaN(c.RelayFaults) || c.RelayFaults < 0 || c.RelayFaults > 1 {
		errs = append(errs, fmt.Errorf("relay-faults %v: want 0 to 1", c.RelayFaults))
	}
	return errors.Join(errs...)
}

// OutcomeNamed returns the way to fail that has this word, such as "connect_timeout".
func OutcomeNamed(word string) (balancer.Outcome, error) {
	var words []string
	for o := balancer.Refused; o <= balancer.NotSMTP; o++ {
		if o.String() == word {
			return o, nil
		}
		words = append(words, o.String())
	}
	return 0, fmt.Errorf("%q is no way to fail: want one of %v", word, words)
}

const wholeDay = 24 * time.Hour

// phase is a part of the day that is measured on its own.
type phase uint8

const (
	healthy    phase = iota // no site is away
	failing                 // the first site is
	recovering              // for settling after it came back
	phases
)

// settling is how long after the end of a site's failure hours do not count as healthy yet. Checks bring relays back within
// half a minute, the sessions follow after failbackDelay, and a minute's load is whole again after the next minutes.
const settling = 5 * time.Minute

func (p phase) String() string {
	return [...]string{"healthy hours", "site away", "site is back"}[p]
}

// phaseAt returns what time of day it is.
func (c *Config) phaseAt(at time.Duration) phase {
	end := c.FailAt + c.FailFor
	switch {
	case c.FailFor == 0 || at < c.FailAt || at >= end+settling:
		return healthy
	case at < end:
		return failing
	default:
		return recovering
	}
}
