package balancer

import (
	"slices"
	"sort"
	"sync/atomic"
	"time"
)

// tier is the backends of one priority. Its order and its sums hold exactly those that can be picked.
type tier struct {
	priority int
	members  []int // their indexes; a backend's place is its position here
	order    order

	listed int     // how many can be picked
	weight int64   // sum of their parts, in units
	active int64   // sum of their running sessions
	vtime  float64 // virtual time: the latest start of any session so far; never goes back
	asked  int     // of its backends, how many the session at hand has tried

	healthy     int       // backends that are up and have a weight
	minHealthy  int       // so many make it usable
	usableSince time.Time // when it came to have so many; zero: from the start
	ramp        ramp
	last        atomic.Int64 // when a session was last established, in ns since 1970; 0: never
}

// lastSession is when a session was last established on one of its backends, to the second; zero: never.
func (t *tier) lastSession() time.Time {
	if ns := t.last.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// used notes that a session was established. It waits for no lock, and writes once a second.
func (t *tier) used(now time.Time) {
	if ns := now.UnixNano(); ns-t.last.Load() >= int64(time.Second) {
		t.last.Store(ns)
	}
}

// newTiers returns one tier without members for each priority that occurs, first used first.
func newTiers(backends []BackendConfig) []tier {
	var priorities []int
	for _, b := range backends {
		priorities = append(priorities, b.Priority)
	}
	slices.Sort(priorities)
	priorities = slices.Compact(priorities)
	tiers := make([]tier, len(priorities))
	for i, priority := range priorities {
		tiers[i].priority = priority
	}
	return tiers
}

// tierOf returns the tier of a priority that occurs.
func tierOf(tiers []tier, priority int) *tier {
	return &tiers[sort.Search(len(tiers), func(i int) bool { return tiers[i].priority >= priority })]
}

// enlist puts a backend into its tier's order if it can be picked and is not there.
func (s *slot) enlist() {
	if s.listed || !s.pickable() {
		return
	}
	s.listed = true
	t := s.tier
	t.listed++
	t.weight += s.share
	t.active += s.active
	t.order.put(s.place, load{s.active, s.share}, s.tag())
}

// delist takes a backend out of its tier's order if it is there. Whatever the order goes by (sessions, pass) or
// enlist decides by (state, limit, asked) may be changed only between delist and enlist; but discharge, by which one that is
// in stays in, tells the order itself.
func (s *slot) delist() {
	if !s.listed {
		return
	}
	s.listed = false
	t := s.tier
	t.listed--
	t.weight -= s.share
	t.active -= s.active
	t.order.drop(s.place)
}
