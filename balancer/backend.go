package balancer

import (
	"sync/atomic"
	"time"
)

// Backend is who a relay is, by one configuration: Reconfigure makes new ones, and a lease keeps the one that it was taken
// with. It never changes, and may be kept and read from anywhere without a lock. The same ID is the same relay.
type Backend struct {
	id   int
	name string
	site string
	tier int
	data any
	last *atomic.Int64 // the tier's
}

// ID returns its number, by which sessions and probes name it: its position in the Config.Backends that the pool was made
// of. One that Reconfigure adds has the next, one that it keeps keeps its own, and no other backend is ever given it.
func (b *Backend) ID() int { return b.id }

// Name returns its name, unique in the pool.
func (b *Backend) Name() string { return b.name }

// Site returns its site label, "" if it has none.
func (b *Backend) Site() string { return b.site }

// Tier returns its priority: 0 is used first.
func (b *Backend) Tier() int { return b.tier }

// Data returns its BackendConfig's.
func (b *Backend) Data() any { return b.data }

// slot is what changes about a backend. The pool's lock guards it, but for the two counts that are atomic: a session
// that is greeted well writes them without the lock.
type slot struct {
	id *Backend // by the present configuration

	// As configured.
	key    string
	tier   *tier
	place  int   // in its tier
	weight int64 // its part of the tier's sessions; 0 once it is gone
	room   int64 // running sessions at most, at the moment
	gone   bool  // Reconfigure took it out: only its leases keep it

	// Its part of the tier's sessions at the moment: less than the weight in a slow start.
	part     float64   // of its weight, up to 1
	share    int64     // that much, in units
	stride   float64   // unit/share: virtual time that one session takes
	slowFrom time.Time // when a slow start began; zero: there is none

	// For the choice.
	active int64   // sessions that hold a slot
	pass   float64 // virtual time at which its next session is due to start
	listed bool    // it is in its tier's order
	asked  bool    // set aside for the choice at hand
	late   int     // sessions to which its greeting is late
	picks  uint64  // in total; here, on the same line of the cache

	health
	habit habit
	quota quota // of max_sessions

	// Totals.
	established atomic.Uint64
	failures    uint64
}

// usable reports whether it could take sessions, if it has room.
func (s *slot) usable() bool { return s.state == Up && s.weight > 0 }

// pickable reports whether the session at hand may be given to it.
func (s *slot) pickable() bool {
	return s.usable() && !s.asked && s.active < s.room
}

// tag orders the backends that are eligible: the middle of its next session in virtual time.
func (s *slot) tag() float64 { return s.pass + s.stride/2 }
