package balancer

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Reconfigure gives the pool another configuration while sessions run: all of it at one moment, or, where cfg has mistakes
// or another pool's name, nothing; the error names every mistake.
//
// A backend that was there before keeps its running sessions, its state and the evidence for it, its habit, its totals and
// its turn. It is known again by its key and name, else by its key (it was renamed), else by its name (it was moved). With
// another weight it is owed as much of a session as before, and in another tier nothing. A new one is up, at its full
// weight, and owed nothing. One that is missing is given no more sessions; leases on it stay valid, and if it is back
// before the last of them has ended, so are its slots.
//
// A tier is known by its priority. The one in use stays in use where the rules let it, clocks and ramps run on, and what
// is owed to the standby is owed still: so a configuration that changes nothing changes no choice. OnChange is told only
// of what the rules make of the change, such as the return of an ejected backend that is the last one now. Where there
// were no backends, or are none any more, no tier takes over from another, and nobody is told of a failover.
func (p *Pool) Reconfigure(now time.Time, cfg Config) error {
	if err := p.fits(&cfg); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	inUse, had := p.tiers[p.active], len(p.slots)
	p.apply(now, &cfg)
	p.active = slices.Index(p.tiers, inUse)
	switch {
	case had == 0 || len(p.slots) == 0:
		p.active = 0
		p.active = p.takeOver(now)
	case p.active < 0:
		p.leaveTier(now, inUse)
	}
	p.settle(now)
	p.notify()
	return nil
}

// fits tells what is wrong with a configuration, or that it is another pool's.
func (p *Pool) fits(cfg *Config) error {
	if err := cfg.Check(); err != nil {
		return err
	}
	if cfg.Name != p.name {
		return fmt.Errorf("balancer: pool %q: a configuration of pool %q", p.name, cfg.Name)
	}
	return nil
}

// apply takes over a configuration without mistakes. Which tier is used is for the caller to say.
func (p *Pool) apply(now time.Time, cfg *Config) {
	was := p.together
	p.settings = cfg.settings()
	p.hedge.Store(int64(cfg.Hedge))
	p.warm.reconfigure(now, cfg.Warm)
	p.warm.room = p.warm.quota.limit(p.warm.room, int64(cfg.Warm.MaxSessions), was, p.together)

	kept := p.match(cfg.Backends)
	for _, s := range p.slots {
		s.delist()
	}
	p.dismiss(kept)
	tiers, wereUsable := p.layTiers(prioritiesOf(cfg.Backends))
	p.tiers, p.slots, p.usable = tiers, make([]*slot, len(kept)), 0
	for i, s := range kept {
		if s == nil {
			s = &slot{id: &Backend{id: len(p.byID)}, part: 1}
			s.reason = upSinceTheStart
			if !now.IsZero() {
				s.since, s.reason = now, "up since it was added"
			}
			p.byID = append(p.byID, s)
		}
		p.byID[s.id.id], p.slots[i] = s, s
		p.join(s, tierOf(tiers, cfg.Backends[i].Priority), &cfg.Backends[i])
		s.room = s.quota.limit(s.room, int64(cfg.Backends[i].MaxSessions), was, p.together)
	}
	for i, t := range tiers {
		p.open(now, t, cfg.MinHealthy, wereUsable[i])
	}
	p.late = slices.DeleteFunc(slices.Clone(p.slots), func(s *slot) bool { return s.late == 0 })
}

// match finds for each configured backend the slot that it has; nil for a new one.
func (p *Pool) match(backends []BackendConfig) []*slot {
	byName, byKey := map[string][]*slot{}, map[string][]*slot{}
	for _, s := range slices.Concat(p.slots, p.leaving) {
		byName[s.id.name] = append(byName[s.id.name], s)
		if s.key != "" {
			byKey[s.key] = append(byKey[s.key], s)
		}
	}
	kept, taken := make([]*slot, len(backends)), map[*slot]bool{}
	take := func(i int, from []*slot, fits func(*slot) bool) {
		for _, s := range from {
			if kept[i] == nil && !taken[s] && (fits == nil || fits(s)) {
				kept[i], taken[s] = s, true
			}
		}
	}
	for i := range backends {
		take(i, byName[backends[i].Name], func(s *slot) bool { return s.key == backends[i].Key })
	}
	for i := range backends {
		take(i, byKey[backends[i].Key], nil)
	}
	for i := range backends {
		take(i, byName[backends[i].Name], nil)
	}
	return kept
}

