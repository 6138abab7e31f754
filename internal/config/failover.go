package config

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Failover says when a tier is usable and how traffic moves between tiers.
type Failover struct {
	// MinHealthy is how many healthy backends a tier needs to be usable, 1 to
	// 1000; all of them, where it has fewer. Default 1.
	MinHealthy int `koanf:"min_healthy"`

	// FailbackDelay is how long a tier must have been usable without a break
	// before it takes over again, 0s to 24h. Default 2m.
	FailbackDelay time.Duration `koanf:"failback_delay"`

	// KeepWarm sends some sessions to the next tier down, so that it has a
	// reputation the day it is needed.
	KeepWarm KeepWarm `koanf:"keep_warm"`

	// Ramp limits a tier that was idle when it has to take over.
	Ramp Ramp `koanf:"ramp"`
}

// KeepWarm is the traffic given to the next tier down while it is healthy.
type KeepWarm struct {
	// Share is its part of new sessions, 0% to 50%; we recommend 10%. Default 0%:
	// none.
	Share Share `koanf:"share"`

	// MinPerHour is the fewest sessions an hour it gets, 0 to 1000000, however
	// little Share comes to: taken from whatever comes, every second session at
	// most. Default 0: Share alone decides.
	MinPerHour int `koanf:"min_per_hour"`

	// MaxSessions is the most sessions at one time given for warmth, 0 to
	// 10000000. Default 0: no limit.
	MaxSessions int `koanf:"max_sessions"`
}

// Ramp limits what a tier takes after a failover; the rest is told 421.
type Ramp struct {
	// Over is how long the limit takes to rise to everything, 0s to 720h; 0s
	// is no limit. Default 0s.
	Over time.Duration `koanf:"over"`

	// Start is the share taken at first, at most 100%. Default 10%.
	Start Share `koanf:"start"`
}

func (r *report) checkFailover(p *Pool, at string) {
	f := &p.Failover
	key := at + ".failover"
	r.between(key+".min_healthy", f.MinHealthy, 1, 1000)
	r.lasting(key+".failback_delay", f.FailbackDelay, 0, 24*time.Hour)
	r.sharing(key+".keep_warm.share", f.KeepWarm.Share, 0, 50*percent)
	r.between(key+".keep_warm.min_per_hour", f.KeepWarm.MinPerHour, 0, 1_000_000)
	r.between(key+".keep_warm.max_sessions", f.KeepWarm.MaxSessions, 0, maxSessions)
	r.lasting(key+".ramp.over", f.Ramp.Over, 0, 720*time.Hour)
	r.sharing(key+".ramp.start", f.Ramp.Start, 1, 100*percent)

	if s := f.KeepWarm.Share; s > 0 && s < 5*percent {
		r.warn(key+".keep_warm.share", "below 5% a site may get too little mail to keep its reputation")
	}
	if len(p.Backends) > 0 {
		r.checkTiers(p, key)
	}
}

// checkTiers warns of settings that do not fit the listed tiers.
func (r *report) checkTiers(p *Pool, key string) {
	tiers := make(map[int]int)
	for _, b := range p.Backends {
		tiers[b.Priority]++
	}
	f := &p.Failover
	if len(tiers) == 1 && (f.KeepWarm.Share > 0 || f.KeepWarm.MinPerHour > 0) {
		r.warn(key+".keep_warm", "all backends have one priority: there is no tier to keep warm")
	}
	for _, priority := range slices.Sorted(maps.Keys(tiers)) {
		if n := tiers[priority]; n < f.MinHealthy {
			r.warn(key+".min_healthy", fmt.Sprintf("the tier of priority %d has %d: all of them are needed then", priority, n))
			return
		}
	}
}
