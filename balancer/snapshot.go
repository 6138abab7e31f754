package balancer

import "time"

// BackendStatus is a backend as it was at the moment of a Snapshot.
type BackendStatus struct {
	ID          int // as its Backend's
	Name        string
	Site        string
	Tier        int
	Weight      int
	MaxSessions int // 0: no limit
	Quota       int // of those, what this balancer may use at the moment; 0, where there is a limit: nothing

	State  State
	Reason string    // why it is in that state, for people
	Since  time.Time // when it came to be; zero: when the pool was made
	Until  time.Time // when it ends by itself; zero: it does not

	Part  float64       // of its weight that counts now: below 1 in a slow start
	Habit time.Duration // what 99 of 100 of its greetings stay below; 0: not known yet

	Active int // sessions that hold a slot, attempts under way included

	// Totals since the pool was made. Picks less Established less Failures are the attempts under way, and those that
	// were given up.
	Picks       uint64
	Established uint64
	Failures    uint64 // failed attempts of sessions; probes are not counted
}

// Snapshot returns the status of every backend, in the order of the configuration, all at one moment; only Established may count sessions that
// were greeted while it was taken.
func (p *Pool) Snapshot(now time.Time) []BackendStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := make([]BackendStatus, len(p.slots))
	p.advance(now)
	defer p.notify()
	for i, s := range p.slots {
		status[i] = BackendStatus{
			ID:          s.id.id,
			Name:        s.id.name,
			Site:        s.id.site,
			Tier:        s.id.tier,
			Weight:      int(s.weight),
			MaxSessions: int(s.quota.configured),
			Quota:       s.quota.shown(s.room),
			State:       s.state,
			Reason:      s.reason,
			Since:       s.since,
			Until:       s.until,
			Part:        s.part,
			Habit:       time.Duration(s.habit.known.Load()),
			Active:      int(s.active),
			Picks:       s.picks,
			Established: s.established.Load(),
			Failures:    s.failures,
		}
	}
	return status
}

// TierStatus is a tier as it was at the moment of a call of Tiers.
type TierStatus struct {
	Priority   int
	Active     bool      // new sessions go here
	Warmed     bool      // and some here, to keep it warm
	Healthy    int       // backends that are up and have a weight
	MinHealthy int       // with fewer it is not usable
	Since      time.Time // when it came to have so many, where it has; zero: when the pool was made

	// LastSession is when a session was last established on it, to the second; zero: never. Addresses that send nothing lose
	// their reputation.
	LastSession time.Time

	Ramp float64 // what it takes of the new sessions: below 1 while it takes over slowly
}

// Tiers returns the status of every tier, the one used first before the others; none where there are no backends.
func (p *Pool) Tiers(now time.Time) []TierStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.slots) == 0 {
		return nil
	}
	status := make([]TierStatus, len(p.tiers))
	p.advance(now)
	defer p.notify()
	for i, t := range p.tiers {
		status[i] = TierStatus{
			Priority: t.priority, Active: i == p.active, Healthy: t.healthy, MinHealthy: t.minHealthy,
			Warmed:      i == p.warm.tier && (p.warm.Share > 0 || p.warm.MinPerHour > 0),
			LastSession: t.lastSession(), Ramp: p.rampPart(now, t),
		}
		if t.usable() {
			status[i].Since = t.usableSince
		}
	}
	return status
}

// WarmSessions returns how many sessions were established to keep a standby warm, since the pool was made.
func (p *Pool) WarmSessions() uint64 { return p.warm.total.Load() }
