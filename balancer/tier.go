package balancer

import "slices"

// tier is the backends of one priority. Its sums cover exactly the backends that are in its tree: the pickable ones.
type tier struct {
	priority int
	root     int32   // of its tree; 0: empty
	weight   int64   // sum of the weights
	active   int64   // sum of the running sessions
	vtime    float64 // virtual time: the latest start of any session so far; never goes back
}

// newTiers returns one empty tier for each priority that occurs, first used first.
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

// enlist puts a backend into its tier's tree if it can be picked and is not there.
func (p *Pool) enlist(index int) {
	s := &p.slots[index]
	if s.listed || !s.pickable() {
		return
	}
	s.listed = true
	t := &p.tiers[s.tier]
	t.weight += s.weight
	t.active += s.active
	t.root = p.tree.insert(t.root, nodeOf(index), load{s.active, s.weight}, s.tag())
}

// delist takes a backend out of its tier's tree if it is there. Whatever the tree orders by (sessions, pass) or
// enlist decides by (state, limit, asked) may be changed only between delist and enlist.
func (p *Pool) delist(index int) {
	s := &p.slots[index]
	if !s.listed {
		return
	}
	s.listed = false
	t := &p.tiers[s.tier]
	t.weight -= s.weight
	t.active -= s.active
	t.root = p.tree.remove(t.root, nodeOf(index))
}
