package balancer

import (
	"math"
	"time"
)

// Together says that the pool is one of several that give sessions to the same relays: that of one balancer among others. A limit
// holds for all of them together; of each this pool has a quarter of its share, until SetQuotas says how much. The zero value is a pool
// that has all to itself.
type Together struct {
	Balancers int // how many; 0 and 1: this one alone
	Rank      int // which of them this is, from 0
}

// Share returns what of a limit is this balancer's own: an equal part, in whole sessions. The shares of all ranks sum to the
// limit exactly, so where there are more balancers than sessions some have none.
func (t Together) Share(limit int) int {
	if t.Balancers <= 1 || limit <= 0 {
		return max(limit, 0)
	}
	share := limit / t.Balancers
	if t.Rank < limit%t.Balancers {
		share++
	}
	return share
}

// Keep is what a balancer does not lend of its share, whoever asks: something to begin with, before anybody has said how much it may
// use, and where who has borrowed is gone.
func (t Together) Keep(limit int) int {
	share := t.Share(limit)
	switch {
	case t.Balancers <= 1:
		return share
	case share < 2:
		return 0
	}
	return max(1, share/4)
}

// Quota is what this balancer may use of a limit that it shares with others.
type Quota struct {
	Backend  int       // whose max_sessions it is, by its ID; WarmQuota: Warm.MaxSessions
	Sessions int       // running ones at most
	Until    time.Time // when that ends; zero: it does not
	Then     int       // what holds after it
}

// WarmQuota stands in a Quota for the sessions that keep the next tier warm.
const WarmQuota = -1

// quota is a limit and what holds of it. The room that it leaves, running sessions at most at the moment, is kept apart from it, where it
// is read for each session; math.MaxInt64 is no limit.
type quota struct {
	configured int64     // 0: no limit
	until      time.Time // when there is another room; zero: there is not
	then       int64     // that
}

// limit gives the quota another limit of the configuration, and returns the room. What was lent and borrowed stays so: it is known only
// to who set it, and is not made more of. Of a limit that there was not, some of the share may be lent from before: a part that never is
// may be used.
func (q *quota) limit(room, configured int64, was, is Together) int64 {
	before := q.configured
	q.configured = configured
	switch {
	case configured == 0:
		*q = quota{}
		return math.MaxInt64
	case before == 0 || was != is:
		*q = quota{configured: configured}
		return int64(is.Keep(int(configured)))
	case is.Balancers <= 1:
		*q = quota{configured: configured}
		return configured
	default:
		less := min(int64(is.Share(int(configured))-is.Share(int(before))), 0)
		in := func(n int64) int64 { return min(max(n+less, 0), configured) }
		q.then = in(q.then)
		return in(room)
	}
}

// set has other numbers hold from now on, and returns the room.
func (q *quota) set(room int64, to *Quota) int64 {
	if q.configured == 0 {
		return room
	}
	in := func(n int) int64 { return min(max(int64(n), 0), q.configured) }
	q.until, q.then = to.Until, in(to.Then)
	return in(to.Sessions)
}

// lapse ends what holds until now at the latest, and returns the room.
func (q *quota) lapse(room int64, now time.Time) int64 {
	if !due(q.until, now) {
		return room
	}
	q.until = time.Time{}
	return q.then
}

// shown is the room as a number for people; 0 where there is no limit.
func (q *quota) shown(room int64) int {
	if q.configured == 0 {
		return 0
	}
	return int(room)
}

// SetQuotas says what may be used from now on of limits that are shared with other balancers. A quota below what runs ends nothing:
// there is no new session until fewer run. Quotas of limits that are not configured are ignored, and none is ever above its
// limit. Limits that are asked for after it count every session that was chosen before.
func (p *Pool) SetQuotas(now time.Time, quotas []Quota) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	defer p.notify()
	for i := range quotas {
		q := &quotas[i]
		if q.Backend == WarmQuota {
			p.warm.room = p.warm.quota.set(p.warm.room, q)
			p.wakeAt(p.warm.quota.until)
			continue
		}
		s := p.slot(q.Backend)
		if s == nil {
			continue
		}
		s.delist()
		s.room = s.quota.set(s.room, q)
		s.enlist()
		p.wakeAt(s.quota.until)
	}
}

// lapseQuotas ends what was lent to this balancer until now at the latest.
func (p *Pool) lapseQuotas(now time.Time) {
	for _, s := range p.slots {
		if due(s.quota.until, now) {
			s.delist()
			s.room = s.quota.lapse(s.room, now)
			s.enlist()
		}
		p.wakeAt(s.quota.until)
	}
	p.warm.room = p.warm.quota.lapse(p.warm.room, now)
	p.wakeAt(p.warm.quota.until)
}

// Limited is a limit and what is used of it. One of a backend that Reconfigure took out is there for as long as sessions run on it.
type Limited struct {
	Backend int    // as in Quota
	Name    string // "" of WarmQuota
	Limit   int
	Quota   int // so many may run at the moment
	Active  int // so many do
	Gone    bool
}

// Limits returns every limit that is configured, all at one moment.
func (p *Pool) Limits() []Limited {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Limited
	add := func(slots []*slot) {
		for _, s := range slots {
			if s.quota.configured > 0 {
				all = append(all, Limited{s.id.id, s.id.name, int(s.quota.configured), int(s.room), int(s.active), s.gone})
			}
		}
	}
	add(p.slots)
	add(p.leaving)
	if p.warm.quota.configured > 0 {
		all = append(all, Limited{WarmQuota, "", int(p.warm.quota.configured), int(p.warm.room), p.warm.active, false})
	}
	return all
}
