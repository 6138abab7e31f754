package balancer

import "time"

// SavedVersion is the version of Saved that this package writes and reads.
const SavedVersion = 1

// Saved is what people and the traffic have established in a pool, as plain values: what one process leaves to the next. Fields
// are only ever added to a version; those that are missing mean "not known".
//
// Leases are not in it: the sessions of the old process are counted there, until they end.
type Saved struct {
	Version int            `json:"version"`
	Pool    string         `json:"pool"`
	Time    time.Time      `json:"time"`          // when it was taken
	Wake    time.Time      `json:"wake,omitzero"` // when something comes due
	Active  int            `json:"active_tier"`   // the priority in use
	Tiers   []SavedTier    `json:"tiers"`
	Members []SavedBackend `json:"backends"`
	Warm    SavedWarm      `json:"warm"`
}

// SavedTier is a tier of a Saved.
type SavedTier struct {
	Priority    int       `json:"priority"`
	VirtualTime float64   `json:"virtual_time"`
	Healthy     int       `json:"healthy"`
	MinHealthy  int       `json:"min_healthy"`
	UsableSince time.Time `json:"usable_since,omitzero"`
	RampFrom    time.Time `json:"ramp_from,omitzero"`
	RampOwed    float64   `json:"ramp_owed,omitzero"`
	LastSession time.Time `json:"last_session,omitzero"`
}

// SavedBackend is a backend of a Saved. It is known again as Reconfigure knows one.
type SavedBackend struct {
	Name     string `json:"name"`
	Key      string `json:"key,omitempty"`
	Priority int    `json:"priority"`
	Weight   int    `json:"weight"`

	State       string    `json:"state"`
	Reason      string    `json:"reason"`
	Since       time.Time `json:"since,omitzero"`
	Until       time.Time `json:"until,omitzero"`
	Good        int       `json:"good_checks,omitempty"`
	BadProbes   int       `json:"bad_checks,omitempty"`
	BadLive     int64     `json:"failed_sessions,omitempty"`
	Ejections   int       `json:"ejections,omitempty"`
	LastEjected time.Time `json:"last_ejected,omitzero"`

	Part     float64   `json:"part"`
	Stride   float64   `json:"stride"`
	Pass     float64   `json:"pass"`
	SlowFrom time.Time `json:"slow_from,omitzero"`

	Habit      map[int]uint32 `json:"habit,omitempty"` // greetings by bucket
	HabitCount uint32         `json:"habit_count,omitempty"`
	HabitKnown time.Duration  `json:"habit_known_ns,omitempty"`
}

// SavedWarm is what is owed to the standby.
type SavedWarm struct {
	Owed    float64   `json:"owed,omitzero"`
	Next    time.Time `json:"next,omitzero"`
	Skipped bool      `json:"skipped,omitempty"`
	Spare   int       `json:"spare,omitempty"`
}

// Save returns what is to outlive the pool; see Restore.
func (p *Pool) Save(now time.Time) *Saved {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.advance(now)
	defer p.notify()
	saved := &Saved{
		Version: SavedVersion, Pool: p.name, Time: now, Wake: p.wake, Active: p.tiers[p.active].priority,
		Warm: SavedWarm{Owed: p.warm.owed, Next: p.warm.next, Skipped: p.warm.skipped, Spare: p.warm.spare},
	}
	for _, t := range p.tiers {
		saved.Tiers = append(saved.Tiers, SavedTier{
			Priority: t.priority, VirtualTime: t.vtime, Healthy: t.healthy, MinHealthy: t.minHealthy, UsableSince: t.usableSince,
			RampFrom: t.ramp.from, RampOwed: t.ramp.owed, LastSession: t.lastSession(),
		})
	}
	for _, s := range p.slots {
		saved.Members = append(saved.Members, s.save())
	}
	return saved
}

func (s *slot) save() SavedBackend {
	b := SavedBackend{
		Name: s.id.name, Key: s.key, Priority: s.tier.priority, Weight: int(s.weight),
		State: s.state.String(), Reason: s.reason, Since: s.since, Until: s.until,
		Good: s.good, BadProbes: s.badProbes, BadLive: s.badLive.Load(), Ejections: s.ejections, LastEjected: s.lastEjected,
		Part: s.part, Stride: s.stride, Pass: s.pass, SlowFrom: s.slowFrom,
		HabitCount: s.habit.count.Load(), HabitKnown: time.Duration(s.habit.known.Load()),
	}
	for i := range s.habit.buckets {
		if n := s.habit.buckets[i].Load(); n > 0 {
			if b.Habit == nil {
				b.Habit = map[int]uint32{}
			}
			b.Habit[i] = n
		}
	}
	return b
}
