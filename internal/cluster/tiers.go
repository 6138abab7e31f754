package cluster

import "time"

// TierUse is what a balancer has given to a tier of a pool.
type TierUse struct {
	Pool     string
	Tier     int
	Sessions uint64    // in total
	Last     time.Time // zero: never
	Ramp     time.Time // zero: it does not take its sessions up slowly
}

// TierNews is what the peers have given to a tier of a pool.
type TierNews struct {
	Pool     string
	Tier     int
	Sessions int       // that no news before has told of
	Last     time.Time // zero: not known
	Ramp     time.Time // the earliest, of peers in reach; zero: none does
}

type tierKey struct {
	pool string
	tier int
}

// exchange is what the peers have told of tiers.
type exchange struct {
	heard map[tierKey]map[string]*tierHeard // by peer
}

type tierHeard struct {
	inc, number, sessions uint64
	fresh                 uint64 // sessions that were not told of yet
	last, ramp            time.Time
}

// tiersMost bounds what peers may tell of.
const tiersMost = 10_000

// told are the tiers as messages say them.
func told(now time.Time, uses []TierUse) []tier {
	ago := func(t time.Time) time.Duration {
		if t.IsZero() {
			return 0
		}
		return max(now.Sub(t), 1)
	}
	tiers := make([]tier, 0, len(uses))
	for i := range uses {
		u := &uses[i]
		tiers = append(tiers, tier{Pool: u.Pool, Tier: u.Tier, Sessions: u.Sessions, Last: ago(u.Last), Ramp: ago(u.Ramp)})
	}
	return tiers
}

// receive takes in what a message says of tiers. The first count of a process is where it begins from.
func (x *exchange) receive(now time.Time, m *message) {
	at := func(ago time.Duration) time.Time {
		if ago == 0 {
			return time.Time{}
		}
		return now.Add(-ago)
	}
	for i := range m.Tiers {
		t := &m.Tiers[i]
		key := tierKey{t.Pool, t.Tier}
		if x.heard[key] == nil {
			if len(x.heard) >= tiersMost {
				continue
			}
			x.heard[key] = map[string]*tierHeard{}
		}
		h := x.heard[key][m.From]
		switch {
		case h == nil || m.Inc > h.inc:
			h = &tierHeard{inc: m.Inc, sessions: t.Sessions}
			x.heard[key][m.From] = h
		case m.Inc < h.inc || m.Number <= h.number:
			continue
		}
		if t.Sessions > h.sessions {
			h.fresh += t.Sessions - h.sessions
		}
		h.number, h.sessions, h.last, h.ramp = m.Number, t.Sessions, at(t.Last), at(t.Ramp)
	}
}

// news is what the peers have told since the last time. Of one that is out of reach what it did is known, and what it does is not.
func (x *exchange) news(near func(peer string) bool) []TierNews {
	const most = 1 << 20
	var all []TierNews
	for key, byPeer := range x.heard {
		n := TierNews{Pool: key.pool, Tier: key.tier}
		for name, h := range byPeer {
			n.Sessions += int(min(h.fresh, most)) //nolint:gosec // bounded
			h.fresh = 0
			if h.last.After(n.Last) {
				n.Last = h.last
			}
			if !h.ramp.IsZero() && near(name) && (n.Ramp.IsZero() || h.ramp.Before(n.Ramp)) {
				n.Ramp = h.ramp
			}
		}
		all = append(all, n)
	}
	return all
}
