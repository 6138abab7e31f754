package balancer

import "time"

// lag is how many of its own sessions a backend may be owed at most when the quota, max_sessions or a retry kept it from
// its turn. Enough to make up for the ups and downs of ordinary traffic, so that shares stay exact; little enough that
// a relay that was slow or full for an hour is not paid back for the hour.
const lag = 16

// triesPerTier is how many relays of a tier one session asks before it goes on to the next tier: a site that is dead, but
// not yet known to be, must not cost its clients as many timeouts as it has relays.
const triesPerTier = 3

// pick chooses a backend that the session has not tried, and counts the session on it. The errors are Acquire's.
func (p *Pool) pick(now time.Time, tried []int) (*slot, marks, error) {
	if len(tried) == 0 {
		return p.pickFirst(now)
	}
	return p.pickNext(tried)
}

// pickNext is pick for a session that has asked others already.
func (p *Pool) pickNext(tried []int) (*slot, marks, error) {
	asked := p.setAside(tried)
	s := p.chooseTrusted()
	if s != nil {
		s.charge()
	}
	p.putBack(tried)
	if s == nil {
		return nil, 0, p.whyNone(asked)
	}
	return s, 0, nil
}

// pickFirst is pick for a new session, which may be one that keeps the standby warm, or one too many for a tier that has just
// taken over.
func (p *Pool) pickFirst(now time.Time) (*slot, marks, error) {
	if p.warm.wanted(now) {
		p.setSuspectsAside()
		s := p.tiers[p.warm.tier].choose()
		p.putSuspectsBack()
		if s != nil {
			p.warm.give(now, p.together.Balancers)
			s.charge()
			return s, warm, nil
		}
	}
	s := p.chooseTrusted()
	if s == nil {
		return nil, 0, p.whyNone(0)
	}
	if s.tier == p.tiers[p.active] && !p.admits(now) {
		return nil, 0, ErrRamp
	}
	s.charge()
	return s, 0, nil
}

// whyNone says why nobody was chosen; asked is how many usable ones the session has tried.
func (p *Pool) whyNone(asked int) error {
	p.refused++
	switch {
	case p.usable == 0:
		return ErrDown
	case asked == p.usable:
		return ErrTried
	default:
		return ErrFull
	}
}

// choose returns the backend that the rule picks: of the tier in use, or where that has nobody left for the session, of
// the next one down, or where those have nobody either, of one above, which is not to be used yet. A tier of which the session
// has asked enough comes last. It is nil if no tier has anybody.
func (p *Pool) choose() *slot {
	var last *slot
	for n := range p.tiers {
		i := p.active + n
		if i >= len(p.tiers) {
			i = len(p.tiers) - 1 - n // the ones above, nearest first
		}
		t := p.tiers[i]
		s := t.choose()
		if s != nil && t.asked < triesPerTier {
			return s
		}
		if last == nil {
			last = s
		}
	}
	return last
}

// choose returns the smallest tag among those of a tier that are below their fair part of its running sessions; nil if none of
// its backends can be picked.
func (t *tier) choose() *slot {
	if t.listed == 0 {
		return nil
	}
	// There is one: were every load at or above (active+1)/weight, the loads would sum to more than active.
	return t.members[t.order.first(load{t.active + 1, t.weight})]
}

// charge gives the backend, which is listed, a session: a slot, and the virtual time that it costs.
func (s *slot) charge() {
	t := s.tier
	start := max(s.pass, t.vtime-lag*s.stride)
	s.pass = start + s.stride
	t.vtime = max(t.vtime, start)
	s.picks++
	if s.active+1 >= s.room {
		s.delist()
		s.active++
		return
	}
	s.active++
	t.active++
	t.order.put(s.place, load{s.active, s.share}, s.tag())
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
	t.order.put(s.place, load{s.active, s.share}, s.tag())
}

// setAside takes the backends that a session has tried out of the choice, and returns how many of them are usable. IDs that
// are named twice or are not configured are harmless.
func (p *Pool) setAside(tried []int) (usable int) {
	for _, id := range tried {
		if s := p.slot(id); s != nil && s.setAside() && s.usable() {
			usable++
		}
	}
	return usable
}

// putBack undoes setAside.
func (p *Pool) putBack(tried []int) {
	for _, id := range tried {
		if s := p.slot(id); s != nil {
			s.putBack()
		}
	}
}

// setAside takes a backend out of the choice, and tells whether it was in.
func (s *slot) setAside() bool {
	if s.asked {
		return false
	}
	s.delist()
	s.asked = true
	s.tier.asked++
	return true
}

// putBack undoes setAside, if that was done.
func (s *slot) putBack() {
	if s.asked {
		s.asked = false
		s.tier.asked--
		s.enlist()
	}
}
