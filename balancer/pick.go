package balancer

// lag is how many of its own sessions a backend may be owed at most when the quota, max_sessions or a retry kept it from
// its turn. Enough to make up for the ups and downs of ordinary traffic, so that shares stay exact; little enough that
// a relay that was slow or full for an hour is not paid back for the hour.
const lag = 16

// pick chooses a backend that the session has not tried, and counts the session on it. The errors are Acquire's.
func (p *Pool) pick(tried []int) (*Backend, error) {
	asked := p.setAside(tried)
	s := p.choose()
	if s != nil {
		s.charge()
	}
	p.putBack(tried)
	switch {
	case s != nil:
		return s.id, nil
	case p.usable == 0:
		return nil, ErrDown
	case asked == p.usable:
		return nil, ErrTried
	default:
		return nil, ErrFull
	}
}

// choose returns the backend that the rule picks: of the first tier that has somebody, the smallest tag among those below
// their fair part of the running sessions. It is nil if no tier has anybody.
func (p *Pool) choose() *slot {
	for i := range p.tiers {
		t := &p.tiers[i]
		if t.listed > 0 {
			// There is one: were every load at or above (active+1)/weight, the loads would sum to more than active.
			return &p.slots[t.members[t.order.first(load{t.active + 1, t.weight})]]
		}
	}
	return nil
}

// charge gives the backend a session: a slot, and the virtual time that it costs.
func (s *slot) charge() {
	s.delist()
	t := s.tier
	start := max(s.pass, t.vtime-lag*s.stride)
	s.pass = start + s.stride
	t.vtime = max(t.vtime, start)
	s.active++
	s.picks++
	s.enlist()
}

// discharge gives the slot back. What could be picked before still can be, with the same tag.
func (s *slot) discharge() {
	s.active--
	if !s.listed {
		s.enlist()
		return
	}
	t := s.tier
	t.active--
	t.order.put(s.place, load{s.active, s.weight}, s.tag())
}

// setAside takes the backends that a session has tried out of the choice, and returns how many of them are usable.
// Indexes that are named twice or do not exist are harmless.
func (p *Pool) setAside(tried []int) (usable int) {
	for _, index := range tried {
		if index < 0 || index >= len(p.slots) || p.slots[index].asked {
			continue
		}
		s := &p.slots[index]
		s.delist()
		s.asked = true
		if s.usable() {
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
		p.slots[index].enlist()
	}
}
