package balancer

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"
)

// fresh is how long what a Saved says about the health of relays is worth something.
const fresh = time.Minute

// Restore has a pool go on where another one was saved, with the configuration cfg that it was made of: with the same
// configuration as there its choices are those of the other pool, had its sessions ended. With another one it is as if that
// had been given to Reconfigure. Call it before the first session and the first check; a pool that has begun refuses.
//
// What cannot be true is dropped, and the error names it; the rest is taken over. With the wrong version or another pool's
// name that is all, and the pool begins as a new one. Of what was saved more than a minute ago only what holds for longer is
// taken over: what a person ordered, what is owed to the standby, and when the tiers had their last session.
func (p *Pool) Restore(now time.Time, cfg Config, saved *Saved) error {
	if err := p.fits(&cfg); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.restorable(saved); err != nil {
		return fmt.Errorf("balancer: pool %q: saved state: %w", p.name, err)
	}
	r := restoring{now: now, old: now.Sub(saved.Time) > fresh, settings: cfg.settings()}
	tiers := r.tiers(saved)
	slots := r.slots(saved, tiers)
	p.slots, p.leaving, p.byID, p.late, p.tiers = slots, nil, slices.Clone(slots), nil, tiers
	p.warm.owed = min(max(saved.Warm.Owed, owedLeast), owedMost)
	p.warm.next, p.warm.skipped, p.warm.spare = saved.Warm.Next, saved.Warm.Skipped, max(saved.Warm.Spare, 0)
	var inUse *tier
	if !r.old {
		inUse = tierOf(tiers, saved.Active)
	}
	p.apply(now, &cfg)
	p.number()
	p.wake = saved.Wake
	for _, s := range p.slots {
		p.wakeAt(s.until)
		if !s.slowFrom.IsZero() {
			p.wakeAt(now.Add(p.slowStart / slowSteps))
		}
	}
	switch at := slices.Index(p.tiers, inUse); {
	case inUse == nil || len(slots) == 0 || len(p.slots) == 0:
		p.active = 0
		p.active = p.takeOver(now)
	case at >= 0:
		p.active = at
	default:
		p.leaveTier(now, inUse)
	}
	p.advance(now)
	p.settle(now)
	p.notify()
	if err := errors.Join(r.dropped...); err != nil {
		return fmt.Errorf("balancer: pool %q: saved state, the rest is taken over: %w", p.name, err)
	}
	return nil
}

// restorable tells whether there is something to restore, and whether it is not too late.
func (p *Pool) restorable(saved *Saved) error {
	if saved == nil {
		return errors.New("there is none")
	}
	if saved.Version != SavedVersion {
		return fmt.Errorf("version %d: want %d", saved.Version, SavedVersion)
	}
	if saved.Pool != p.name {
		return fmt.Errorf("it is of pool %.100q", saved.Pool)
	}
	if n := len(saved.Members) + len(saved.Tiers); n > savedMost {
		return fmt.Errorf("%d backends and tiers: want %d at most", n, savedMost)
	}
	for _, s := range p.slots {
		if s.picks > 0 || s.since != (time.Time{}) {
			return errors.New("the pool has begun already")
		}
	}
	return nil
}

const (
	savedMost   = 1 << 16
	countMost   = 1 << 20       // of evidence
	virtualMost = 1 << 50       // virtual time to which float64 is exact enough
	strideMost  = float64(unit) // of a share of 1, the smallest
)

// restoring takes a Saved apart, and keeps what it had to drop.
type restoring struct {
	settings
	now     time.Time
	old     bool // too old to say anything about health
	dropped []error
}

func (r *restoring) drop(format string, args ...any) {
	r.dropped = append(r.dropped, fmt.Errorf(format, args...))
}

// past is a time that cannot be later than now.
func (r *restoring) past(t time.Time) time.Time {
	if t.After(r.now) {
		return r.now
	}
	return t
}

// tiers returns the tiers, by priority, without members.
func (r *restoring) tiers(saved *Saved) []*tier {
	var tiers []*tier
	for i := range saved.Tiers {
		at := &saved.Tiers[i]
		t := &tier{priority: at.Priority, minHealthy: 1, last: new(atomic.Int64)}
		if last := r.past(at.LastSession); last.After(time.Unix(0, 0)) {
			t.last.Store(last.UnixNano())
		}
		if math.Abs(at.VirtualTime) <= virtualMost {
			t.vtime = at.VirtualTime
		} else {
			r.drop("tier %d: virtual time %g", at.Priority, at.VirtualTime)
		}
		if !r.old {
			t.healthy, t.minHealthy = max(at.Healthy, 0), max(at.MinHealthy, 1)
			t.usableSince = r.past(at.UsableSince)
			t.ramp = ramp{r.past(at.RampFrom), min(max(at.RampOwed, 0), 1)}
		}
		tiers = append(tiers, t)
	}
	slices.SortStableFunc(tiers, func(a, b *tier) int { return a.priority - b.priority })
	return slices.CompactFunc(tiers, func(a, b *tier) bool { return a.priority == b.priority })
}

