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
	members  []*slot // a backend's place is its position here
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
	elsewhere   elsewhere
	last        *atomic.Int64 // when a session was last established, in ns since 1970; 0: never
}

// lastSession is when a session was last established on one of its backends, by this balancer or another, to the second; zero:
// never.
func (t *tier) lastSession() time.Time {
	if own := t.ownLast(); own.After(t.elsewhere.last) {
		return own
	}
	return t.elsewhere.last
}

// ownLast is lastSession of this balancer alone.
func (t *tier) ownLast() time.Time {
	if ns := t.last.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// used notes that a session was established on the backend. It waits for no lock, and writes once a second.
func (b *Backend) used(now time.Time) {
	if ns := now.UnixNano(); ns-b.last.Load() >= int64(time.Second) {
		b.last.Store(ns)
	}
}

// prioritiesOf returns each priority that occurs once, first used first. Without backends there is a tier all the same, so that
// there always is one in use.
func prioritiesOf(backends []BackendConfig) []int {
	if len(backends) == 0 {
		return []int{0}
	}
	var priorities []int
	for i := range backends {
		priorities = append(priorities, backends[i].Priority)
	}
	slices.Sort(priorities)
	return slices.Compact(priorities)
}

// tierOf returns the tier of a priority, nil if there is none.
func tierOf(tiers []*tier, priority int) *tier {
	i := sort.Search(len(tiers), func(i int) bool { return tiers[i].priority >= priority })
	if i < len(tiers) && tiers[i].priority == priority {
		return tiers[i]
	}
	return nil
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
