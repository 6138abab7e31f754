package balancer

import (
	"cmp"
	"slices"
)

// tier is the backends of one priority. Its order and its sums hold exactly those that can be picked.
type tier struct {
	priority int
	members  []int // their indexes; a backend's place is its position here
	order    order

	listed int     // how many can be picked
	weight int64   // sum of their weights
	active int64   // sum of their running sessions
	vtime  float64 // virtual time: the latest start of any session so far; never goes back
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
	i, _ := slices.BinarySearchFunc(tiers, priority, func(t tier, priority int) int {
		return cmp.Compare(t.priority, priority)
	})
	return &tiers[i]
}

// enlist puts a backend into its tier's order if it can be picked and is not there.
func (s *slot) enlist() {
	if s.listed || !s.pickable() {
		return
	}
	s.listed = true
	t := s.tier
	t.listed++
	t.weight += s.weight
	t.active += s.active
	t.order.put(s.place, load{s.active, s.weight}, s.tag())
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
	t.weight -= s.weight
	t.active -= s.active
	t.order.drop(s.place)
}