// slots returns the backends as they were, none of them listed.
func (r *restoring) slots(saved *Saved, tiers []*tier) []*slot {
	var slots []*slot
	for i := range saved.Members {
		b := &saved.Members[i]
		t := tierOf(tiers, b.Priority)
		if t == nil {
			r.drop("backend %.100q: its tier %d is not there", b.Name, b.Priority)
			continue
		}
		s := &slot{
			id: &Backend{id: len(slots), name: b.Name, last: t.last}, key: b.Key, tier: t,
			weight: int64(min(max(b.Weight, 0), MaxWeight)), part: 1,
		}
		r.health(b, s)
		r.turn(b, s)
		r.habit(b, s)
		slots = append(slots, s)
	}
	return slots
}

// health restores the state of a backend and the evidence for the next one.
func (r *restoring) health(b *SavedBackend, s *slot) {
	s.reason, s.since = upSinceTheStart, time.Time{}
	state, ok := stateOf(b.State)
	if !ok {
		r.drop("backend %.100q: state %.100q", b.Name, b.State)
		return
	}
	byPerson := state == Draining || state == Disabled
	if r.old && !byPerson {
		return
	}
	s.state, s.since = state, r.past(b.Since)
	s.reason = b.Reason[:min(len(b.Reason), reasonMost)]
	if r.old {
		return
	}
	count := func(n int) int { return min(max(n, 0), countMost) }
	s.good, s.badProbes, s.ejections = count(b.Good), count(b.BadProbes), count(b.Ejections)
	s.badLive.Store(min(max(b.BadLive, 0), countMost))
	s.lastEjected = b.LastEjected
	if most := r.now.Add(r.maxEject); s.lastEjected.After(most) {
		s.lastEjected = most
	}
	switch state {
	case Busy:
		s.until = r.end(b.Until, busyTime)
	case Ejected:
		s.until = r.end(b.Until, r.maxEject)
	}
	if r.slowStart > 0 && b.Part > 0 && b.Part < 1 && !b.SlowFrom.IsZero() {
		s.part, s.slowFrom = b.Part, r.past(b.SlowFrom)
	}
}

const (
	upSinceTheStart = "up since the start"
	reasonMost      = 500
)

// end is when a state ends that ends by itself: never later than if it began now.
func (r *restoring) end(until time.Time, most time.Duration) time.Time {
	latest := r.now.Add(most)
	if until.IsZero() || until.After(latest) {
		return latest
	}
	return until
}

// turn restores when a backend's next session is due. No backend is ever further ahead than the longest stride.
func (r *restoring) turn(b *SavedBackend, s *slot) {
	s.setPart(s.part)
	s.pass = s.tier.vtime
	if !(b.Stride > 0 && b.Stride <= strideMost) || math.Abs(b.Pass) > virtualMost || b.Pass-s.tier.vtime > strideMost {
		r.drop("backend %.100q: its turn: %g, a stride of %g, in a tier at %g", b.Name, b.Pass, b.Stride, s.tier.vtime)
		return
	}
	s.stride, s.pass = b.Stride, b.Pass
}

// habit restores what a relay's greetings usually take.
func (r *restoring) habit(b *SavedBackend, s *slot) {
	if r.old || len(b.Habit) == 0 {
		return
	}
	var total uint64
	for i, n := range b.Habit {
		total += uint64(n)
		if i < 0 || i >= habitBuckets || total > math.MaxUint32/2 {
			r.drop("backend %.100q: its habit: %d greetings in bucket %d", b.Name, n, i)
			s.habit.forget()
			return
		}
		s.habit.buckets[i].Store(n)
	}
	s.habit.count.Store(min(b.HabitCount, habitRecent))
	s.habit.known.Store(int64(min(max(b.HabitKnown, 0), ceilingOf(habitBuckets-1))))
}

// stateOf returns the state that a word stands for.
func stateOf(word string) (State, bool) {
	for s := Up; s <= Disabled; s++ {
		if s.String() == word {
			return s, true
		}
	}
	return Up, false
}

// number gives the backends of a pool that has not begun the IDs that New would.
func (p *Pool) number() {
	p.byID = slices.Clone(p.slots)
	for i, s := range p.slots {
		s.id.id = i
	}
}
