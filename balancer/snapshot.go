package balancer

import "time"

// BackendStatus is a backend as it was at the moment of a Snapshot.
type BackendStatus struct {
	Name        string
	Site        string
	Tier        int
	Weight      int
	MaxSessions int // 0: no limit

	State  State
	Reason string    // why it is in that state, for people
	Since  time.Time // when it came to be; zero: when the pool was made

	Active int // sessions that hold a slot, attempts under way included

	// Totals since the pool was made. Picks less Established less Failures are the attempts under way, and those that
	// were given up.
	Picks       uint64
	Established uint64
	Failures    uint64 // failed attempts of sessions; probes are not counted
}

// Snapshot returns the status of every backend, by index, all at one moment; only Established may count sessions that
// were greeted while it was taken.
func (p *Pool) Snapshot(time.Time) []BackendStatus {
	status := make([]BackendStatus, len(p.slots))
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.slots {
		s := &p.slots[i]
		status[i] = BackendStatus{
			Name:        s.id.name,
			Site:        s.id.site,
			Tier:        s.id.tier,
			Weight:      int(s.weight),
			MaxSessions: int(s.maxSessions),
			State:       s.state,
			Reason:      s.reason,
			Since:       s.since,
			Active:      int(s.active),
			Picks:       s.picks,
			Established: s.established.Load(),
			Failures:    s.failures,
		}
	}
	return status
}
