package main

import (
	"time"

	"smtplb/balancer"
	"smtplb/internal/cluster"
)

// limitPlace is where a ceiling holds. What was taken out by a reload has sessions
// yet, which count; under its name there may be something else.
type limitPlace struct {
	limitAt
	gone   bool // there is nothing to be limited any more
	beside []limitAt
}

type limitAt struct {
	pool    *balancer.Pool
	backend int // as in balancer.Quota
}

// running are the sessions there.
func (at limitAt) running() int {
	for _, l := range at.pool.Limits() {
		if l.Backend == at.backend {
			return l.Active
		}
	}
	return 0
}

// freeze has no session begin there while others run, and returns those that do.
func (at limitAt) freeze(now time.Time) int {
	n := at.running()
	at.pool.SetQuotas(now, []balancer.Quota{{Backend: at.backend, Sessions: n, Then: n}})
	return at.running() // one may have been faster
}

// counted is a pool whose sessions count.
type counted struct {
	name   string
	relays *relays
	out    time.Time // when a reload took it out; zero: it is at work
}

// counted are the pools at work, and then those that are not and may have sessions.
func (d *daemon) counted() []counted {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]counted, 0, len(d.pools)+len(d.retired))
	for name, r := range d.pools {
		all = append(all, counted{name: name, relays: r})
	}
	return append(all, d.retired...)
}

// forgetRetired drops pools that were taken out and have no session any more.
func (d *daemon) forgetRetired(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var left []counted
	for _, p := range d.retired {
		active := 0
		for _, l := range p.relays.balancer.Limits() {
			active += l.Active
		}
		if active > 0 || now.Sub(p.out) < setUpTime {
			left = append(left, p)
		}
	}
	d.retired = left
}

// readLimits says how the shared limits are used now. The node calls it.
func (d *daemon) readLimits(now time.Time) (ceilings []cluster.Ceiling, uses []cluster.TierUse) {
	a := d.cluster
	clear(a.places)
	elder := a.elders.claims()
	at := map[string]int{}
	d.forgetRetired(now)
	for _, p := range d.counted() {
		works := p.out.IsZero()
		var busy bool
		if works {
			var its []cluster.TierUse
			its, busy = d.readUses(now, &p)
			uses = append(uses, its...)
		}
		for _, l := range p.relays.balancer.Limits() {
			key, here := limitKey(p.name, &l), limitAt{p.relays.balancer, l.Backend}
			if place := a.places[key]; place != nil {
				place.beside = append(place.beside, here)
				ceilings[at[key]].Here += l.Active
				continue
			}
			at[key] = len(ceilings)
			a.places[key] = &limitPlace{limitAt: here, gone: l.Gone}
			c := cluster.Ceiling{Key: key, Limit: l.Limit, Share: a.together.Share(l.Limit), Keep: a.together.Keep(l.Limit)}
			a.known[key] = c
			c.Here, c.Elder, c.Busy = l.Active, elder[key], busy && !l.Gone
			ceilings = append(ceilings, c)
		}
	}
	for key, c := range a.known {
		if a.places[key] != nil {
			continue
		}
		if c.Elder = elder[key]; c.Elder == 0 {
			delete(a.known, key)
			continue
		}
		ceilings = append(ceilings, c) // not configured any more, and used
	}
	return ceilings, uses
}

// readUses says what a pool has given to its tiers, and whether it gets sessions.
func (d *daemon) readUses(now time.Time, p *counted) (uses []cluster.TierUse, busy bool) {
	tiers, asked := p.relays.balancer.Uses()
	for _, t := range tiers {
		uses = append(uses, cluster.TierUse{Pool: p.name, Tier: t.Priority, Sessions: t.Sessions, Last: t.Last, Ramp: t.Ramp})
	}
	was := d.cluster.asked[p.name]
	if was.count != asked {
		was = activity{asked, now}
		d.cluster.asked[p.name] = was
	}
	return uses, now.Sub(was.at) < busyTime && !d.draining.Load()
}

// limitKey names a limit, the same at all balancers.
func limitKey(pool string, l *balancer.Limited) string {
	if l.Backend == balancer.WarmQuota {
		return pool + " keep_warm"
	}
	return pool + "/" + l.Name
}

// applyLimits has the pools go by what was agreed on. The node calls it.
func (d *daemon) applyLimits(now time.Time, grants []cluster.Grant, news []cluster.TierNews) map[string]int {
	a := d.cluster
	quotas := map[*balancer.Pool][]balancer.Quota{}
	for i := range grants {
		g := &grants[i]
		at := a.places[g.Key]
		if at == nil || at.gone {
			continue
		}
		beside := 0
		for _, other := range at.beside {
			beside += other.freeze(now)
		}
		quotas[at.pool] = append(quotas[at.pool], balancer.Quota{
			Backend: at.backend, Sessions: max(g.Sessions-beside, 0), Until: g.Until, Then: max(g.Then-beside, 0),
		})
	}
	elsewhere := map[string][]balancer.Elsewhere{}
	for i := range news {
		n := &news[i]
		elsewhere[n.Pool] = append(elsewhere[n.Pool], balancer.Elsewhere{Priority: n.Tier, Sessions: n.Sessions, Last: n.Last, Ramp: n.Ramp})
	}
	here := map[string]int{}
	for _, p := range d.counted() {
		p.relays.balancer.SetQuotas(now, quotas[p.relays.balancer])
		if p.out.IsZero() {
			p.relays.balancer.Elsewhere(now, elsewhere[p.name])
		}
		for _, l := range p.relays.balancer.Limits() {
			here[limitKey(p.name, &l)] += l.Active
		}
	}
	return here
}
