package balancer

// lag is how many of its own sessions a backend may be owed at most when the quota, max_sessions or a retry kept it from
// its turn. Enough to make up for the ups and downs of ordinary traffic, so that shares stay exact; little enough that
// a relay that was slow or full for an hour is not paid back for the hour.
const lag = 16

// choose returns the backend that the rule picks: of the first tier that has somebody, the smallest tag among those below
// their fair part of the running sessions.
func (p *Pool) choose() (index int, found bool) {
	for i := range p.tiers {
		t := &p.tiers[i]
		if t.root == 0 {
			continue
		}
		// Never empty: were every load at or above (active+1)/weight, the loads would sum to more than active.
		return indexOf(p.tree.first(t.root, load{t.active + 1, t.weight})), true
	}
	return 0, false
}

// charge gives the backend a session: a slot, and the virtual time that it costs.
func (p *Pool) charge(index int) {
	p.delist(index)
	s := &p.slots[index]
	t := &p.tiers[s.tier]
	start := max(s.pass, t.vtime-lag*s.stride)
	s.pass = start + s.stride
	t.vtime = max(t.vtime, start)
	s.active++
	s.picks++
	p.enlist(index)
}

// discharge gives the slot back.
func (p *Pool) discharge(index int) {
	p.delist(index)
	p.slots[index].active--
	p.enlist(index)
}

// setAside takes the backends that a session has tried out of the choice, and returns how many of them are usable.
// Indexes that are named twice or do not exist are harmless.
func (p *Pool) setAside(tried []int) (usable int) {
	for _, index := range tried {
		if index < 0 || index >= len(p.slots) || p.slots[index].asked {
			continue
		}
		p.delist(index)
		p.slots[index].asked = true
		if p.slots[index].usable() {
			usable++
		}
	}
	return usable
}

// putBack undoes setAside.
func (p *Pool) putBack(tried []int) {
	for _, index := range tried {
		if index < 0 || index >= len(p.slots) || !p.slots[index].asked {
			continue
		}
		p.slots[index].asked = false
		p.enlist(index)
	}
}