// dismiss takes those out that are not among the kept, and has those that are and were out come back.
func (p *Pool) dismiss(kept []*slot) {
	stays := make(map[*slot]bool, len(kept))
	for _, s := range kept {
		stays[s] = true
	}
	for _, s := range p.slots {
		if stays[s] {
			continue
		}
		s.gone, s.weight = true, 0
		p.byID[s.id.id] = nil
		if s.active > 0 {
			p.leaving = append(p.leaving, s)
		}
	}
	p.leaving = slices.DeleteFunc(p.leaving, func(s *slot) bool { return stays[s] })
}

// forget drops a backend that was taken out and whose last session is over.
func (p *Pool) forget(s *slot) {
	if i := slices.Index(p.leaving, s); i >= 0 {
		p.leaving = slices.Delete(p.leaving, i, i+1)
	}
}

// layTiers returns the tiers of these priorities, without members, and which of them were usable.
func (p *Pool) layTiers(priorities []int) (tiers []*tier, wereUsable []bool) {
	for _, priority := range priorities {
		t := tierOf(p.tiers, priority)
		if t == nil {
			t = &tier{priority: priority, minHealthy: 1, last: new(atomic.Int64)}
		}
		wereUsable = append(wereUsable, t.usable())
		t.members, t.healthy = nil, 0
		if p.ramp.Over <= 0 {
			t.ramp = ramp{}
		}
		tiers = append(tiers, t)
	}
	return tiers, wereUsable
}

// join gives a slot, which is not listed, what is configured, and has it join its tier.
func (p *Pool) join(s *slot, t *tier, c *BackendConfig) {
	s.id = &Backend{id: s.id.id, name: c.Name, site: c.Site, tier: c.Priority, data: c.Data, last: t.last}
	s.key = c.Key
	waited := s.weight > 0 // for its turn
	moved := s.tier != t
	s.tier, s.place, s.gone = t, len(t.members), false
	t.members = append(t.members, s)
	s.weight = int64(c.Weight)
	if p.slowStart <= 0 {
		s.slowFrom, s.part = time.Time{}, 1
	}
	before := s.stride
	if s.weight > 0 || before == 0 {
		s.setPart(s.part)
	}
	switch {
	case moved:
		s.pass = t.vtime
	case s.stride != before:
		s.pass = t.vtime + (s.pass-t.vtime)/before*s.stride
	}
	if !waited {
		s.pass = max(s.pass, t.vtime)
	}
}

// open makes the order and the sums of a tier that has all its members.
func (p *Pool) open(now time.Time, t *tier, minHealthy int, wasUsable bool) {
	t.order = p.newOrder(len(t.members))
	weighty := 0
	for _, s := range t.members {
		if s.weight > 0 {
			weighty++
		}
		if s.usable() {
			t.healthy++
		}
		s.enlist()
	}
	p.usable += t.healthy
	t.minHealthy = max(min(minHealthy, weighty), 1)
	if t.usable() && !wasUsable {
		t.usableSince = now
	}
}

// leaveTier goes on from a tier in use that no backend is left of.
func (p *Pool) leaveTier(now time.Time, from *tier) {
	p.active = 0
	p.active = p.takeOver(now)
	to := p.tiers[p.active]
	p.changedTier(TierChange{
		Time: now, Pool: p.name, From: from.priority, To: to.priority, Reason: "no backend of the tier is configured any more",
	})
	p.beginRamp(now, to)
}

// reconfigure changes what is wanted, and nothing of what is owed.
func (w *warming) reconfigure(now time.Time, c Warm) {
	w.Warm = c
	if c.MinPerHour > 0 {
		if latest := now.Add(c.gap()); w.next.After(latest) {
			w.next = latest
		}
	}
	w.spare = min(w.spare, w.sparing())
}
