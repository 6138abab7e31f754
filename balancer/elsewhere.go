package balancer

import "time"

// TierUse is what this balancer has given to a tier: what the others want to know of it.
type TierUse struct {
	Priority int
	Sessions uint64    // established ones, in total; less than before where a backend went
	Last     time.Time // when the last one was; zero: never
	Ramp     time.Time // when the tier began to take its sessions up slowly; zero: it does not
}

// Elsewhere is what other balancers have given to a tier.
type Elsewhere struct {
	Priority int
	Sessions int       // established ones that no call has told of before
	Last     time.Time // when the last one was; zero: not known
	Ramp     time.Time // when it began to take sessions up slowly there, the earliest; zero: nowhere
}

// elsewhere is what a tier knows of other balancers.
type elsewhere struct {
	last time.Time
	ramp time.Time
}

// Uses returns what this balancer, and no other, has given to each tier, and how often somebody asked it for a backend: a number
// that changes while there are new sessions.
func (p *Pool) Uses() (uses []TierUse, asked uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked = p.refused
	for _, t := range p.tiers {
		u := TierUse{Priority: t.priority, Ramp: t.ramp.from, Last: t.ownLast()}
		for _, s := range t.members {
			u.Sessions += s.established.Load()
			asked += s.picks
		}
		uses = append(uses, u)
	}
	return uses, asked
}

// Elsewhere takes in what other balancers have given to the tiers: a tier that one of them keeps busy is not idle, one that takes its
// sessions up slowly there does so here by the same clock, and a session that kept the next tier down warm is one less for
// Warm.MinPerHour. Tiers that are not configured are ignored.
func (p *Pool) Elsewhere(now time.Time, news []Elsewhere) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	defer p.notify()
	for i := range news {
		n := &news[i]
		t := tierOf(p.tiers, n.Priority)
		if t == nil {
			continue
		}
		if n.Last.After(t.elsewhere.last) {
			t.elsewhere.last = n.Last
		}
		t.elsewhere.ramp = n.Ramp
		if !t.ramp.from.IsZero() && !n.Ramp.IsZero() && n.Ramp.Before(t.ramp.from) {
			t.ramp.from = n.Ramp
		}
		if p.warm.tier >= 0 && t == p.tiers[p.warm.tier] && n.Sessions > 0 && p.warm.MinPerHour > 0 {
			p.warm.givenElsewhere(now, n.Sessions, p.together.Balancers)
		}
	}
}

// givenElsewhere counts sessions that other balancers gave to the warm tier, as give counts one of this balancer.
func (w *warming) givenElsewhere(now time.Time, sessions, balancers int) {
	gap, ahead := w.gap(), w.ahead(balancers)
	most := int(ahead/gap) + 1
	w.next = w.next.Add(time.Duration(min(sessions, most)) * gap)
	if w.next.Before(now) {
		w.next = now.Add(gap)
	}
	if latest := now.Add(ahead); w.next.After(latest) {
		w.next = latest
	}
}

// hearing is how long a session of one balancer takes at most to be known to the others, as a rule.
const hearing = time.Second

// ahead is how far beyond now the next session for MinPerHour may be put off. Balancers that find one due at the same moment give
// one each, which must count for as many turns; what they give before they hear of each other, too.
func (w *warming) ahead(balancers int) time.Duration {
	if balancers <= 1 {
		return w.gap()
	}
	return time.Duration(balancers)*w.gap() + hearing
}
